#include "score.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "parallel.h"
#include "simd.h"

namespace sparsedistill {

namespace {

constexpr std::size_t prefetch_distance = 12;  // rows
constexpr std::size_t group_bytes = 2048, group_texts = 32;  // texts looked up together: their slots fit the caches
constexpr std::size_t lanes = 16, tile = 64;

template <class Lane>
using Vector __attribute__((vector_size(lanes * sizeof(Lane)), aligned(alignof(Lane)), may_alias)) = Lane;

template <class Row>
using Sum = std::conditional_t<std::is_integral_v<Row>, std::int32_t, float>;

inline void prefetch_row(const char* row, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
}

// sums[j] += rows[ids[i]][j] over i in order, for all j < width. `next` are the ids after these, for prefetching.
// Integer sums must not overflow: the caller bounds the number of ids.
template <class Row>
inline __attribute__((always_inline)) void gather(const Row* rows, std::size_t width, const std::uint32_t* ids,
                                                  std::size_t count, std::size_t ahead, Sum<Row>* sums) {
    std::size_t j = 0;
    bool fetched = false;
    for (; j + tile <= width; j += tile) {
        Vector<Sum<Row>> acc[tile / lanes];
        std::memcpy(acc, sums + j, sizeof acc);
        for (std::size_t i = 0; i < count; ++i) {
            if (!fetched && i + prefetch_distance < ahead)
                prefetch_row(reinterpret_cast<const char*>(rows + ids[i + prefetch_distance] * width), width * sizeof(Row));
            const Row* const row = rows + ids[i] * width + j;
            for (std::size_t k = 0; k < tile / lanes; ++k)
                acc[k] += __builtin_convertvector(*reinterpret_cast<const Vector<Row>*>(row + k * lanes), Vector<Sum<Row>>);
        }
        std::memcpy(sums + j, acc, sizeof acc);
        fetched = true;
    }
    if (j == width) return;
    for (std::size_t i = 0; i < count; ++i) {
        if (!fetched && i + prefetch_distance < ahead)
            prefetch_row(reinterpret_cast<const char*>(rows + ids[i + prefetch_distance] * width), width * sizeof(Row));
        const Row* const row = rows + ids[i] * width;
        for (std::size_t k = j; k < width; ++k) sums[k] += row[k];
    }
}

SPARSEDISTILL_CLONES
void gather_int8(const std::int8_t* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                 std::size_t ahead, std::int32_t* sums) {
    gather<std::int8_t>(rows, width, ids, count, ahead, sums);
}
SPARSEDISTILL_CLONES
void gather_int16(const std::int16_t* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                  std::size_t ahead, std::int32_t* sums) {
    gather<std::int16_t>(rows, width, ids, count, ahead, sums);
}
SPARSEDISTILL_CLONES
void gather_float(const float* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                  std::size_t ahead, float* sums) {
    gather<float>(rows, width, ids, count, ahead, sums);
}

SPARSEDISTILL_CLONES
void dense(const Dense& layer, const float* in, float* out) {
    std::copy_n(layer.bias, layer.out, out);
    for (std::size_t i = 0; i < layer.in; ++i) {
        const float x = in[i];
        const float* const weight = layer.weight + i * layer.out;
        for (std::size_t o = 0; o < layer.out; ++o) out[o] += weight[o] * x;
    }
}

// Scratch memory of one thread.
class Scorer {
public:
    explicit Scorer(const Model& model)
        : model_(model), reader_(model.lookup, model.rules, model.max_n), sums_(model.width), wide_(model.width),
          floats_(model.width) {
        std::size_t widest = model.width;
        for (const auto& layer : model.layers) widest = std::max(widest, layer.out);
        x_.resize(widest);
        y_.resize(widest);
    }

    void score(std::span<const std::string_view> texts, float* logits) {
        reader_.read(texts);
        const auto all = reader_.rows();
        const std::uint32_t* const end = all.data() + all.size();
        for (std::size_t t = 0; t < texts.size(); ++t) {
            const auto ids = reader_[t];
            pool(ids, static_cast<std::size_t>(end - ids.data()));
            forward(logits + t * model_.outputs());
        }
    }

private:
    // x_ = mean of the rows, zero where there is none. `ahead` ids may be looked at for prefetching.
    void pool(std::span<const std::uint32_t> ids, std::size_t ahead) {
        const std::size_t width = model_.width;
        if (ids.empty()) {
            std::fill_n(x_.data(), width, 0.0f);
            return;
        }
        if (model_.row_type == RowType::float32) {
            std::fill(floats_.begin(), floats_.end(), 0.0f);
            gather_float(static_cast<const float*>(model_.rows), width, ids.data(), ids.size(), ahead, floats_.data());
            const auto count = static_cast<float>(ids.size());
            for (std::size_t j = 0; j < width; ++j) x_[j] = floats_[j] / count;
            return;
        }
        // 2^16 rows of int16 cannot overflow 32 bits; longer bags go on in 64.
        constexpr std::size_t most = 1 << 16;
        const bool lengthy = ids.size() > most;
        if (lengthy) std::fill(wide_.begin(), wide_.end(), 0);
        for (std::size_t begin = 0; begin < ids.size(); begin += most) {
            const std::size_t count = std::min(most, ids.size() - begin);
            std::fill(sums_.begin(), sums_.end(), 0);
            if (model_.row_type == RowType::int8)
                gather_int8(static_cast<const std::int8_t*>(model_.rows), width, ids.data() + begin, count,
                            ahead - begin, sums_.data());
            else
                gather_int16(static_cast<const std::int16_t*>(model_.rows), width, ids.data() + begin, count,
                             ahead - begin, sums_.data());
            if (lengthy)
                for (std::size_t j = 0; j < width; ++j) wide_[j] += sums_[j];
        }
        const auto count = static_cast<double>(ids.size());
        for (std::size_t j = 0; j < width; ++j) {
            const double sum = lengthy ? static_cast<double>(wide_[j]) : static_cast<double>(sums_[j]);
            x_[j] = static_cast<float>(sum * (static_cast<double>(model_.scale[j]) / count));
        }
    }

    void forward(float* logits) {
        for (std::size_t j = 0; j < model_.width; ++j) x_[j] += model_.bias[j];
        bool relu = model_.relu_first;
        std::size_t size = model_.width;
        for (const auto& layer : model_.layers) {
            if (relu)
                for (std::size_t j = 0; j < size; ++j) x_[j] = x_[j] > 0.0f ? x_[j] : 0.0f;
            dense(layer, x_.data(), y_.data());
            x_.swap(y_);
            size = layer.out;
            relu = true;
        }
        std::copy_n(x_.data(), size, logits);
    }

    const Model& model_;
    BagReader reader_;
    std::vector<std::int32_t> sums_;
    std::vector<std::int64_t> wide_;
    std::vector<float> floats_, x_, y_;
};

}  // namespace

void score(const Model& model, std::span<const std::string_view> texts, float* logits, unsigned threads) {
    constexpr std::size_t grain = 256;
    parallel_for(texts.size(), grain, threads, [&] {
        return [&, scorer = Scorer(model)](std::size_t begin, std::size_t end) mutable {
            while (begin < end) {
                std::size_t count = 0, bytes = 0;
                while (begin + count < end && count < group_texts && bytes < group_bytes)
                    bytes += texts[begin + count++].size();
                scorer.score(texts.subspan(begin, count), logits + begin * model.outputs());
                begin += count;
            }
        };
    });
}

}  // namespace sparsedistill
