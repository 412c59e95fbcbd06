// Host arithmetic of launches, and kernels whose operands pass 2^31 elements: these are mapped, not filled,
// and only the first and last blocks run. `large_sizes NAME` runs one. Run by tests/cuda/test_launches.py.
#include <sys/mman.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/gather.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/tile.cuh"
#include "packed.h"
#include "params.h"

using namespace sparsefit;
using namespace sparsefit::cuda;

namespace {

void require(bool condition, const std::string& what) {
    if (!condition) throw std::logic_error(what);
}

template <class Call>
void require_refusal(const Call& call, const std::string& words) {
    try {
        call();
    } catch (const CudaError& error) {
        require(std::string(error.what()).find(words) != std::string::npos, error.what());
        return;
    }
    throw std::logic_error("not refused: " + words);
}

// Zeros that take memory only where they are touched.
class Mapped {
  public:
    explicit Mapped(int64_t floats) : bytes_(static_cast<std::size_t>(floats) * sizeof(float)) {
        data_ =
            mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        require(data_ != MAP_FAILED, "no address space");
    }
    ~Mapped() { munmap(data_, bytes_); }
    Mapped(const Mapped&) = delete;
    Mapped& operator=(const Mapped&) = delete;
    float* data() const { return static_cast<float*>(data_); }
    Operand blocked(int lanes) const { return {data(), {}, lanes}; }

  private:
    std::size_t bytes_;
    void* data_;
};

// A 1x1 convolution of 16 channels on 2^26 pixels of 4 images: 2^32 floats on either side; one kept weight,
// 2, from the last channel to the last.
constexpr int64_t kSide = 8192, kChannels = 16, kFloats = kSide * kSide * kChannels * 4;
constexpr int64_t kLast = kFloats - 4;  // image 0 of the last pixel of the last channel
static_assert(kLast > int64_t{1} << 31);

Conv large() { return {4, kChannels, kSide, kSide, kChannels, kSide, kSide, 1, 1}; }

std::vector<int32_t> last_to_last() {
    const auto mask = std::make_unique<bool[]>(kChannels * kChannels);
    mask[kChannels * kChannels - 1] = true;
    return pack(mask.get(), kChannels, kChannels, 1, 1, 1);
}

const float kWeight = 2.0f;

void forward_far_out() {
    const auto packed = last_to_last();
    const Mapped input(kFloats), output(kFloats);
    for (int image = 0; image < 4; ++image) input.data()[kLast + image] = static_cast<float>(image + 1);
    emulation::edge_blocks = 2;
    forward(large(), input.blocked(4), &kWeight, nullptr, Pattern(packed.data()), output.blocked(4),
            {0, nullptr, nullptr});
    for (int image = 0; image < 4; ++image)
        require(output.data()[kLast + image] == kWeight * static_cast<float>(image + 1),
                "wrong at the far end");
    require(output.data()[kLast - 1] == 0, "wrong before the far end");
}

void backward_input_far_out() {
    const auto packed = last_to_last();
    const Mapped grad_output(kFloats), grad_input(kFloats);
    grad_output.data()[kLast] = 3.0f;
    emulation::edge_blocks = 2;
    backward_input(large(), grad_output.blocked(4), &kWeight, Pattern(packed.data()), grad_input.blocked(4),
                   {0, nullptr, nullptr});
    require(grad_input.data()[kLast] == 3.0f * kWeight, "wrong at the far end");
}

// Gradient to the one kept weight, of which the first and the last of 4096 slices are computed, and to the
// bias; slices that do not run stay zero.
void backward_weight_far_out() {
    const auto packed = last_to_last();
    const Pattern pattern(packed.data());
    const Mapped input(kFloats), grad_output(kFloats);
    input.data()[kLast] = 3.0f, grad_output.data()[kLast] = 5.0f;
    input.data()[kLast - 4] = 2.0f, grad_output.data()[kLast - 4] = 7.0f;  // the pixel before
    full_warps = kChannels * 4096;
    const auto x = input.blocked(4), g = grad_output.blocked(4);
    const int64_t floats = backward_weight_scratch(large(), x, g, 1, true);
    require(floats == 4096 * (1 + kChannels), "slices of the weights and of the bias");
    const Mapped scratch(floats);
    float grad_value = -1;
    std::vector<float> grad_bias(kChannels, -1);
    emulation::edge_blocks = 2;
    backward_weight(large(), x, g, pattern, &grad_value, grad_bias.data(), {0, nullptr, scratch.data()});
    require(grad_value == 3.0f * 5.0f + 2.0f * 7.0f, "wrong at the far end");
    require(grad_bias[kChannels - 1] == 5.0f + 7.0f && grad_bias[0] == 0.0f, "wrong bias");

    // An infinity makes the last slice compute its sum again.
    grad_output.data()[kLast] = std::numeric_limits<float>::infinity();
    backward_weight(large(), x, g, pattern, &grad_value, nullptr, {0, nullptr, scratch.data()});
    require(std::isinf(grad_value), "wrong infinity at the far end");
}

void strided_copy_far_out() {
    const Mapped strided(kFloats), blocked(kFloats);
    const Operand nchw{strided.data(), {kChannels * kSide * kSide, kSide * kSide, kSide, 1}, 0};
    strided.data()[kFloats - 1] = 5.0f;  // last pixel of image 3
    emulation::edge_blocks = 2;
    const Sizes sizes{4, kChannels, kSide, kSide};
    to_blocked(sizes, nchw, blocked.blocked(4), {0, nullptr, nullptr});
    require(blocked.data()[kFloats - 1] == 5.0f, "wrong at the far end");
    strided.data()[kFloats - 1] = 0.0f;
    from_blocked(sizes, blocked.blocked(4), nchw, {0, nullptr, nullptr});
    require(strided.data()[kFloats - 1] == 5.0f, "wrong on the way back");
}

const std::map<std::string, void (*)()> kCases = {
    {"grid_limits",
     [] {
         const dim3 grid = make_grid("k", kMaxGridX, 65535, 65535);
         require(grid.x == 0x7fffffff && grid.y == 65535 && grid.z == 65535, "the largest grid");
         require_refusal([] { make_grid("k", kMaxGridX + 1); }, "k: a grid of 2147483648 x 1 x 1");
         require_refusal([] { make_grid("k", 1, 65536); }, "1 x 65536 x 1");
         require_refusal([] { make_grid("k", 0); }, "a grid of 0 x 1 x 1");
     }},
    {"ceil_div",
     [] {
         require(ceil_div(0, 4) == 0 && ceil_div(1, 4) == 1 && ceil_div(4, 4) == 1 && ceil_div(5, 4) == 2,
                 "small");
         require(ceil_div((int64_t{1} << 40) + 1, 2) == (int64_t{1} << 39) + 1, "past 32 bits");
     }},
    {"launches_cover_all_work",
     [] {
         for (int64_t n : {1, 5, 16, 33, 256})
             for (int64_t side : {1, 7, 32})
                 for (int64_t channels : {1, 3, 16, 17, 64})
                     for (int64_t stride : {1, 2}) {
                         const int64_t out = (side - 1) / stride + 1;
                         const Conv c{n, channels, side,   side,   channels, out, out,
                                      3, 3,        stride, stride, 1,        1};
                         for (const Gather& g :
                              {forward_gather(c, lanes_for(n)), backward_input_gather(c, lanes_for(n))}) {
                             const int r = items_per_thread(g);
                             const Launch how = gather_launch("k", g, r);
                             const int64_t tiles = ceil_div(g.items(), r * kWarp);
                             require(how.block.x == kWarp && how.block.x * how.block.y <= 1024, "threads");
                             require(int64_t{how.grid.x} * how.block.y >= tiles * g.rows, "rows and tiles");
                             require(int64_t{how.grid.x} * how.block.y < tiles * (g.rows + how.block.y),
                                     "no idle blocks");
                             require(how.grid.y == static_cast<unsigned>(g.classes()), "classes");
                             require(g.output_floats() ==
                                         ceil_div(n, g.lanes()) * g.lanes() * channels * g.height * g.width,
                                     "output");
                         }
                     }
     }},
    {"sizes_past_31_bits",
     [] {
         const Gather g = forward_gather(large(), 4);
         require(g.output_floats() == kFloats && g.staged_floats() == kFloats, "floats");
         require(g.items() == kSide * kSide, "items");
         require(forward_scratch(large(), {nullptr, {}, 4}, {nullptr, {}, 4}) == 0,
                 "blocked operands in place");
         const Operand strided{nullptr, {kChannels * kSide * kSide, kSide * kSide, kSide, 1}, 0};
         require(forward_scratch(large(), strided, strided) == 2 * kFloats, "strided operands staged");
     }},
    {"too_large_is_refused",
     [] {
         Conv c = large();
         c.n = 4 * 64;
         require_refusal([&] { forward_gather(c, 4); }, "split the batch");
     }},
    {"forward_far_out", forward_far_out},
    {"backward_input_far_out", backward_input_far_out},
    {"backward_weight_far_out", backward_weight_far_out},
    {"strided_copy_far_out", strided_copy_far_out},
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2 || !kCases.count(argv[1])) {
        for (const auto& entry : kCases) std::puts(entry.first.c_str());
        return 2;
    }
    try {
        kCases.at(argv[1])();
    } catch (const std::exception& error) {
        std::puts(error.what());
        return 1;
    }
    return 0;
}
