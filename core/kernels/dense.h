// Dense layers. Part of kernels.cpp, whose rules hold here too.
#pragma once

#include <cfloat>

#include "vectors.h"

namespace sparsedistill {

namespace {

template <std::size_t outputs>
inline __attribute__((always_inline)) void dot(const float* weight, const float* bias, std::size_t in, const float* x,
                                               float* y) {
    constexpr std::size_t lanes = Kernels::dense_lanes, wide = sizeof(Block) / sizeof(float), parts = lanes / wide;
    Vector<float, wide> total[outputs][parts] = {};
    for (std::size_t i = 0; i < in; i += lanes)
        for (std::size_t p = 0; p < parts; ++p) {
            const auto some = load<float, wide>(x + i + p * wide);
            for (std::size_t o = 0; o < outputs; ++o)
                total[o][p] += load<float, wide>(weight + o * in + i + p * wide) * some;
        }
    for (std::size_t o = 0; o < outputs; ++o) {
        float lane[lanes];
        __builtin_memcpy(lane, &total[o], sizeof lane);
        for (std::size_t half = lanes / 2; half; half /= 2)
            for (std::size_t i = 0; i < half; ++i) lane[i] += lane[i + half];
        y[o] = bias[o] + lane[0];
    }
}

void dense(const float* weight, const float* bias, std::size_t in, std::size_t out, const float* x, float* y) {
    std::size_t o = 0;
    for (; o + 4 <= out; o += 4) dot<4>(weight + o * in, bias + o, in, x, y + o);
    for (; o < out; ++o) dot<1>(weight + o * in, bias + o, in, x, y + o);
}

// The sums of dot, for outputs side by side: no sum is then taken across a register. Lanes that a half is added to and its
// other half are summed up together, four at a time, which leaves registers for all of them.
void dense_columns(const float* weight, const float* bias, std::size_t in, std::size_t out, const float* x, float* y) {
    constexpr std::size_t lanes = Kernels::dense_lanes, wide = sizeof(Block) / sizeof(float), quarter = lanes / 4;
    using Outputs = Vector<float, wide>;
    for (std::size_t o = 0; o < out; o += wide) {
        Outputs four[quarter];
        for (std::size_t lane = 0; lane < quarter; ++lane) {
            Outputs total[4] = {};
            std::size_t i = lane;
            for (; i + 3 * quarter < in; i += lanes)
                for (std::size_t part = 0; part < 4; ++part)
                    total[part] += load<float, wide>(weight + (i + part * quarter) * out + o) * x[i + part * quarter];
            for (std::size_t part = 0; i < in; i += quarter, ++part) total[part] += load<float, wide>(weight + i * out + o) * x[i];
            four[lane] = (total[0] + total[2]) + (total[1] + total[3]);
        }
        const Outputs sum = load<float, wide>(bias + o) + ((four[0] + four[2]) + (four[1] + four[3]));
        __builtin_memcpy(y + o, &sum, sizeof sum);
    }
}

void scale_sums(const std::int32_t* __restrict sums, const float* __restrict scale, float divisor, const float* __restrict bias,
                std::size_t width, float* __restrict x) {
    for (std::size_t j = 0; j < width; ++j) x[j] = static_cast<float>(sums[j]) * (scale[j] / divisor) + bias[j];
}

void make_finite(float* x, std::size_t width, bool relu) {
    const float least = relu ? 0.0f : -FLT_MAX;
    for (std::size_t j = 0; j < width; ++j) {
        const float number = x[j] != x[j] ? 0.0f : x[j] > FLT_MAX ? FLT_MAX : x[j];
        x[j] = number > least ? number : least;
    }
}

}  // namespace

}  // namespace sparsedistill
