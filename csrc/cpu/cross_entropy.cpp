#include "cpu/cross_entropy.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace sparsefit {

double cross_entropy(const Blocked& shape, const float* logits, const int64_t* labels, double divisor,
                     float* grad) {
    const int64_t classes = shape.channels, lanes = shape.lanes;
    const float share = static_cast<float>(1 / divisor);
    double total = 0;
    for (int64_t block = 0; block < shape.blocks(); ++block) {
        const float* x = logits + block * classes * lanes;
        float* g = grad + block * classes * lanes;
        for (int lane = 0; lane < shape.images(block); ++lane) {
            const int64_t label = labels[block * lanes + lane];
            if (label < 0 || label >= classes)
                throw std::out_of_range("label " + std::to_string(label) + " is none of " +
                                        std::to_string(classes) + " classes");
            // A NaN, largest or not, makes the sum below NaN, and with it loss and gradient.
            float largest = x[lane];
            for (int64_t c = 1; c < classes; ++c)
                largest = x[c * lanes + lane] > largest ? x[c * lanes + lane] : largest;
            float sum = 0;
            for (int64_t c = 0; c < classes; ++c)
                sum += g[c * lanes + lane] = std::exp(x[c * lanes + lane] - largest);
            const float scale = share / sum;
            for (int64_t c = 0; c < classes; ++c) g[c * lanes + lane] *= scale;
            g[label * lanes + lane] -= share;
            total += std::log(sum) - (x[label * lanes + lane] - largest);
        }
        for (int64_t c = 0; c < classes; ++c)
            for (int64_t lane = shape.images(block); lane < lanes; ++lane) g[c * lanes + lane] = 0;
    }
    return total / divisor;
}

}  // namespace sparsefit
