// Every kernel of one instruction set: included inside its namespace and target region, after Vec.
#include "cpu/stage.inl.h"
#include "cpu/finish.inl.h"
#include "cpu/tile.inl.h"
#include "cpu/partition.inl.h"
#include "cpu/linear_features.inl.h"
#include "cpu/linear_over_batch.inl.h"
#include "cpu/blocked.inl.h"
#include "cpu/blocked_relu.inl.h"
#include "cpu/blocked_layout.inl.h"
#include "cpu/blocked_pool.inl.h"
#include "cpu/pooling.inl.h"
#include "cpu/gather.inl.h"
#include "cpu/forward.inl.h"
#include "cpu/backward_input.inl.h"
#include "cpu/backward_input_over_rows.inl.h"
#include "cpu/backward_weight.inl.h"
#include "cpu/fma_peak.inl.h"
#include "cpu/blocked_mean.inl.h"
#include "cpu/blocked_row.inl.h"
#include "cpu/gather_over_pixels.inl.h"
#include "cpu/backward_weight_over_pixels.inl.h"
#include "cpu/linear_over_rows.inl.h"
#include "cpu/choose.inl.h"

const Kernels KERNEL(kernels) = {SPARSEFIT_ISA,
                                 KERNEL(sparse_conv2d_forward),
                                 KERNEL(sparse_conv2d_backward_input),
                                 KERNEL(sparse_conv2d_backward_weight),
                                 KERNEL(finish),
                                 fma_peak,
                                 kBlockedKernels};
