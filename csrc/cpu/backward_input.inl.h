void KERNEL(sparse_conv2d_backward_input_over_batch)(const Conv& conv, const Operand& grad_output,
                                                     const float* values, const Pattern& pattern,
                                                     const Operand& grad_input, int threads) {
    gather(backward_input_gather(conv, grad_output, values, pattern, grad_input), threads);
}
