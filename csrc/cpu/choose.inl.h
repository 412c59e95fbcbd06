// Which axis the vectors run over: the batch, or for a batch of at most 8 the pixels (in a linear layer,
// nothing).

inline bool small_batch(const Conv& conv) { return conv.n > 0 && conv.n <= kLanes / 2; }
inline bool one_pixel(const Conv& conv) {
    return conv.h_in * conv.w_in == 1 && conv.h_out * conv.w_out == 1 && conv.taps() == 1;
}

void KERNEL(sparse_conv2d_forward)(const Conv& conv, const Operand& input, const float* values,
                                   const float* bias, const Pattern& pattern, const Operand& output,
                                   bool relu, int threads) {
    if (!small_batch(conv))
        return KERNEL(sparse_conv2d_forward_over_batch)(conv, input, values, bias, pattern, output, relu,
                                                        threads);
    const Gather g = forward_gather(conv, input, values, bias, pattern, output, relu);
    one_pixel(conv) ? KERNEL(sparse_linear_forward_over_rows)(g, threads) : gather_over_pixels(g, threads);
}

void KERNEL(sparse_conv2d_backward_input)(const Conv& conv, const Operand& grad_output, const float* values,
                                          const Pattern& pattern, const Operand& grad_input, int threads) {
    if (!small_batch(conv) && input_row_kernel(conv, grad_output, grad_input))
        return KERNEL(sparse_conv2d_backward_input_over_rows)(conv, grad_output, values, pattern, grad_input,
                                                              threads);
    if (!small_batch(conv))
        return KERNEL(sparse_conv2d_backward_input_over_batch)(conv, grad_output, values, pattern, grad_input,
                                                               threads);
    const Gather g = backward_input_gather(conv, grad_output, values, pattern, grad_input);
    one_pixel(conv) ? KERNEL(sparse_linear_backward_input_over_rows)(g, pattern, threads)
                    : gather_over_pixels(g, threads);
}

void KERNEL(sparse_conv2d_backward_weight)(const Conv& conv, const Operand& input, const Operand& grad_output,
                                           const Pattern& pattern, float* grad_values, float* grad_bias,
                                           int threads) {
    if (!small_batch(conv))
        return KERNEL(sparse_conv2d_backward_weight_over_batch)(conv, input, grad_output, pattern,
                                                                grad_values, grad_bias, threads);
    if (!one_pixel(conv))
        return KERNEL(sparse_conv2d_backward_weight_over_pixels)(conv, input, grad_output, pattern,
                                                                 grad_values, grad_bias, threads);
    const Gather g = forward_gather(conv, input, nullptr, nullptr, pattern, grad_output, false);
    KERNEL(sparse_linear_backward_weight_over_rows)(g, grad_values, grad_bias, threads);
}
