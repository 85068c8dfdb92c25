#include "bag.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "floats.h"
#include "hash.h"
#include "kernels.h"
#include "parallel.h"

namespace sparsedistill {

namespace {

// The kernels over a table's rows, of either type.

const float* full(const Table& table) { return static_cast<const float*>(table.rows); }
const std::uint16_t* half(const Table& table) { return static_cast<const std::uint16_t*>(table.rows); }

void gather(const Table& table, std::span<const std::uint32_t> ids, float* sums) {
    if (table.bfloat16) kernels().gather_bfloat16(half(table), table.width, ids.data(), ids.size(), sums);
    else kernels().gather_float32(full(table), table.width, ids.data(), ids.size(), sums);
}

void winners(const Table& table, std::span<const std::uint32_t> ids, float* best, std::uint32_t* winner) {
    if (table.bfloat16) kernels().winners_bfloat16(half(table), table.width, ids.data(), ids.size(), best, winner);
    else kernels().winners_float32(full(table), table.width, ids.data(), ids.size(), best, winner);
}

void products(const Table& table, std::span<const std::uint32_t> ids, const float* with, float* out) {
    if (table.bfloat16) kernels().products_bfloat16(half(table), table.width, ids.data(), ids.size(), with, out);
    else kernels().products_float32(full(table), table.width, ids.data(), ids.size(), with, out);
}

void weigh(const Table& table, std::span<const std::uint32_t> ids, const float* weights, float* sums) {
    if (table.bfloat16) kernels().weigh_bfloat16(half(table), table.width, ids.data(), ids.size(), weights, sums);
    else kernels().weigh_float32(full(table), table.width, ids.data(), ids.size(), weights, sums);
}

struct Occurrence {
    std::uint32_t id, at;
};

// All occurrences by id, and within one in their order; `at` is the bag, or with `positions` the place in the ids.
// Counting sorts by eleven bits at a time, each of which keeps the order.
std::vector<Occurrence> sorted_occurrences(const Bags& bags, bool positions) {
    constexpr unsigned digit = 11;
    if (positions && bags.ids.size() > 0xFFFFFFFF) throw std::length_error("a batch has more than 2^32 n-grams");
    std::vector<Occurrence> sorted(bags.ids.size()), other(bags.ids.size());
    std::uint32_t highest = 0;
    auto* next = sorted.data();
    for (std::size_t b = 0; b < bags.size(); ++b)
        for (const auto id : bags[b]) {
            *next = {id, static_cast<std::uint32_t>(positions ? next - sorted.data() : b)};
            ++next;
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

void prefetch_row(const Table& table, std::size_t row) {
    const std::size_t bytes = table.width * (table.bfloat16 ? sizeof(std::uint16_t) : sizeof(float));
    prefetch(static_cast<const char*>(table.rows) + row * bytes, bytes);
}

// step(row, gradient) for each row that occurs; fetch(row) some rows before.
template <class Step, class Fetch>
void for_rows(const Bags& bags, const float* grad, const Pool& pool, std::size_t width, unsigned threads, Step step,
              Fetch fetch) {
    const bool attentive = pool.how == Pooling::attentive, both = pool.how == Pooling::mean_max;
    const auto occurrences = sorted_occurrences(bags, attentive);
    std::vector<std::uint32_t> from;   // bags, in the order of the occurrences
    std::vector<float> weights;        // attentive: in that order too
    std::vector<std::size_t> starts;   // of each row's occurrences
    std::vector<std::uint32_t> bag_of; // attentive: of each place in the ids
    if (attentive) {
        bag_of.reserve(bags.ids.size());
        for (std::size_t b = 0; b < bags.size(); ++b) bag_of.insert(bag_of.end(), bags[b].size(), static_cast<std::uint32_t>(b));
        weights.reserve(occurrences.size());
    }
    from.reserve(occurrences.size());
    for (std::size_t i = 0; i < occurrences.size(); ++i) {
        const auto at = occurrences[i].at;
        from.push_back(attentive ? bag_of[at] : at);
        if (attentive) weights.push_back(pool.weights[at]);
        if (i == 0 || occurrences[i].id != occurrences[i - 1].id) starts.push_back(i);
    }
    const std::size_t rows = starts.size(), columns = pool.pooled(width);
    starts.push_back(occurrences.size());

    // What a bag's gradient is to each of its rows, where it is the same to all of them.
    const bool divided = pool.how == Pooling::mean || pool.how == Pooling::sqrtn || both;
    std::vector<float> shares(divided ? bags.size() * width : 0);
    parallel_for(shares.empty() ? 0 : bags.size(), 64, threads, Stop(), [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t b = begin; b < end; ++b) {
                if (bags[b].empty()) continue;
                const float scale = 1.0f / divisor_of(pool.how, bags[b].size());
                for (std::size_t j = 0; j < width; ++j) shares[b * width + j] = grad[b * columns + j] * scale;
            }
        };
    });
    const float* const same = pool.how == Pooling::sum ? grad : shares.data();
    const Kernels& with = kernels();
    // All memory is at hand before the first row changes: a step is made as a whole or not at all.
    threads = std::max(threads, 1u);
    std::vector<float> gradients(threads * width);
    std::atomic<std::size_t> thread{0};
    parallel_for(rows, 64, threads, Stop(), [&] {
        return [&, gradient = std::span(gradients).subspan(thread++ * width, width)](std::size_t begin, std::size_t end) {
            for (std::size_t r = begin; r < end; ++r) {
                if (r + 2 < end) fetch(occurrences[starts[r + 2]].id);
                std::fill(gradient.begin(), gradient.end(), 0.0f);
                const std::size_t first = starts[r], count = starts[r + 1] - first;
                const auto id = occurrences[first].id;
                if (attentive) {
                    with.weigh_float32(grad, width, from.data() + first, count, weights.data() + first, gradient.data());
                    float slope = 0.0f;
                    for (std::size_t i = first; i < first + count; ++i) slope += pool.slopes[occurrences[i].at];
                    for (std::size_t j = 0; j < width; ++j) gradient[j] += slope * pool.query[j];
                } else if (pool.how != Pooling::max) {
                    with.gather_float32(same, width, from.data() + first, count, gradient.data());
                }
                if (has_maximum(pool.how))
                    for (std::size_t i = first; i < first + count; ++i) {
                        const std::size_t b = from[i];
                        if (i > first && from[i - 1] == b) continue;  // an id twice in a bag wins once
                        with.add_won(grad + b * columns + (both ? width : 0), pool.winners.data() + b * width, id, width,
                                     gradient.data());
                    }
                step(id, gradient.data());
            }
        };
    });
}

// What the rounding of a row in a step depends on.
std::uint32_t noise(const Table& table, std::uint64_t seed, std::uint64_t step, std::uint64_t row) {
    using namespace hash_detail;
    return static_cast<std::uint32_t>(mum(mum(seed ^ k0, step ^ k1) ^ k2, row ^ k3)) + table.first * Kernels::noise_column;
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

std::optional<Pooling> pooling_named(std::string_view name) {
    constexpr std::pair<std::string_view, Pooling> all[] = {{"mean", Pooling::mean},         {"sum", Pooling::sum},
                                                            {"sqrtn", Pooling::sqrtn},       {"max", Pooling::max},
                                                            {"mean+max", Pooling::mean_max}, {"attentive", Pooling::attentive}};
    for (const auto& [known, pooling] : all)
        if (name == known) return pooling;
    return {};
}

void bag_pool(const Table& table, const Bags& bags, Pool& pool, float* out, unsigned threads) {
    const std::size_t width = table.width, columns = pool.pooled(width);
    const bool maximum = has_maximum(pool.how);
    const bool attentive = pool.how == Pooling::attentive;
    // A step goes by these sizes: there are none until the pooling is done, and no slopes before bag_attend().
    pool.winners.clear();
    pool.weights.clear();
    pool.slopes.clear();
    std::vector<std::uint32_t> all_winners(maximum ? bags.size() * width : 0);
    std::vector<float> all_weights(attentive ? bags.ids.size() : 0);
    parallel_for(bags.size(), 16, threads, Stop(), [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t b = begin; b < end; ++b) {
                float* const sums = out + b * columns;
                const auto ids = bags[b];
                std::fill_n(sums, columns, 0.0f);
                if (ids.empty()) continue;
                if (attentive) {
                    float* const weights = all_weights.data() + bags.offsets[b];
                    products(table, ids, pool.query.data(), weights);
                    const float most = *std::max_element(weights, weights + ids.size());
                    float total = 0.0f;
                    for (std::size_t i = 0; i < ids.size(); ++i) total += weights[i] = exponential(weights[i] - most);
                    for (std::size_t i = 0; i < ids.size(); ++i) weights[i] /= total;
                    weigh(table, ids, weights, sums);
                    continue;
                }
                if (pool.how != Pooling::max) gather(table, ids, sums);
                if (const float divisor = divisor_of(pool.how, ids.size()); divisor != 1.0f) {
                    const float scale = 1.0f / divisor;
                    for (std::size_t j = 0; j < width; ++j) sums[j] *= scale;
                }
                if (maximum) {
                    float* const best = sums + columns - width;
                    auto* const winner = all_winners.data() + b * width;
                    std::fill_n(best, width, -std::numeric_limits<float>::infinity());
                    std::fill_n(winner, width, ids[0]);
                    winners(table, ids, best, winner);
                }
            }
        };
    });
    pool.winners = std::move(all_winners);
    pool.weights = std::move(all_weights);
}

void bag_attend(const Table& table, const Bags& bags, Pool& pool, const float* out, const float* grad,
                float* query_gradient, unsigned threads) {
    constexpr std::size_t grain = 64;
    const std::size_t width = table.width;
    std::vector<float> all_slopes(bags.ids.size());
    pool.slopes.clear();
    // A sum for each piece, added up in their order: the same for any number of threads.
    std::vector<float> pieces((bags.size() + grain - 1) / grain * width, 0.0f);
    parallel_for(bags.size(), grain, threads, Stop(), [&] {
        return [&](std::size_t begin, std::size_t end) {
            float* const piece = pieces.data() + begin / grain * width;
            for (std::size_t b = begin; b < end; ++b) {
                const auto ids = bags[b];
                float* const slopes = all_slopes.data() + bags.offsets[b];
                const float* const weights = pool.weights.data() + bags.offsets[b];
                const float* const gradient = grad + b * width;
                products(table, ids, gradient, slopes);
                const std::uint32_t self = 0;
                float mean;
                kernels().products_float32(out + b * width, width, &self, 1, gradient, &mean);
                for (std::size_t i = 0; i < ids.size(); ++i) slopes[i] = weights[i] * (slopes[i] - mean);
                weigh(table, ids, slopes, piece);
            }
        };
    });
    const FloatRules rules;
    std::fill_n(query_gradient, width, 0.0f);
    for (std::size_t at = 0; at < pieces.size(); at += width)
        for (std::size_t j = 0; j < width; ++j) query_gradient[j] += pieces[at + j];
    pool.slopes = std::move(all_slopes);
}

void bag_step(const Table& table, const Bags& bags, const float* grad, const Pool& pool, const Adam& adam,
              std::uint64_t seed, unsigned threads) {
    const Kernels& with = kernels();
    const std::size_t width = table.width;
    const FloatRules rules;
    const double correction1 = 1 - power(adam.beta1, adam.step);
    const double correction2 = 1 - power(adam.beta2, adam.step);
    const AdamStep step{static_cast<float>(adam.learning_rate * std::sqrt(correction2) / correction1), adam.beta1,
                        adam.beta2, adam.epsilon};
    auto* const half = static_cast<std::uint16_t*>(table.rows);
    auto* const full = static_cast<float*>(table.rows);
    for_rows(
        bags, grad, pool, width, threads,
        [&](std::size_t row, const float* gradient) {
            float *const m = adam.moment1 + row * width, *const v = adam.moment2 + row * width;
            if (table.bfloat16)
                with.adam_bfloat16(step, gradient, width, half + row * width, m, v, noise(table, seed, adam.step, row));
            else with.adam_float32(step, gradient, width, full + row * width, m, v);
        },
        [&](std::size_t row) {
            prefetch(adam.moment1 + row * width, width * sizeof(float));
            prefetch(adam.moment2 + row * width, width * sizeof(float));
            prefetch_row(table, row);
        });
}

void bag_step(const Table& table, const Bags& bags, const float* grad, const Pool& pool, const Adagrad& adagrad,
              std::uint64_t seed, unsigned threads) {
    const Kernels& with = kernels();
    const std::size_t width = table.width;
    const AdagradStep step{adagrad.learning_rate, adagrad.epsilon};
    auto* const half = static_cast<std::uint16_t*>(table.rows);
    auto* const full = static_cast<float*>(table.rows);
    for_rows(
        bags, grad, pool, width, threads,
        [&](std::size_t row, const float* gradient) {
            if (table.bfloat16)
                with.adagrad_bfloat16(step, gradient, width, half + row * width, adagrad.state + row,
                                      noise(table, seed, adagrad.step, row));
            else with.adagrad_float32(step, gradient, width, full + row * width, adagrad.state + row);
        },
        [&](std::size_t row) {
            prefetch(adagrad.state + row, sizeof(float));
            prefetch_row(table, row);
        });
}

void bag_step(const Table& table, const Bags& bags, const float* grad, const Pool& pool, const Sgd& sgd, std::uint64_t seed,
              unsigned threads) {
    const Kernels& with = kernels();
    const std::size_t width = table.width, several = sgd.ends.size();
    auto* const half = static_cast<std::uint16_t*>(table.rows);
    auto* const full = static_cast<float*>(table.rows);
    for_rows(
        bags, grad, pool, width, threads,
        [&](std::size_t row, const float* gradient) {
            std::size_t begin = 0;
            for (std::size_t i = 0; i < several; ++i) {
                const float size = sgd.learning_rate * sgd.rates[row * several + i];
                const std::size_t at = row * width + begin, columns = sgd.ends[i] - begin;
                if (table.bfloat16) with.sgd_bfloat16(size, gradient + begin, columns, half + at, noise(table, seed, sgd.step, row));
                else with.sgd_float32(size, gradient + begin, columns, full + at);
                begin = sgd.ends[i];
            }
        },
        [&](std::size_t row) {
            prefetch(sgd.rates + row * several, several * sizeof(float));
            prefetch_row(table, row);
        });
}

}  // namespace sparsedistill
