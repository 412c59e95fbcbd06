// Which kernel: a linear layer has its own, and vectors run over the batch, or for a batch of at most 8 over
// pixels. Kernels over rows have the images in their lanes too, and take one row after another: of the
// pattern in a linear layer at such a batch, of small maps without padding in backward_input at larger ones.

inline bool small_batch(const Conv& conv) { return conv.n > 0 && conv.n <= kLanes / 2; }
inline bool is_linear(const Conv& c) {
    return c.h_in * c.w_in == 1 && c.h_out * c.w_out == 1 && c.taps() == 1 && c.pad_top == 0 &&
           c.pad_left == 0;
}

void KERNEL(sparse_conv2d_forward)(const Conv& conv, const Operand& input, const float* values,
                                   const float* bias, const Pattern& pattern, const Operand& output,
                                   bool relu, const Finish* finish, const Pooling* pooling, int threads) {
    const bool whole = !small_batch(conv) && !is_linear(conv), fuses = whole && !(finish && finish->means);
    const bool pools = pooling && whole && pools_bands(output_of(conv, output), pooling->pool);
    const bool rectify = relu && (fuses || !finish);
    if (whole)
        KERNEL(sparse_conv2d_forward_over_batch)(conv, input, values, bias, pattern, output, rectify,
                                                 fuses ? finish : nullptr, pools ? pooling : nullptr,
                                                 threads);
    else if (small_batch(conv)) {
        const Gather g = forward_gather(conv, input, values, bias, pattern, output, rectify);
        is_linear(conv) ? KERNEL(sparse_linear_forward_over_rows)(g, threads)
                        : gather_over_pixels(g, threads);
    } else
        KERNEL(sparse_linear_forward_over_batch)(conv, input, values, bias, pattern, output, rectify,
                                                 threads);
    if (finish && !fuses)
        KERNEL(finish)(view(output, conv.n, conv.c_out, conv.h_out, conv.w_out), *finish, relu, threads);
    if (pooling && !pools)
        KERNEL(blocked_bias_relu_max_pool)(output_of(conv, output), pooling->pool, output.data, pooling->bias,
                                           pooling->output, pooling->places, threads);
}

void KERNEL(sparse_conv2d_backward_input)(const Conv& conv, const Operand& grad_output, const float* values,
                                          const Pattern& pattern, const Operand& grad_input,
                                          const Finish* finish, int threads) {
    const bool rows = input_row_kernel(conv, grad_output, grad_input);
    const bool whole = !small_batch(conv) && !is_linear(conv) && !rows;
    // Means of 2 x 2 pixels meet tiles of every second pixel.
    const bool fuses = whole && !(finish && finish->means && (conv.stride_h != 2 || conv.stride_w != 2));
    if (whole)
        KERNEL(sparse_conv2d_backward_input_over_batch)(conv, grad_output, values, pattern, grad_input,
                                                        fuses ? finish : nullptr, threads);
    else if (small_batch(conv)) {
        const Gather g = backward_input_gather(conv, grad_output, values, pattern, grad_input);
        is_linear(conv) ? KERNEL(sparse_linear_backward_input_over_rows)(g, pattern, threads)
                        : gather_over_pixels(g, threads);
    } else {
        const auto kernel = is_linear(conv) ? KERNEL(sparse_linear_backward_input_over_batch)
                                            : KERNEL(sparse_conv2d_backward_input_over_rows);
        kernel(conv, grad_output, values, pattern, grad_input, threads);
    }
    if (finish && !fuses)
        KERNEL(finish)(view(grad_input, conv.n, conv.c_in, conv.h_in, conv.w_in), *finish, false, threads);
}

void KERNEL(sparse_conv2d_backward_weight)(const Conv& conv, const Operand& input, const Operand& grad_output,
                                           const Pattern& pattern, float* grad_values, float* grad_bias,
                                           const Pooling* pooling, int threads) {
    const bool whole = !small_batch(conv) && !is_linear(conv);
    const bool pools = pooling && whole && pools_bands(output_of(conv, grad_output), pooling->pool);
    if (pooling && !pools)
        KERNEL(blocked_bias_relu_max_pool_backward)(output_of(conv, grad_output), pooling->pool,
                                                    pooling->output, pooling->grad_output, pooling->places,
                                                    grad_output.data, pooling->grad_bias, threads);
    if (whole)
        return KERNEL(sparse_conv2d_backward_weight_over_batch)(
            conv, input, grad_output, pattern, grad_values, pools ? pooling->grad_bias : grad_bias,
            pools ? pooling : nullptr, threads);
    if (!small_batch(conv) || !is_linear(conv)) {
        const auto kernel = is_linear(conv) ? KERNEL(sparse_linear_backward_weight_over_batch)
                                            : KERNEL(sparse_conv2d_backward_weight_over_pixels);
        return kernel(conv, input, grad_output, pattern, grad_values, grad_bias, threads);
    }
    const Gather g = forward_gather(conv, input, nullptr, nullptr, pattern, grad_output, false);
    KERNEL(sparse_linear_backward_weight_over_rows)(g, grad_values, grad_bias, threads);
}
