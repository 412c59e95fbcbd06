// The forward pass is a gather convolution over the rows of the pattern, with bias and ReLU in its first and
// last cell; the loops are in gather.inl.h, the sizes in gather.cpp.

void KERNEL(sparse_conv2d_forward_over_batch)(const Conv& conv, const Operand& input, const float* values,
                                              const float* bias, const Pattern& pattern,
                                              const Operand& output, bool relu, const Finish* finish,
                                              const Pooling* pooling, int threads) {
    Gather g = forward_gather(conv, input, values, bias, pattern, output, relu);
    g.finish = finish;
    g.pooling = pooling;
    read_every_second(g);
    gather(g, threads);
}
