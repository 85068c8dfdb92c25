// Training: steps of the optimisers, and what pooling and its gradient need. Part of kernels.cpp, whose rules hold here too.
#pragma once

#include "../kernels.h"

namespace sparsedistill {

namespace {

// Nothing here may depend on how many numbers a register holds: each column is its own, and sums over columns are taken
// in sixteen parts.

inline float from_bfloat16(std::uint16_t x) { return __builtin_bit_cast(float, std::uint32_t{x} << 16); }

// Up with a chance of what is cut off, which sixteen random bits decide.
inline std::uint16_t to_bfloat16(float x, std::uint32_t noise, std::uint32_t column) {
    std::uint32_t random = noise + column * Kernels::noise_column;  // mixed as by lowbias32 (Wellons 2018)
    random = (random ^ random >> 16) * 0x7FEB352Du;
    random = (random ^ random >> 15) * 0x846CA68Bu;
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
    const std::uint32_t finite = (bits & 0x7F800000u) != 0x7F800000u ? 0xFFFFu : 0u;
    return static_cast<std::uint16_t>((bits + (random >> 16 & finite)) >> 16);
}

inline float adam(const AdamStep& step, float g, float* m, float* v) {
    *m += (g - *m) * (1.0f - step.beta1);
    *v += (g * g - *v) * (1.0f - step.beta2);
    return step.size * *m / (__builtin_sqrtf(*v) + step.epsilon);
}

void adam_float32(const AdamStep& given, const float* __restrict gradient, std::size_t width, float* __restrict row,
                  float* __restrict moment1, float* __restrict moment2) {
    const AdamStep step = given;
    for (std::size_t j = 0; j < width; ++j) row[j] -= adam(step, gradient[j], moment1 + j, moment2 + j);
}

void adam_bfloat16(const AdamStep& given, const float* __restrict gradient, std::size_t width,
                   std::uint16_t* __restrict row, float* __restrict moment1, float* __restrict moment2,
                   std::uint32_t noise) {
    const AdamStep step = given;
    for (std::size_t j = 0; j < width; ++j)
        row[j] = to_bfloat16(from_bfloat16(row[j]) - adam(step, gradient[j], moment1 + j, moment2 + j), noise,
                             static_cast<std::uint32_t>(j));
}

// How far a row goes against its gradient.
float adagrad(const AdagradStep& step, const float* gradient, std::size_t width, float* state) {
    constexpr std::size_t lanes = 16;
    float part[lanes] = {};
    std::size_t j = 0;
    for (; j + lanes <= width; j += lanes)
        for (std::size_t i = 0; i < lanes; ++i) part[i] += gradient[j + i] * gradient[j + i];
    for (std::size_t i = 0; j < width; ++i, ++j) part[i] += gradient[j] * gradient[j];
    for (std::size_t half = lanes / 2; half; half /= 2)
        for (std::size_t i = 0; i < half; ++i) part[i] += part[i + half];
    *state += part[0] / static_cast<float>(width);
    return step.learning_rate / (__builtin_sqrtf(*state) + step.epsilon);
}

void adagrad_float32(const AdagradStep& step, const float* __restrict gradient, std::size_t width,
                     float* __restrict row, float* state) {
    const float size = adagrad(step, gradient, width, state);
    for (std::size_t j = 0; j < width; ++j) row[j] -= size * gradient[j];
}

void adagrad_bfloat16(const AdagradStep& step, const float* __restrict gradient, std::size_t width,
                      std::uint16_t* __restrict row, float* state, std::uint32_t noise) {
    const float size = adagrad(step, gradient, width, state);
    for (std::size_t j = 0; j < width; ++j)
        row[j] = to_bfloat16(from_bfloat16(row[j]) - size * gradient[j], noise, static_cast<std::uint32_t>(j));
}

void sgd_float32(float size, const float* __restrict gradient, std::size_t width, float* __restrict row) {
    for (std::size_t j = 0; j < width; ++j) row[j] -= size * gradient[j];
}

void sgd_bfloat16(float size, const float* __restrict gradient, std::size_t width, std::uint16_t* __restrict row,
                  std::uint32_t noise) {
    for (std::size_t j = 0; j < width; ++j)
        row[j] = to_bfloat16(from_bfloat16(row[j]) - size * gradient[j], noise, static_cast<std::uint32_t>(j));
}

inline float number(const float* p) { return *p; }
inline float number(const std::uint16_t* p) { return from_bfloat16(*p); }

template <class Row>
void winners(const Row* rows, std::size_t width, const std::uint32_t* ids, std::size_t count, float* __restrict best,
             std::uint32_t* __restrict winner) {
    for (std::size_t i = 0; i < count; ++i) {
        const Row* const row = rows + ids[i] * width;
        const std::uint32_t id = ids[i];
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * width);
        for (std::size_t j = 0; j < width; ++j) {
            const float value = number(row + j);
            const bool more = value > best[j];
            best[j] = more ? value : best[j];
            winner[j] = more ? id : winner[j];
        }
    }
}

void add_won(const float* __restrict gradient, const std::uint32_t* __restrict winner, std::uint32_t id,
             std::size_t width, float* __restrict sums) {
    for (std::size_t j = 0; j < width; ++j) sums[j] += winner[j] == id ? gradient[j] : 0.0f;
}

template <class Row>
void products(const Row* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
              const float* __restrict with, float* __restrict out) {
    constexpr std::size_t lanes = 16;
    for (std::size_t i = 0; i < count; ++i) {
        const Row* const row = rows + ids[i] * width;
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * width);
        float part[lanes] = {};
        std::size_t j = 0;
        for (; j + lanes <= width; j += lanes)
            for (std::size_t k = 0; k < lanes; ++k) part[k] += number(row + j + k) * with[j + k];
        for (std::size_t k = 0; j < width; ++k, ++j) part[k] += number(row + j) * with[j];
        for (std::size_t half = lanes / 2; half; half /= 2)
            for (std::size_t k = 0; k < half; ++k) part[k] += part[k + half];
        out[i] = part[0];
    }
}

template <class Row>
void weigh(const Row* rows, std::size_t width, const std::uint32_t* ids, std::size_t count, const float* weights,
           float* __restrict sums) {
    for (std::size_t i = 0; i < count; ++i) {
        const Row* const row = rows + ids[i] * width;
        const float weight = weights[i];
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * width);
        for (std::size_t j = 0; j < width; ++j) sums[j] += weight * number(row + j);
    }
}

}  // namespace

}  // namespace sparsedistill
