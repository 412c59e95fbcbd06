// The row of the table of blocked operations for this instruction set.
constexpr BlockedKernels kBlockedKernels = {
    KERNEL(to_blocked),
    KERNEL(from_blocked),
    KERNEL(blocked_relu_backward),
    KERNEL(blocked_max_pool),
    KERNEL(blocked_max_pool_backward),
    KERNEL(blocked_bias_relu_max_pool),
    KERNEL(blocked_bias_relu_max_pool_backward),
    KERNEL(blocked_average_pool),
    KERNEL(blocked_average_pool_backward),
    KERNEL(blocked_global_average_pool),
    KERNEL(blocked_global_average_pool_backward),
};
