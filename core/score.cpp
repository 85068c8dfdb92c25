#include "score.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "floats.h"
#include "kernels.h"
#include "parallel.h"

namespace sparsedistill {

namespace {

constexpr std::size_t group_bytes = 2048, group_texts = 32;  // texts looked up together: what they find fits the caches
constexpr std::size_t most_rows = 1 << 15;  // whose sums cannot overflow 32 bits; those of longer bags go on in 64

std::size_t padded(std::size_t n) { return (n + Kernels::dense_lanes - 1) / Kernels::dense_lanes * Kernels::dense_lanes; }

// Whether a text may have more rows than that, or more than a block of tokens. Such a text is a group of its own.
bool lengthy(const Model& model, std::size_t bytes) {
    const Vocabulary& vocabulary = model.vocabulary;
    const Characters& characters = vocabulary.characters;
    std::size_t rows = vocabulary.max_n;  // a byte: there is no token and no code point without one
    if (characters.of == Characters::Of::all) rows += characters.rows_a_byte();
    else if (characters.of == Characters::Of::unknown) rows = std::max(rows, characters.rows_a_byte());
    return bytes > std::min(most_rows / rows, vocabulary.block);
}

std::size_t bytes_of(std::span<const std::string_view> slices) {
    std::size_t bytes = 0;
    for (const auto slice : slices) bytes += slice.size();
    return bytes;
}

// Scratch memory of one thread.
class Scorer {
public:
    // done(t) when x_ is the pooled vector of text t, of so many slices.
    template <class Done>
    void pool_all(const Model& model, std::span<const std::string_view> views, std::size_t slices, const Stop& stop, Done done) {
        const bool real = model.row_type >= RowType::float16, alone = lengthy(model, bytes_of(views.first(slices)));
        const std::size_t stride = std::max<std::size_t>(model.stride, Lookup::most_columns), texts = views.size() / slices;
        slices_ = slices;
        lengthy_ = !real && alone;
        counts_.assign(texts, 0);
        if (real) floats_.assign(texts * stride, 0.0f);
        else sums_.assign(texts * stride, 0);
        if (lengthy_) wide_.assign(stride, 0);
        maximum_ = has_maximum(model.pooling);
        if (maximum_ && real) tops_real_.assign(texts * stride, -std::numeric_limits<float>::infinity());
        else if (maximum_) tops_.assign(texts * stride, std::numeric_limits<std::int32_t>::min());
        const auto add = [&](std::span<const std::string_view> some) {
            if (model.vocabulary.lookup.lines().columns) add_slots(model, some, stop, stride);
            else add_rows(model, some, stop, stride);
        };
        if (alone)
            for (std::size_t i = 0; i < slices; ++i) add(views.subspan(i, 1));
        else add(views);
        std::size_t widest = model.combined();
        for (const auto& layer : model.layers) widest = std::max(widest, layer.out());
        x_.resize(padded(widest));
        y_.resize(padded(widest));
        for (std::size_t t = 0; t < texts; ++t) {
            if (real) pool(model, counts_[t], floats_.data() + t * stride, tops_real_.data() + t * stride);
            else if (lengthy_) pool(model, counts_[t], wide_.data(), tops_.data() + t * stride);
            else pool(model, counts_[t], sums_.data() + t * stride, tops_.data() + t * stride);
            done(t);
        }
    }

    void score(const Model& model, std::span<const std::string_view> views, std::size_t slices, const Stop& stop, float* logits) {
        pool_all(model, views, slices, stop, [&](std::size_t t) { forward(model, logits + t * model.outputs()); });
    }

    // Keeps the pooled vectors from the `first` on; score_pairs() then scores each two of `count`.
    void keep(const Model& model, std::span<const std::string_view> texts, const Stop& stop, std::size_t first) {
        const std::size_t pooled = model.pooled();
        grow((first + texts.size()) * pooled, kept_);
        pool_all(model, texts, 1, stop, [&](std::size_t t) { std::copy_n(x_.data(), pooled, kept_.data() + (first + t) * pooled); });
    }

    void score_pairs(const Model& model, std::size_t count, float* logits) {
        const std::size_t pooled = model.pooled();
        for (std::size_t i = 0; i < count; i += 2) {
            const float *const a = kept_.data() + i * pooled, *const b = a + pooled;
            for (std::size_t j = 0; j < pooled; ++j) {
                x_[j] = a[j] + model.bias[j];
                x_[j + pooled] = b[j] + model.bias[j + pooled];
                x_[j + 2 * pooled] = a[j] * b[j] + model.bias[j + 2 * pooled];
                x_[j + 3 * pooled] = std::fabs(a[j] - b[j]) + model.bias[j + 3 * pooled];
            }
            forward(model, logits + i / 2 * model.outputs());
        }
    }

    // Keeps no more memory than is worth it.
    void release() {
        const std::size_t numbers = found_.capacity() + next_.capacity() + sums_.capacity() + tops_.capacity() +
                                    2 * wide_.capacity() + floats_.capacity() + tops_real_.capacity() + kept_.capacity();
        if (numbers * sizeof(float) + reader_.capacity() > most_kept) *this = Scorer();
    }

private:
    // Sums and maxima of a text's `count` rows -> x_.
    template <class Sum, class Top>
    void pool(const Model& model, std::size_t count, const Sum* sums, const Top* tops) {
        const std::size_t width = model.width, pooled = model.pooled();
        const float* const scale = model.scale;
        const auto bias = [&](std::size_t j) { return model.pairs ? 0.0f : model.bias[j]; };
        const auto times = [&](auto number, std::size_t j, float divisor) {
            return std::is_same_v<Top, float> ? static_cast<float>(number) / divisor
                                              : static_cast<float>(number) * (scale[j] / divisor);
        };
        if (model.pooling != Pooling::max) {
            const float divisor = model.pooling == Pooling::attentive ? static_cast<float>(sums[pooled]) : divisor_of(model.pooling, count);
            const bool weightless = divisor == 0.0f;  // attentive, and whatever the rows hold
            if constexpr (std::is_same_v<Sum, std::int32_t>)
                if (!model.pairs) kernels().scale_sums(sums, scale, divisor, model.bias, width, x_.data());
            if (!std::is_same_v<Sum, std::int32_t> || model.pairs)
                for (std::size_t j = 0; j < std::min(width, pooled); ++j)
                    x_[j] = (weightless ? 0.0f : times(sums[j], j, divisor)) + bias(j);
        }
        if (maximum_)
            for (std::size_t j = 0, at = pooled - width; j < width; ++j, ++at)
                x_[at] = (count ? times(tops[j], j, 1.0f) : 0.0f) + bias(at);
    }

    std::size_t text_of(const BagReader::Candidates& all) const { return slices_ == 1 ? all.text : all.text / slices_; }

    void add_slots(const Model& model, std::span<const std::string_view> texts, const Stop& stop, std::size_t stride) {
        const auto find_values = kernels().find_values;
        const Lines& lines = model.vocabulary.lookup.lines();
        reader_.walk(model.vocabulary, texts, stop, [&](const BagReader::Candidates& all) {
            std::size_t hits = 0;
            for (std::size_t begin = 0; begin < all.count; begin += most_rows) {
                std::uint32_t* const where = all.where + hits;
                const std::size_t found = find_values(lines, all.hashes + begin, std::min(most_rows, all.count - begin),
                                                      where, sums_.data() + text_of(all) * stride);
                if (found == Kernels::damaged) return found;
                if (begin)
                    for (std::size_t i = 0; i < found; ++i) where[i] += static_cast<std::uint32_t>(begin);
                hits += found;
                if (lengthy_) spill();
            }
            counts_[text_of(all)] += hits;
            return hits;
        });
    }

    void add_rows(const Model& model, std::span<const std::string_view> texts, const Stop& stop, std::size_t stride) {
        const auto find = kernels().find;
        const Lines& lines = model.vocabulary.lookup.lines();
        const std::size_t bytes = model.row_bytes();
        // What one call has found is read after the next call has looked up, when its rows have come.
        std::size_t waiting = 0, waiting_text = 0;
        const auto gather = [&] {
            for (std::size_t begin = 0; begin < waiting; begin += most_rows) {
                gather_rows(model, found_.data() + begin, std::min(most_rows, waiting - begin), waiting_text * stride);
                if (lengthy_) spill();
            }
        };
        reader_.walk(model.vocabulary, texts, stop, [&](const BagReader::Candidates& all) {
            grow(all.count, next_);
            const std::size_t hits = find(lines, all.hashes, all.count, next_.data(), all.where, model.rows, bytes);
            if (hits == Kernels::damaged) return hits;
            counts_[text_of(all)] += hits;
            gather();
            found_.swap(next_);
            waiting = hits;
            waiting_text = text_of(all);
            return hits;
        });
        gather();
    }

    void gather_rows(const Model& model, const std::uint32_t* ids, std::size_t count, std::size_t at) {
        const Kernels& kernel = kernels();
        const auto with = [&](const auto* rows, auto gather, auto maximum, auto* sums, auto* tops) {
            if (model.pooling != Pooling::max) gather(rows, model.stride, ids, count, sums + at);
            if (maximum_) maximum(rows, model.stride, ids, count, tops + at);
        };
        switch (model.row_type) {
            case RowType::int4:
                return with(static_cast<const std::uint8_t*>(model.rows), kernel.gather_int4, kernel.maximum_int4,
                            sums_.data(), tops_.data());
            case RowType::int8:
                return with(static_cast<const std::int8_t*>(model.rows), kernel.gather_int8, kernel.maximum_int8,
                            sums_.data(), tops_.data());
            case RowType::int16:
                return with(static_cast<const std::int16_t*>(model.rows), kernel.gather_int16, kernel.maximum_int16,
                            sums_.data(), tops_.data());
            case RowType::float16:
                return with(static_cast<const std::uint16_t*>(model.rows), kernel.gather_float16, kernel.maximum_float16,
                            floats_.data(), tops_real_.data());
            case RowType::float32:
                return with(static_cast<const float*>(model.rows), kernel.gather_float32, kernel.maximum_float32,
                            floats_.data(), tops_real_.data());
        }
    }

    // Only for a text that is alone.
    void spill() {
        for (std::size_t j = 0; j < wide_.size(); ++j) wide_[j] += sums_[j];
        std::fill(sums_.begin(), sums_.end(), 0);
    }

    void forward(const Model& model, float* logits) {
        bool relu = model.relu_first;
        std::size_t size = model.combined();
        const auto make_finite = kernels().make_finite;
        for (const auto& layer : model.layers) {
            make_finite(x_.data(), size, relu);
            std::fill_n(x_.data() + size, padded(size) - size, 0.0f);
            layer(x_.data(), y_.data());
            x_.swap(y_);
            size = layer.out();
            relu = true;
        }
        make_finite(x_.data(), size, false);
        std::copy_n(x_.data(), size, logits);
    }

    BagReader reader_;
    std::size_t slices_ = 1;  // of each text
    bool lengthy_ = false;  // whether sums go on in wide_
    std::vector<std::uint32_t> found_, next_;
    std::vector<std::size_t> counts_;
    bool maximum_ = false;  // whether tops are wanted
    std::vector<std::int32_t> sums_, tops_;
    std::vector<std::int64_t> wide_;
    std::vector<float> floats_, tops_real_, x_, y_, kept_;
};

// Also after an exception.
struct Release {
    Scorer& scorer;
    ~Release() { scorer.release(); }
};

}  // namespace

Dense::Dense(const float* weight, const float* bias, std::size_t in, std::size_t out)
    : in_(in), out_(out), columns_(out >= Kernels::dense_lanes), weight_(columns_ ? in * padded(out) : padded(in) * out),
      bias_(bias, bias + out) {
    bias_.resize(padded(out));
    for (std::size_t i = 0; i < in; ++i)
        for (std::size_t o = 0; o < out; ++o) weight_[columns_ ? i * padded(out) + o : o * padded(in) + i] = weight[i * out + o];
}

void Dense::operator()(const float* x, float* y) const {
    if (columns_) kernels().dense_columns(weight_.data(), bias_.data(), in_, bias_.size(), x, y);
    else kernels().dense(weight_.data(), bias_.data(), padded(in_), out_, x, y);
}

void score(const Model& model, std::span<const std::string_view> texts, float* logits, unsigned threads, const Stop& stop,
           std::size_t slices) {
    parallel_texts(texts, model.pairs ? 2 : slices, threads, stop, [&] {
        return [&](std::size_t begin, std::size_t end) {
            thread_local Scorer scorer;  // kept for the next call: scoring a short text costs less than its memory
            const Release release{scorer};
            const std::size_t first = begin;
            const auto bytes_at = [&](std::size_t i) { return bytes_of(texts.subspan(i, slices)); };
            while (begin < end) {
                std::size_t count = slices, bytes = bytes_at(begin);
                if (!lengthy(model, bytes))
                    while (begin + count < end && count < group_texts && bytes < group_bytes &&
                           !lengthy(model, bytes_at(begin + count))) {
                        bytes += bytes_at(begin + count);
                        count += slices;
                    }
                const auto some = texts.subspan(begin, count);
                if (model.pairs) scorer.keep(model, some, stop, begin - first);
                else scorer.score(model, some, slices, stop, logits + begin / slices * model.outputs());
                begin += count;
                if (begin < end) stop.poll();
            }
            if (model.pairs) scorer.score_pairs(model, end - first, logits + first / 2 * model.outputs());
        };
    });
}

void probabilities(std::span<const float> logits, std::size_t classes, bool independent, double* out,
                   const Stop& stop) {
    const FloatRules rules;
    std::vector<float> row(classes);
    for (std::size_t begin = 0; begin < logits.size(); begin += classes) {
        for (std::size_t j = 0; j < classes; ++j) row[j] = finite(logits[begin + j]);
        if (begin / classes % 64 == 63) stop.poll();
        if (independent) {
            for (std::size_t j = 0; j < classes; ++j) {
                const double power = exponential(-std::fabs(static_cast<double>(row[j])));
                out[begin + j] = (row[j] < 0 ? power : 1.0) / (1.0 + power);
            }
            continue;
        }
        const double most = *std::max_element(row.begin(), row.end());
        double total = 0.0;
        for (std::size_t j = 0; j < classes; ++j) total += out[begin + j] = exponential(row[j] - most);
        for (std::size_t j = 0; j < classes; ++j) out[begin + j] /= total;
    }
}

}  // namespace sparsedistill
