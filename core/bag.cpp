#include "bag.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "hash.h"
#include "kernels.h"
#include "parallel.h"

namespace sparsedistill {

namespace {

struct Occurrence {
    std::uint32_t id, bag;
};

// All occurrences by id, and within one by bag: counting sorts by eleven bits at a time, each of which keeps the order.
std::vector<Occurrence> sorted_occurrences(const Bags& bags) {
    constexpr unsigned digit = 11;
    std::vector<Occurrence> sorted(bags.ids.size()), other(bags.ids.size());
    std::uint32_t highest = 0;
    auto* next = sorted.data();
    for (std::size_t b = 0; b < bags.size(); ++b)
        for (const auto id : bags[b]) {
            *next++ = {id, static_cast<std::uint32_t>(b)};
            highest = std::max(highest, id);
        }
    for (unsigned shift = 0; shift < 32 && highest >> shift; shift += digit) {
        std::array<std::size_t, (1 << digit) + 1> starts{};
        const auto bucket = [&](Occurrence one) { return one.id >> shift & ((1 << digit) - 1); };
        for (const auto one : sorted) ++starts[bucket(one) + 1];
        for (std::size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
        for (const auto one : sorted) other[starts[bucket(one)]++] = one;
        sorted.swap(other);
    }
    return sorted;
}

void prefetch(const void* from, std::size_t bytes) {
    constexpr std::size_t most = 512;  // the hardware follows once it has begun
    for (std::size_t at = 0; at < bytes && at < most; at += 64) __builtin_prefetch(static_cast<const char*>(from) + at, 1);
}

// step(row, gradient) for each row that occurs; fetch(row) some rows before.
template <class Step, class Fetch>
void for_rows(const Bags& bags, const float* grad, std::size_t width, unsigned threads, Step step, Fetch fetch) {
    const auto occurrences = sorted_occurrences(bags);
    std::vector<std::uint32_t> from;  // bags, in the order of the occurrences
    std::vector<std::size_t> starts;  // of each row's occurrences
    from.reserve(occurrences.size());
    for (std::size_t i = 0; i < occurrences.size(); ++i) {
        from.push_back(occurrences[i].bag);
        if (i == 0 || occurrences[i].id != occurrences[i - 1].id) starts.push_back(i);
    }
    const std::size_t rows = starts.size();
    starts.push_back(occurrences.size());

    std::vector<float> shares(bags.size() * width);  // what a bag's gradient is to each of its rows
    parallel_for(bags.size(), 64, threads, [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t b = begin; b < end; ++b) {
                if (bags[b].empty()) continue;
                const float scale = 1.0f / static_cast<float>(bags[b].size());
                for (std::size_t j = b * width; j < (b + 1) * width; ++j) shares[j] = grad[j] * scale;
            }
        };
    });
    parallel_for(rows, 64, threads, [&] {
        return [&, gradient = std::vector<float>(width)](std::size_t begin, std::size_t end) mutable {
            for (std::size_t r = begin; r < end; ++r) {
                if (r + 2 < end) fetch(occurrences[starts[r + 2]].id);
                std::fill(gradient.begin(), gradient.end(), 0.0f);
                kernels().gather_float32(shares.data(), width, from.data() + starts[r], starts[r + 1] - starts[r],
                                         gradient.data());
                step(occurrences[starts[r]].id, gradient.data());
            }
        };
    });
}

// What the rounding of a row in a step depends on.
std::uint32_t noise(std::uint64_t seed, std::uint64_t step, std::uint64_t row) {
    using namespace hash_detail;
    return static_cast<std::uint32_t>(mum(mum(seed ^ k0, step ^ k1) ^ k2, row ^ k3));
}

}  // namespace

void take_bags(const Bags& bags, std::span<const std::int64_t> which, std::uint64_t drop, std::uint64_t seed,
               std::uint64_t step, std::uint64_t place, std::vector<std::uint32_t>& ids,
               std::vector<std::uint64_t>& offsets) {
    using namespace hash_detail;
    std::size_t total = 0;
    for (const auto b : which) total += bags[static_cast<std::size_t>(b)].size();
    ids.resize(total);
    std::size_t kept = 0;
    const std::uint64_t start = mum(seed ^ k0, step ^ k1);
    for (const auto b : which) {
        for (const auto id : bags[static_cast<std::size_t>(b)]) {
            ids[kept] = id;  // overwritten by the next where it is left out
            // Twice: after one product neighbours still know of each other.
            const std::uint64_t once = mum(start ^ k2, place++ ^ k3);
            kept += mum(once ^ k0, k1) >> 32 >= drop;
        }
        offsets.push_back(kept);
    }
    ids.resize(kept);
}

void bag_mean(const Table& table, const Bags& bags, float* out, unsigned threads) {
    const Kernels& with = kernels();
    const std::size_t width = table.width;
    parallel_for(bags.size(), 16, threads, [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t b = begin; b < end; ++b) {
                float* const sums = out + b * width;
                const auto ids = bags[b];
                std::fill_n(sums, width, 0.0f);
                if (ids.empty()) continue;
                if (table.bfloat16)
                    with.gather_bfloat16(static_cast<const std::uint16_t*>(table.rows), width, ids.data(), ids.size(), sums);
                else with.gather_float32(static_cast<const float*>(table.rows), width, ids.data(), ids.size(), sums);
                const float scale = 1.0f / static_cast<float>(ids.size());
                for (std::size_t j = 0; j < width; ++j) sums[j] *= scale;
            }
        };
    });
}

void bag_step(const Table& table, const Bags& bags, const float* grad, const Adam& adam, std::uint64_t seed,
              unsigned threads) {
    const Kernels& with = kernels();
    const std::size_t width = table.width;
    const double correction1 = 1 - std::pow(double{adam.beta1}, static_cast<double>(adam.step));
    const double correction2 = 1 - std::pow(double{adam.beta2}, static_cast<double>(adam.step));
    const AdamStep step{static_cast<float>(adam.learning_rate * std::sqrt(correction2) / correction1), adam.beta1,
                        adam.beta2, adam.epsilon};
    auto* const half = static_cast<std::uint16_t*>(table.rows);
    auto* const full = static_cast<float*>(table.rows);
    for_rows(
        bags, grad, width, threads,
        [&](std::size_t row, const float* gradient) {
            float *const m = adam.moment1 + row * width, *const v = adam.moment2 + row * width;
            if (table.bfloat16)
                with.adam_bfloat16(step, gradient, width, half + row * width, m, v, noise(seed, adam.step, row));
            else with.adam_float32(step, gradient, width, full + row * width, m, v);
        },
        [&](std::size_t row) {
            prefetch(adam.moment1 + row * width, width * sizeof(float));
            prefetch(adam.moment2 + row * width, width * sizeof(float));
            if (table.bfloat16) prefetch(half + row * width, width * sizeof *half);
            else prefetch(full + row * width, width * sizeof *full);
        });
}

void bag_step(const Table& table, const Bags& bags, const float* grad, const Adagrad& adagrad, std::uint64_t seed,
              unsigned threads) {
    const Kernels& with = kernels();
    const std::size_t width = table.width;
    const AdagradStep step{adagrad.learning_rate, adagrad.epsilon};
    auto* const half = static_cast<std::uint16_t*>(table.rows);
    auto* const full = static_cast<float*>(table.rows);
    for_rows(
        bags, grad, width, threads,
        [&](std::size_t row, const float* gradient) {
            if (table.bfloat16)
                with.adagrad_bfloat16(step, gradient, width, half + row * width, adagrad.state + row,
                                      noise(seed, adagrad.step, row));
            else with.adagrad_float32(step, gradient, width, full + row * width, adagrad.state + row);
        },
        [&](std::size_t row) {
            prefetch(adagrad.state + row, sizeof(float));
            if (table.bfloat16) prefetch(half + row * width, width * sizeof *half);
            else prefetch(full + row * width, width * sizeof *full);
        });
}

}  // namespace sparsedistill
