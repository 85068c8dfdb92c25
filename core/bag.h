// Training's work on the table: pooled gather, and the optimiser applied to the rows of a batch in place.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sparsedistill {

// Row ids of a batch of texts: text b has ids[offsets[b]] .. ids[offsets[b + 1] - 1].
struct Bags {
    std::span<const std::uint32_t> ids;
    std::span<const std::uint64_t> offsets;

    std::size_t size() const { return offsets.size() - 1; }
    std::span<const std::uint32_t> operator[](std::size_t b) const {
        return ids.subspan(offsets[b], offsets[b + 1] - offsets[b]);
    }
};

// The bags at `which`, each id left out with a chance of `drop` / 2^32: a function of (seed, step, place), where `place`
// counts the ids asked for from the one given on. Appends to `ids` and `offsets`.
void take_bags(const Bags& bags, std::span<const std::int64_t> which, std::uint64_t drop, std::uint64_t seed,
               std::uint64_t step, std::uint64_t place, std::vector<std::uint32_t>& ids,
               std::vector<std::uint64_t>& offsets);

// A table of `width` numbers a row: float32, or bfloat16 (the upper half of a float32).
struct Table {
    void* rows;
    std::size_t width;
    bool bfloat16;
};

// out[b] = mean of the rows of bag b, zero for an empty bag.
void bag_mean(const Table& table, const Bags& bags, float* out, unsigned threads);

// One optimiser's step. The gradient of row r is the sum of grad[b] / |bag b| over its occurrences; the rows of the batch
// and their state are updated in place, all others stay as they are. The result does not depend on the number of threads:
// each row is summed in the order of the bags by one thread. bfloat16 rows are rounded at random, as a function of
// (seed, step, row, column).

// Lazy Adam, as torch's SparseAdam (Kingma and Ba 2015); moments as wide as the rows.
struct Adam {
    float learning_rate, beta1, beta2, epsilon;
    std::uint64_t step;  // 1 for the first update
    float *moment1, *moment2;
};

// Adagrad with one number of state a row, the sum of its mean squared gradients (Duchi et al. 2011; Mudigere et al. 2022).
struct Adagrad {
    float learning_rate, epsilon;
    std::uint64_t step;
    float* state;
};

void bag_step(const Table& table, const Bags& bags, const float* grad, const Adam& adam, std::uint64_t seed,
              unsigned threads);
void bag_step(const Table& table, const Bags& bags, const float* grad, const Adagrad& adagrad, std::uint64_t seed,
              unsigned threads);

}  // namespace sparsedistill
