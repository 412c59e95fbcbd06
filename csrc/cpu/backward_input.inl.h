// The gradient to the input is a gather convolution too, over the transposed pattern with flipped taps: no
// atomics, and every element is written once. With a stride, input pixels fall into stride_h * stride_w
// classes, each with its own taps. Its weak spot is a convolution without padding: the staged zeros around a
// small map are multiplied like everything else; backward_input_over_rows.inl.h is for those.

void KERNEL(sparse_conv2d_backward_input_over_batch)(const Conv& conv, const Operand& grad_output,
                                                     const float* values, const Pattern& pattern,
                                                     const Operand& grad_input, const Finish* finish,
                                                     int threads) {
    Gather g = backward_input_gather(conv, grad_output, values, pattern, grad_input);
    g.finish = finish;
    gather(g, threads);
}
