// Training's work on the table: pooled gather, and the optimiser applied to the rows of a batch in place.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
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
    std::uint32_t first = 0;  // number of the first column, where these are some columns of a wider table
};

// How the rows of a bag become one vector. sqrtn: their sum over the root of their number. mean_max: both, side by side.
// attentive: the rows' sum, each with a weight that is the softmax over the bag of the row's product with a query (Ye et al.
// 2022).
enum class Pooling { mean, sum, sqrtn, max, mean_max, attentive };

// "mean", "sum", "sqrtn", "max", "mean+max" or "attentive"; nothing for another name.
std::optional<Pooling> pooling_named(std::string_view name);

inline bool has_maximum(Pooling how) { return how == Pooling::max || how == Pooling::mean_max; }

// Whether the vector is the rows' sum, divided by what their number alone decides.
inline bool is_sum(Pooling how) { return how == Pooling::mean || how == Pooling::sum || how == Pooling::sqrtn; }

// What the sum of so many rows is divided by, where it is; 1 for none.
inline float divisor_of(Pooling how, std::size_t rows) {
    const float count = static_cast<float>(rows ? rows : 1);
    return how == Pooling::mean || how == Pooling::mean_max ? count : how == Pooling::sqrtn ? std::sqrt(count) : 1.0f;
}

// With what bag_pool() found that the step has to know.
struct Pool {
    Pooling how = Pooling::mean;
    std::vector<float> query{};            // (width); attentive
    std::vector<std::uint32_t> winners{};  // (bags, width): the row of each maximum; max, mean_max
    std::vector<float> weights{};          // (ids); attentive
    std::vector<float> slopes{};           // (ids): the loss's derivative by each product with the query; attentive

    std::size_t pooled(std::size_t width) const { return how == Pooling::mean_max ? 2 * width : width; }
};

// out (bags, pooled width): zero for an empty bag.
void bag_pool(const Table& table, const Bags& bags, Pool& pool, float* out, unsigned threads);

// attentive, before the step: from the loss's gradient (bags, width) by `out`, that by the query (width), and the slopes.
void bag_attend(const Table& table, const Bags& bags, Pool& pool, const float* out, const float* grad,
                float* query_gradient, unsigned threads);

// One optimiser's step from the gradient (bags, pooled width) of what bag_pool() made. The gradient of a row is summed over
// its occurrences; the rows of the batch and their state are updated in place, all others stay as they are. The result does
// not depend on the number of threads: each row is summed in the order of the bags by one thread. bfloat16 rows are rounded
// at random, as a function of (seed, step, row, column).

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

// Plain gradient descent, with factors of the learning rate: of each row one for the columns up to each of `ends`.
struct Sgd {
    float learning_rate;
    std::uint64_t step;
    const float* rates;
    std::span<const std::uint32_t> ends;
};

void bag_step(const Table& table, const Bags& bags, const float* grad, const Pool& pool, const Adam& adam,
              std::uint64_t seed, unsigned threads);
void bag_step(const Table& table, const Bags& bags, const float* grad, const Pool& pool, const Adagrad& adagrad,
              std::uint64_t seed, unsigned threads);
void bag_step(const Table& table, const Bags& bags, const float* grad, const Pool& pool, const Sgd& sgd, std::uint64_t seed,
              unsigned threads);

}  // namespace sparsedistill
