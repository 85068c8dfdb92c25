// Python's view of the core. Every function over texts takes what Texts takes and releases the GIL while it works.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "bag.h"
#include "count.h"
#include "lookup.h"
#include "parallel.h"
#include "score.h"
#include "texts.h"
#include "unicode_table.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace sparsedistill;

namespace {

template <class T>
using Read1 = nb::ndarray<const T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Read2 = nb::ndarray<const T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Write2 = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Made1 = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
template <class T>
using Made2 = nb::ndarray<nb::numpy, T, nb::ndim<2>>;

template <class T>
Made1<T> to_numpy(std::vector<T> values) {
    auto* const kept = new std::vector<T>(std::move(values));
    const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return Made1<T>(kept->data(), {kept->size()}, owner);
}

template <class T>
std::span<const T> span(const Read1<T>& array) {
    return {array.data(), array.size()};
}

TextRules rules(const std::string& tokenizer, bool lowercase) {
    if (tokenizer == "sklearn") return {Tokenizer::sklearn, lowercase};
    if (tokenizer == "words") return {Tokenizer::words, lowercase};
    if (tokenizer == "whitespace") return {Tokenizer::whitespace, lowercase};
    throw nb::value_error(("no tokenizer '" + tokenizer + "': sklearn, words or whitespace").c_str());
}

unsigned checked_n(unsigned max_n) {
    if (max_n < 1 || max_n > 8) throw nb::value_error("max_n must be 1 to 8");
    return max_n;
}

NgramStrings ngram_strings(const Read1<std::uint8_t>& bytes, const Read1<std::uint64_t>& offsets) {
    if (offsets.size() == 0 || offsets(0) != 0 || offsets(offsets.size() - 1) != bytes.size())
        throw nb::value_error("offsets must begin at 0 and end at the number of bytes");
    for (std::size_t i = 1; i < offsets.size(); ++i)
        if (offsets(i) < offsets(i - 1)) throw nb::value_error("offsets must not fall");
    if (offsets.size() > Lookup::none) throw nb::value_error("more n-grams than a row number can name");
    return {{reinterpret_cast<const char*>(bytes.data()), bytes.size()}, span(offsets)};
}

nb::list python_tokens(const Tokens& tokens) {
    nb::list list;
    for (std::size_t i = 0; i < tokens.size(); ++i) list.append(nb::str(tokens[i].data(), tokens[i].size()));
    return list;
}

nb::list tokenize_all(nb::handle source, const std::string& tokenizer, bool lowercase) {
    const Texts texts(source);
    const TextRules how = rules(tokenizer, lowercase);
    nb::list result;
    Tokens tokens;
    for (const auto text : texts.views()) {
        tokens.clear();
        tokenize(text, how, tokens);
        result.append(python_tokens(tokens));
    }
    return result;
}

Made1<std::uint64_t> fingerprints(nb::handle source, unsigned threads) {
    const Texts texts(source);
    std::vector<std::uint64_t> result(texts.size());
    {
        const nb::gil_scoped_release release;
        parallel_for(texts.size(), 1024, threads, [&] {
            return [&, kept = std::string()](std::size_t begin, std::size_t end) mutable {
                for (std::size_t i = begin; i < end; ++i) {
                    letters_and_digits(texts.views()[i], kept);
                    const std::size_t size = kept.size();
                    kept.append(Tokens::slack, '\0');
                    result[i] = token_hash(kept.data(), size, 0);
                }
            };
        });
    }
    return to_numpy(std::move(result));
}

auto make_slots(const Read1<std::uint8_t>& bytes, const Read1<std::uint64_t>& offsets, std::uint64_t seed) {
    const NgramStrings ngrams = ngram_strings(bytes, offsets);
    std::optional<std::vector<std::uint64_t>> slots;
    {
        const nb::gil_scoped_release release;
        for (unsigned tries = 0; !(slots = build_slots(ngrams, seed)); ++seed)
            if (++tries == 64) throw std::invalid_argument("the n-grams cannot be told apart: is one there twice?");
    }
    return std::make_pair(to_numpy(std::move(*slots)), seed);
}

// A vocabulary's lookup with the rules of its text.
class PyLookup {
public:
    PyLookup(Read1<std::uint64_t> slots, std::uint32_t rows, std::uint64_t seed, const std::string& tokenizer,
             bool lowercase, unsigned max_n)
        : slots_(std::move(slots)), lookup(span(slots_), rows, seed), text_rules(rules(tokenizer, lowercase)),
          max_n(checked_n(max_n)) {}

    auto bags(nb::handle source, unsigned threads) const {
        const Texts texts(source);
        std::vector<std::uint32_t> ids;
        std::vector<std::uint64_t> offsets(texts.size() + 1, 0);
        {
            const nb::gil_scoped_release release;
            constexpr std::size_t grain = 256;
            std::vector<std::vector<std::uint32_t>> parts((texts.size() + grain - 1) / grain);
            parallel_for(texts.size(), grain, threads, [&] {
                return [&, reader = BagReader(lookup, text_rules, max_n)](std::size_t begin, std::size_t end) mutable {
                    auto& part = parts[begin / grain];
                    for (std::size_t i = begin; i < end; ++i) {
                        reader.read(texts.views().subspan(i, 1));
                        const auto found = reader.rows();
                        part.insert(part.end(), found.begin(), found.end());
                        offsets[i + 1] = found.size();
                    }
                };
            });
            for (std::size_t i = 0; i < texts.size(); ++i) offsets[i + 1] += offsets[i];
            ids.reserve(offsets.back());
            for (const auto& part : parts) ids.insert(ids.end(), part.begin(), part.end());
        }
        return std::make_pair(to_numpy(std::move(ids)), to_numpy(std::move(offsets)));
    }

    // [(n-gram, row)] of one text, in the order of its bag.
    nb::list ngrams(nb::handle text) const {
        const Texts texts(nb::make_tuple(text));
        BagReader reader(lookup, text_rules, max_n);
        reader.want_places(true);
        reader.read(texts.views());
        nb::list result;
        for (std::size_t i = 0; i < reader.rows().size(); ++i) {
            const auto place = reader.places()[i];
            std::string ngram;
            for (std::uint32_t k = 0; k < place.n; ++k) {
                if (k) ngram += ' ';
                ngram += reader.tokens()[place.first + k];
            }
            result.append(nb::make_tuple(ngram, reader.rows()[i]));
        }
        return result;
    }

private:
    Read1<std::uint64_t> slots_;

public:
    Lookup lookup;
    TextRules text_rules;
    unsigned max_n;
};

using AnyRows = nb::ndarray<nb::numpy, nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

class PyModel {
public:
    PyModel(std::shared_ptr<PyLookup> lookup, AnyRows rows, std::optional<Read1<float>> scale, Read1<float> bias,
            bool relu_first, std::vector<std::pair<Read2<float>, Read1<float>>> layers)
        : lookup_(std::move(lookup)), rows_(std::move(rows)), scale_(std::move(scale)), bias_(std::move(bias)),
          layers_(std::move(layers)),
          model_{lookup_->text_rules, lookup_->max_n, lookup_->lookup, RowType::float32, rows_.data(), rows_.shape(1),
                 nullptr, bias_.data(), relu_first, {}} {
        if (rows_.dtype() == nb::dtype<std::int8_t>()) model_.row_type = RowType::int8;
        else if (rows_.dtype() == nb::dtype<std::int16_t>()) model_.row_type = RowType::int16;
        else if (rows_.dtype() != nb::dtype<float>()) throw nb::type_error("rows must be int8, int16 or float32");
        const bool integer = model_.row_type != RowType::float32;
        if (integer != scale_.has_value()) throw nb::value_error("integer rows need a scale, float rows have none");
        if (integer) model_.scale = scale_->data();
        const std::size_t width = model_.width;
        if (width == 0 || bias_.size() != width || (integer && scale_->size() != width))
            throw nb::value_error("rows, scale and bias differ in width");
        if (rows_.shape(0) != lookup_->lookup.rows()) throw nb::value_error("the lookup is of another number of rows");
        std::size_t in = width;
        for (const auto& [weight, layer_bias] : layers_) {
            if (weight.shape(0) != in || weight.shape(1) != layer_bias.size() || layer_bias.size() == 0)
                throw nb::value_error("the shapes of the dense layers do not fit together");
            model_.layers.push_back({weight.data(), layer_bias.data(), in, layer_bias.size()});
            in = layer_bias.size();
        }
    }

    Made2<float> score(nb::handle source, unsigned threads, bool nulls_are_empty) const {
        const Texts texts(source, nulls_are_empty);
        auto logits = std::make_unique<std::vector<float>>(texts.size() * model_.outputs());
        {
            const nb::gil_scoped_release release;
            sparsedistill::score(model_, texts.views(), logits->data(), threads);
        }
        auto* const kept = logits.release();
        const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
        return Made2<float>(kept->data(), {texts.size(), model_.outputs()}, owner);
    }

private:
    std::shared_ptr<PyLookup> lookup_;
    AnyRows rows_;
    std::optional<Read1<float>> scale_;
    Read1<float> bias_;
    std::vector<std::pair<Read2<float>, Read1<float>>> layers_;
    Model model_;
};

class PyCounter {
public:
    PyCounter(const std::string& tokenizer, bool lowercase, unsigned max_n)
        : counter_(rules(tokenizer, lowercase), checked_n(max_n)) {}

    void add(nb::handle source) {
        const Texts texts(source);
        const nb::gil_scoped_release release;
        const std::lock_guard lock(mutex_);
        for (const auto text : texts.views()) counter_.add(text);
    }
    std::uint64_t distinct() const {
        const nb::gil_scoped_release release;
        const std::lock_guard lock(mutex_);
        return counter_.distinct();
    }
    auto top(std::uint64_t size, std::uint64_t min_count) const {
        Counter::Ngrams ngrams;
        {
            const nb::gil_scoped_release release;
            const std::lock_guard lock(mutex_);
            ngrams = counter_.top(size, min_count);
        }
        return std::make_tuple(to_numpy(std::move(ngrams.bytes)), to_numpy(std::move(ngrams.offsets)),
                               to_numpy(std::move(ngrams.counts)));
    }

private:
    Counter counter_;
    mutable std::mutex mutex_;  // the GIL does not protect it
};

Bags checked_bags(const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, std::size_t rows) {
    if (offsets.size() == 0 || offsets(0) != 0 || offsets(offsets.size() - 1) != ids.size())
        throw nb::value_error("offsets must begin at 0 and end at the number of ids");
    for (std::size_t i = 1; i < offsets.size(); ++i)
        if (offsets(i) < offsets(i - 1)) throw nb::value_error("offsets must not fall");
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (ids(i) >= rows) throw nb::index_error("a bag names a row past the end of the table");
    return {span(ids), span(offsets)};
}

void mean(const Read2<float>& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
          Write2<float>& out, unsigned threads) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    if (out.shape(0) != bags.size() || out.shape(1) != table.shape(1))
        throw nb::value_error("out must be (bags, width of the table)");
    const nb::gil_scoped_release release;
    bag_mean(table.data(), table.shape(1), bags, out.data(), threads);
}

void adam(Write2<float>& table, Write2<float>& moment1, Write2<float>& moment2, const Read1<std::uint32_t>& ids,
          const Read1<std::uint64_t>& offsets, const Read2<float>& grad, float learning_rate, float beta1, float beta2,
          float epsilon, std::uint64_t step, unsigned threads) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    for (const auto* other : {&moment1, &moment2})
        if (other->shape(0) != table.shape(0) || other->shape(1) != table.shape(1))
            throw nb::value_error("the moments must have the shape of the table");
    if (grad.shape(0) != bags.size() || grad.shape(1) != table.shape(1))
        throw nb::value_error("grad must be (bags, width of the table)");
    if (step == 0) throw nb::value_error("the first step is 1");
    const nb::gil_scoped_release release;
    bag_adam(table.data(), moment1.data(), moment2.data(), table.shape(1), bags, grad.data(),
             {learning_rate, beta1, beta2, epsilon, step}, threads);
}

}  // namespace

NB_MODULE(_core, m) {
    m.doc() = "Text to n-grams to rows to logits; counting; training's kernels.";
    m.attr("unicode_version") = unicode::version;

    m.def("tokenize", &tokenize_all, "texts"_a, "tokenizer"_a, "lowercase"_a, "Tokens of each text, as lists of str.");
    m.def("fingerprints", &fingerprints, "texts"_a, "threads"_a,
          "uint64 (n,): hash of each text's lower-cased letters and digits, or of all of it where it has none.");
    m.def(
        "ngram_hash", [](const nb::bytes& ngram, std::uint64_t seed) { return ngram_hash({ngram.c_str(), ngram.size()}, seed); },
        "ngram"_a, "seed"_a, "The frozen hash of an n-gram, tokens joined by one space.");
    m.def("build_slots", &make_slots, "ngrams"_a, "offsets"_a, "seed"_a,
          "(slots uint64 (S,), the seed that worked): the lookup table of n-grams given as bytes and offsets.");

    nb::class_<PyCounter>(m, "Counter", "Counts n-grams exactly, in memory.")
        .def(nb::init<const std::string&, bool, unsigned>(), "tokenizer"_a, "lowercase"_a, "max_n"_a)
        .def("add", &PyCounter::add, "texts"_a, "Count every n-gram of the texts.")
        .def_prop_ro("distinct", &PyCounter::distinct, "Number of different n-grams so far.")
        .def("top", &PyCounter::top, "size"_a, "min_count"_a,
             "(bytes, offsets (V + 1,), counts (V,)) of the most frequent: count descending, then bytes ascending.");

    nb::class_<PyLookup>(m, "Lookup", "n-grams of texts -> row ids.")
        .def(nb::init<Read1<std::uint64_t>, std::uint32_t, std::uint64_t, const std::string&, bool, unsigned>(),
             "slots"_a, "rows"_a, "seed"_a, "tokenizer"_a, "lowercase"_a, "max_n"_a)
        .def("bags", &PyLookup::bags, "texts"_a, "threads"_a,
             "(ids uint32, offsets uint64 (n + 1,)): the rows of each text's known n-grams.")
        .def("ngrams", &PyLookup::ngrams, "text"_a, "[(n-gram, row)] of one text.");

    nb::class_<PyModel>(m, "Model", "A finished classifier's arrays.")
        .def(nb::init<std::shared_ptr<PyLookup>, AnyRows, std::optional<Read1<float>>, Read1<float>, bool,
                      std::vector<std::pair<Read2<float>, Read1<float>>>>(),
             "lookup"_a, "rows"_a, "scale"_a.none(), "bias"_a, "relu_first"_a, "layers"_a)
        .def("score", &PyModel::score, "texts"_a, "threads"_a, "nulls_are_empty"_a = false,
             "Logits float32 (n, outputs).");

    // What is written in place must not be converted: the result would go into a copy and be lost.
    m.def("bag_mean", &mean, "table"_a, "ids"_a, "offsets"_a, "out"_a.noconvert(), "threads"_a,
          "out[b] = mean of the rows of bag b; zero for an empty bag.");
    m.def("bag_adam", &adam, "table"_a.noconvert(), "moment1"_a.noconvert(), "moment2"_a.noconvert(), "ids"_a,
          "offsets"_a, "grad"_a, "learning_rate"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "step"_a, "threads"_a,
          "One step of lazy Adam on the rows of the bags, in place, from the gradient of bag_mean's output.");
}
