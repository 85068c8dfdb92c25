// Training's kernels over the table: pooled gather, and the optimiser applied to the rows of a batch in place.
#pragma once

#include <cstdint>
#include <span>

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

// out[b] = mean of the rows of bag b, zero for an empty bag; `width` numbers a row.
void bag_mean(const float* table, std::size_t width, const Bags& bags, float* out, unsigned threads);

struct Adam {
    float learning_rate, beta1, beta2, epsilon;
    std::uint64_t step;  // 1 for the first update
};

// Lazy Adam (torch's SparseAdam): the gradient of row r is the sum of grad[b] / |bag b| over its occurrences; moments
// and weights of the rows of the batch are updated in place, all others stay as they are. The result does not depend
// on the number of threads: each row is summed in the order of the bags by one thread.
void bag_adam(float* table, float* moment1, float* moment2, std::size_t width, const Bags& bags, const float* grad,
              const Adam& adam, unsigned threads);

}  // namespace sparsedistill
