#include "params.h"

namespace sparsefit {

View view(const Operand& operand, int64_t n, int64_t channels, int64_t height, int64_t width) {
    View v{};
    v.data = operand.data;
    v.n = n;
    v.blocks = (n + kLanes - 1) / kLanes;
    v.channels = channels;
    v.height = height;
    v.width = width;
    if (operand.lanes) {
        const int64_t lanes = operand.lanes;
        v.lane = 1;
        v.column = lanes;
        v.border = operand.border;
        v.row = (width + 2 * v.border) * v.column;
        v.channel = (height + 2 * v.border) * v.row;
        v.data += v.border * (v.row + v.column);
        v.block = channels * v.channel;  // fewer lanes than kLanes: a single block
        v.stored_lanes = operand.lanes;
        v.whole_vectors = lanes == kLanes;
    } else {
        v.lane = operand.strides[0];
        v.block = kLanes * v.lane;
        v.channel = operand.strides[1];
        v.row = operand.strides[2];
        v.column = operand.strides[3];
    }
    return v;
}

}  // namespace sparsefit
