#include "bag.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "simd.h"

namespace sparsedistill {

namespace {

constexpr std::size_t prefetch_distance = 8;

inline void prefetch_row(const float* row, std::size_t width) {
    constexpr std::size_t line = 64 / sizeof(float), most = 8;  // the hardware follows a row once it has begun
    for (std::size_t j = 0; j < width && j < most * line; j += line) __builtin_prefetch(row + j);
}

SPARSEDISTILL_CLONES
void mean_of_bag(const float* table, std::size_t width, std::span<const std::uint32_t> ids, float* out) {
    std::fill_n(out, width, 0.0f);
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (i + prefetch_distance < ids.size()) prefetch_row(table + ids[i + prefetch_distance] * width, width);
        const float* const row = table + ids[i] * width;
        for (std::size_t j = 0; j < width; ++j) out[j] += row[j];
    }
    if (ids.empty()) return;
    const float scale = 1.0f / static_cast<float>(ids.size());
    for (std::size_t j = 0; j < width; ++j) out[j] *= scale;
}

struct Occurrence {
    std::uint32_t id, bag;
};

SPARSEDISTILL_CLONES
void add_scaled(const float* from, float scale, std::size_t width, float* to) {
    for (std::size_t j = 0; j < width; ++j) to[j] += from[j] * scale;
}

SPARSEDISTILL_CLONES
void adam_row(const float* gradient, std::size_t width, float beta1, float beta2, float step_size, float epsilon,
              float* __restrict row, float* __restrict m, float* __restrict v) {
    for (std::size_t j = 0; j < width; ++j) {
        const float g = gradient[j];
        m[j] += (g - m[j]) * (1.0f - beta1);
        v[j] += (g * g - v[j]) * (1.0f - beta2);
        row[j] -= step_size * m[j] / (std::sqrt(v[j]) + epsilon);
    }
}

}  // namespace

void bag_mean(const float* table, std::size_t width, const Bags& bags, float* out, unsigned threads) {
    parallel_for(bags.size(), 16, threads, [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t b = begin; b < end; ++b) mean_of_bag(table, width, bags[b], out + b * width);
        };
    });
}

void bag_adam(float* table, float* moment1, float* moment2, std::size_t width, const Bags& bags, const float* grad,
              const Adam& adam, unsigned threads) {
    std::vector<Occurrence> occurrences;
    occurrences.reserve(bags.ids.size());
    for (std::size_t b = 0; b < bags.size(); ++b)
        for (const auto id : bags[b]) occurrences.push_back({id, static_cast<std::uint32_t>(b)});
    std::sort(occurrences.begin(), occurrences.end(),
              [](Occurrence a, Occurrence b) { return a.id != b.id ? a.id < b.id : a.bag < b.bag; });
    std::vector<std::size_t> starts;  // of each row's occurrences
    for (std::size_t i = 0; i < occurrences.size(); ++i)
        if (i == 0 || occurrences[i].id != occurrences[i - 1].id) starts.push_back(i);
    const std::size_t rows = starts.size();
    starts.push_back(occurrences.size());

    const double correction1 = 1 - std::pow(double{adam.beta1}, static_cast<double>(adam.step));
    const double correction2 = 1 - std::pow(double{adam.beta2}, static_cast<double>(adam.step));
    const auto step_size = static_cast<float>(adam.learning_rate * std::sqrt(correction2) / correction1);

    parallel_for(rows, 256, threads, [&] {
        return [&, gradient = std::vector<float>(width)](std::size_t begin, std::size_t end) mutable {
            for (std::size_t r = begin; r < end; ++r) {
                if (r + 2 < end) {
                    const std::size_t ahead = occurrences[starts[r + 2]].id * width;
                    prefetch_row(table + ahead, width);
                    prefetch_row(moment1 + ahead, width);
                    prefetch_row(moment2 + ahead, width);
                }
                std::fill(gradient.begin(), gradient.end(), 0.0f);
                for (std::size_t i = starts[r]; i < starts[r + 1]; ++i) {
                    const std::size_t b = occurrences[i].bag;
                    add_scaled(grad + b * width, 1.0f / static_cast<float>(bags[b].size()), width, gradient.data());
                }
                const std::size_t at = occurrences[starts[r]].id * width;
                adam_row(gradient.data(), width, adam.beta1, adam.beta2, step_size, adam.epsilon, table + at,
                         moment1 + at, moment2 + at);
            }
        };
    });
}

}  // namespace sparsedistill
