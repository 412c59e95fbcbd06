// Copies between strided and blocked operands. Each is bound by memory, so each moves 16 bytes a thread on
// the blocked side and adjacent floats in adjacent threads on the strided side, by way of a tile in shared
// memory.
#include "cuda/convert.h"

#include <algorithm>

#include "cuda/kernels.h"

namespace sparsefit::cuda {
namespace {

constexpr int kThreads = 256, kTile = 64, kMaxLanes = 16;
constexpr int kTilePitch = kTile + 1;  // off by one, so that a column of the tile lies in different banks

// A tile is `lanes` images by kTile neighbours along the axis on which the strided operand is dense: pixels,
// or channels of a channels_last tensor or a linear layer.
struct Copy {
    int32_t n, channels, height, width, lanes;
    Staged staged;
    int64_t strides[4];
    bool along_channels;

    __host__ __device__ uint32_t pixels() const { return static_cast<uint32_t>(staged.pixels()); }
    __host__ __device__ uint32_t along() const { return along_channels ? channels : pixels(); }
    __host__ __device__ uint32_t across() const { return along_channels ? pixels() : channels; }
};

struct TileAt {
    uint32_t block, across, first;  // first: along
};

__device__ __forceinline__ TileAt tile_at(const Copy& c) {
    const uint32_t tiles = (c.along() + kTile - 1) / kTile, rest = blockIdx.x / tiles;
    return {rest / c.across(), rest % c.across(), blockIdx.x % tiles * kTile};
}

// Where pixel `pixel` of a staged channel lies in the operand, maybe outside.
struct Source {
    int64_t row, column;
    __device__ Source(const Staged& s, uint32_t pixel) {
        const uint32_t pitch = s.row_pitch(), columns = s.columns, rest = pixel % pitch;
        row = s.row_first + static_cast<int32_t>(pixel / pitch);
        column = s.column_first + static_cast<int32_t>(rest % columns * s.phases + rest / columns);
    }
    __device__ bool inside(int32_t height, int32_t width) const {
        return row >= 0 && row < height && column >= 0 && column < width;
    }
};

// Where neighbour u of a tile lies in the staged form.
struct Place {
    uint32_t channel, pixel;
    __device__ Place(const Copy& c, const TileAt& tile, int u)
        : channel(c.along_channels ? tile.first + u : tile.across),
          pixel(c.along_channels ? tile.across : tile.first + u) {}
};

__device__ __forceinline__ int64_t staged_at(const Copy& c, const TileAt& tile, const Place& p, int lane) {
    return ((int64_t{tile.block} * c.channels + p.channel) * c.pixels() + p.pixel) * c.lanes + lane;
}
__device__ __forceinline__ int64_t strided_at(const Copy& c, int64_t image, const Place& p, const Source& s) {
    return image * c.strides[0] + p.channel * c.strides[1] + s.row * c.strides[2] + s.column * c.strides[3];
}

__global__ void __launch_bounds__(kThreads)
    to_blocked_kernel(Copy c, Global<const float> strided, Global<float> blocked) {
    SHARED_ARRAY(float, tile, kMaxLanes* kTilePitch);
    const TileAt at = tile_at(c);
    for (int t = threadIdx.x; t < c.lanes * kTile; t += kThreads) {
        const int lane = t / kTile, u = t % kTile;
        const int64_t image = int64_t{at.block} * c.lanes + lane;
        float value = 0;
        if (at.first + u < c.along() && image < c.n) {
            const Place p(c, at, u);
            const Source source(c.staged, p.pixel);
            if (source.inside(c.height, c.width)) value = load(strided + strided_at(c, image, p, source));
        }
        tile[lane * kTilePitch + u] = value;
    }
    __syncthreads();
    const int quads = c.lanes / 4;
    for (int t = threadIdx.x; t < quads * kTile; t += kThreads) {
        const int u = t / quads, lane = t % quads * 4;
        if (at.first + u >= c.along()) continue;
        const Shared<float> from = tile + (lane * kTilePitch + u);
        float4 value;
        value.x = from[0];
        value.y = from[kTilePitch];
        value.z = from[2 * kTilePitch];
        value.w = from[3 * kTilePitch];
        store4(blocked + staged_at(c, at, Place(c, at, u), lane), value);
    }
}

__global__ void __launch_bounds__(kThreads)
    from_blocked_kernel(Copy c, Global<const float> blocked, Global<float> strided) {
    SHARED_ARRAY(float, tile, kMaxLanes* kTilePitch);
    const TileAt at = tile_at(c);
    const int quads = c.lanes / 4;
    for (int t = threadIdx.x; t < quads * kTile; t += kThreads) {
        const int u = t / quads, lane = t % quads * 4;
        if (at.first + u >= c.along()) continue;
        const float4 value = load4(blocked + staged_at(c, at, Place(c, at, u), lane));
        const Shared<float> to = tile + (lane * kTilePitch + u);
        to[0] = value.x;
        to[kTilePitch] = value.y;
        to[2 * kTilePitch] = value.z;
        to[3 * kTilePitch] = value.w;
    }
    __syncthreads();
    for (int t = threadIdx.x; t < c.lanes * kTile; t += kThreads) {
        const int lane = t / kTile, u = t % kTile;
        const int64_t image = int64_t{at.block} * c.lanes + lane;
        if (at.first + u >= c.along() || image >= c.n) continue;
        const Place p(c, at, u);
        strided[strided_at(c, image, p, Source(c.staged, p.pixel))] = tile[lane * kTilePitch + u];
    }
}

// Blocks to the staged form: each thread moves a float4 or writes a zero. `parts` blocks make a plane, one
// channel of one batch block.
__global__ void __launch_bounds__(kThreads)
    pad_blocked_kernel(Staged s, int32_t height, int32_t width, uint32_t quads, uint32_t parts,
                       Global<const float> blocked, Global<float> staged) {
    const uint32_t item = blockIdx.x % parts * kThreads + threadIdx.x, quad = item % quads;
    const int64_t plane = blockIdx.x / parts;
    if (item >= s.pixels() * quads) return;
    const Source source(s, item / quads);
    float4 value = make_float4(0, 0, 0, 0);
    if (source.inside(height, width))
        value = load4(blocked + 4 * (((plane * height + source.row) * width + source.column) * quads + quad));
    store4(staged + 4 * (plane * s.pixels() * quads + item), value);
}

Copy make_copy(const Staged& staged, int64_t n, int64_t channels, int64_t height, int64_t width, int lanes,
               const Operand& strided) {
    Copy c{static_cast<int32_t>(n),
           static_cast<int32_t>(channels),
           static_cast<int32_t>(height),
           static_cast<int32_t>(width),
           lanes,
           staged,
           {},
           strided.strides[1] <= strided.strides[3] || height * width == 1};
    std::copy(strided.strides.begin(), strided.strides.end(), c.strides);
    return c;
}

Launch copy_launch(const char* kernel, const Copy& c) {
    const int64_t blocks = ceil_div(c.n, c.lanes) * c.across() * ceil_div(c.along(), kTile);
    return {kernel, make_grid(kernel, blocks), dim3(kThreads)};
}

}  // namespace

int64_t span(const Operand& operand, int64_t n, int64_t channels, int64_t height, int64_t width) {
    if (n * channels * height * width == 0) return 0;
    if (operand.lanes) return ceil_div(n, operand.lanes) * operand.lanes * channels * height * width;
    const auto& s = operand.strides;
    return (n - 1) * s[0] + (channels - 1) * s[1] + (height - 1) * s[2] + (width - 1) * s[3] + 1;
}

void stage(const Staged& s, int64_t n, int64_t channels, int64_t height, int64_t width, int lanes,
           const Operand& operand, float* staged, void* stream) {
    const int64_t floats = ceil_div(n, lanes) * lanes * channels * s.pixels();
    if (floats == 0) return;
    const auto from = global<const float>(operand.data, span(operand, n, channels, height, width), "operand");
    const auto to = global(staged, floats, "staged operand");
    if (operand.lanes) {
        const int64_t parts = ceil_div(s.pixels() * (lanes / 4), kThreads);
        const Launch how{"pad_blocked", make_grid("pad_blocked", ceil_div(n, lanes) * channels * parts),
                         dim3(kThreads)};
        launch(how, stream, pad_blocked_kernel, s, static_cast<int32_t>(height), static_cast<int32_t>(width),
               static_cast<uint32_t>(lanes / 4), static_cast<uint32_t>(parts), from, to);
    } else {
        const Copy c = make_copy(s, n, channels, height, width, lanes, operand);
        launch(copy_launch("to_blocked", c), stream, to_blocked_kernel, c, from, to);
    }
}

void unstage(int64_t n, int64_t channels, int64_t height, int64_t width, int lanes, const float* blocks,
             const Operand& strided, void* stream) {
    if (n * channels * height * width == 0) return;
    const Staged all{0, static_cast<int32_t>(height), 0, static_cast<int32_t>(width), 1};
    const Copy c = make_copy(all, n, channels, height, width, lanes, strided);
    const int64_t floats = ceil_div(n, lanes) * lanes * channels * height * width;
    launch(copy_launch("from_blocked", c), stream, from_blocked_kernel, c, global(blocks, floats, "blocks"),
           global(strided.data, span(strided, n, channels, height, width), "operand"));
}

void to_blocked(const Sizes& s, const Operand& strided, const Operand& blocked, const Where& where) {
    const DeviceGuard guard(where.device);
    const Staged all{0, static_cast<int32_t>(s.height), 0, static_cast<int32_t>(s.width), 1};
    stage(all, s.n, s.channels, s.height, s.width, blocked.lanes, strided, blocked.data, where.stream);
}

void from_blocked(const Sizes& s, const Operand& blocked, const Operand& strided, const Where& where) {
    const DeviceGuard guard(where.device);
    unstage(s.n, s.channels, s.height, s.width, blocked.lanes, blocked.data, strided, where.stream);
}

}  // namespace sparsefit::cuda
