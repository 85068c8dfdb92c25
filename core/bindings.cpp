// Python's view of the core. Every function over texts takes what Texts takes and releases the GIL while it works.
#include <pthread.h>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "bag.h"
#include "count.h"
#include "kernels.h"
#include "large.h"
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
using Write1 = nb::ndarray<T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Made1 = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
template <class T>
using Made2 = nb::ndarray<nb::numpy, T, nb::ndim<2>>;

// An array that owns what was in the vector.
template <class T, class Memory, class... Columns>
auto to_numpy(std::vector<T, Memory> values, Columns... columns) {
    using Vector = std::vector<T, Memory>;
    const std::size_t rows = (values.size() / ... / std::max<std::size_t>(columns, 1));
    auto kept = std::make_unique<Vector>(std::move(values));
    T* const data = kept->data();
    const nb::capsule owner(kept.get(), [](void* p) noexcept { delete static_cast<Vector*>(p); });
    kept.release();
    return nb::ndarray<nb::numpy, T, nb::ndim<1 + sizeof...(columns)>>(data, {rows, columns...}, owner);
}

template <class T>
std::span<const T> span(const Read1<T>& array) {
    return {array.data(), array.size()};
}

// Raises what a signal's handler raises: Ctrl-C, as Python's own code does.
void check_signals() {
    if (PyErr_CheckSignals()) throw nb::python_error();
}

// Python's main thread, the only one that signals are seen to in. No other needs the GIL in the midst of its work, which it
// may never get once the program ends.
unsigned long main_thread;

void know_main_thread() {
    main_thread = nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident"));
    ::pthread_atfork(nullptr, nullptr, [] { main_thread = PyThread_get_thread_ident(); });
}

// For the time of work that may be long: others run Python meanwhile, and signals are seen to.
struct Long {
    nb::gil_scoped_release release;
    Stop stop{PyThread_get_thread_ident() == main_thread ? check : nullptr};

private:
    static void check() {
        const nb::gil_scoped_acquire acquire;
        check_signals();
    }
};

TextRules rules(const std::string& tokenizer, bool lowercase, bool normalize) {
    if (tokenizer == "sklearn") return {Tokenizer::sklearn, lowercase, false};
    if (tokenizer == "words") return {Tokenizer::words, lowercase, normalize};
    if (tokenizer == "whitespace") return {Tokenizer::whitespace, lowercase, normalize};
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

nb::list tokenize_all(nb::handle source, const std::string& tokenizer, bool lowercase, bool normalize, std::size_t window) {
    if (!window) throw nb::value_error("a window has a byte or more");
    const Texts texts(source);
    const TextRules how = rules(tokenizer, lowercase, normalize);
    nb::list result;
    Tokens tokens;
    for (const auto text : texts.views()) {
        check_signals();
        nb::list found;
        tokens.clear();
        for (Tokenization reading(text, how, window); !reading.done(); check_signals()) {
            reading.next(tokens);
            for (std::size_t i = 0; i < tokens.size(); ++i) found.append(nb::str(tokens[i].data(), tokens[i].size()));
            tokens.drop(tokens.size());
        }
        result.append(found);
    }
    return result;
}

Made1<std::uint64_t> fingerprints(nb::handle source, unsigned threads) {
    const Texts texts(source);
    std::vector<std::uint64_t> result(texts.size());
    {
        const Long work;
        parallel_texts(texts.views(), 1, threads, work.stop, [&] {
            return [&, kept = std::string()](std::size_t begin, std::size_t end) mutable {
                for (std::size_t i = begin; i < end; ++i, work.stop.poll()) {
                    comparable(texts.views()[i], kept, work.stop);
                    result[i] = fingerprint_hash(kept);
                    if (kept.capacity() <= most_kept) continue;
                    kept = {};
                    give_back();
                }
            };
        });
    }
    return to_numpy(std::move(result));
}

using LookupArray = nb::ndarray<const std::uint32_t, nb::numpy, nb::shape<-1, static_cast<nb::ssize_t>(Lines::lanes)>, nb::c_contig,
                          nb::device::cpu>;

auto make_table(const Read1<std::uint8_t>& bytes, const Read1<std::uint64_t>& offsets, std::uint64_t seed,
                const std::optional<Read2<std::int16_t>>& values) {
    const NgramStrings ngrams = ngram_strings(bytes, offsets);
    const std::size_t columns = values ? values->shape(1) : 0;
    if (values && (values->shape(0) != ngrams.size() || columns < 1 || columns > Lookup::most_columns))
        throw nb::value_error("the values in the slots must be one to four for each n-gram");
    std::optional<Large<std::uint32_t>> table;
    {
        const Long work;
        for (unsigned tries = 0;; ++seed) {
            table = build_table(ngrams, values ? values->data() : nullptr, static_cast<std::uint32_t>(columns), seed, work.stop);
            if (table) break;
            if (++tries == 64) throw std::invalid_argument("the n-grams cannot be told apart: is one there twice?");
        }
    }
    return std::make_pair(to_numpy(std::move(*table), Lines::lanes), seed);
}

// A vocabulary's lookup with the rules of its text.
class PyLookup {
public:
    PyLookup(LookupArray table, std::uint32_t rows, std::uint32_t columns, std::uint64_t seed, const std::string& tokenizer,
             bool lowercase, unsigned max_n, bool normalize, std::size_t block)
        : table_(std::move(table)), vocabulary{rules(tokenizer, lowercase, normalize), checked_n(max_n),
                                               Lookup({table_.data(), table_.size()}, rows, columns, seed), block} {
        if (block < 1 || block > Vocabulary::usual_block) throw nb::value_error("a block has 1 to 8,192 tokens");
    }

    auto bags(nb::handle source, unsigned threads) const {
        const Texts texts(source);
        FoundBags found;
        {
            const Long work;
            found = find_bags(vocabulary, texts.views(), threads, work.stop);
        }
        return std::make_pair(to_numpy(std::move(found.ids)), to_numpy(std::move(found.offsets)));
    }

    // [(n-gram, row)] of one text, in the order of its bag.
    nb::list ngrams(nb::handle text) const {
        const Texts texts(nb::make_tuple(text));
        BagReader reader;
        Large<std::uint32_t> ids;
        nb::list result;
        reader.walk(vocabulary, texts.views(), Stop(check_signals), [&](const BagReader::Candidates& all) {
            ids.clear();
            const std::size_t hits = find(all, ids);
            for (std::size_t i = 0; i < ids.size(); ++i) {
                std::string ngram;
                for (std::uint32_t k = 0; k < all.n; ++k) {
                    if (k) ngram += ' ';
                    ngram += reader.tokens()[all.places[all.where[i]] + k];
                }
                result.append(nb::make_tuple(ngram, ids[i]));
            }
            return hits;
        });
        return result;
    }

private:
    LookupArray table_;

    // Appends the rows found to `ids`.
    std::size_t find(const BagReader::Candidates& all, Large<std::uint32_t>& ids) const {
        const std::size_t before = ids.size();
        ids.resize(before + all.count);  // the kernel writes a place for each hash, hit or not
        const std::size_t hits = kernels().find(vocabulary.lookup.lines(), all.hashes, all.count, ids.data() + before,
                                                all.where, nullptr, 0);
        if (hits != Kernels::damaged) ids.resize(before + hits);
        return hits;
    }

public:
    Vocabulary vocabulary;
};

using AnyRows = nb::ndarray<nb::numpy, nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Pooling pooling_of(const std::string& name) {
    constexpr std::pair<const char*, Pooling> all[] = {{"mean", Pooling::mean}, {"sum", Pooling::sum}, {"max", Pooling::max},
                                                       {"mean+max", Pooling::mean_max}, {"attentive", Pooling::attentive}};
    for (const auto& [known, pooling] : all)
        if (name == known) return pooling;
    throw nb::value_error(("no pooling '" + name + "': mean, sum, max, mean+max or attentive").c_str());
}

class PyModel {
public:
    PyModel(std::shared_ptr<PyLookup> lookup, std::optional<AnyRows> rows, std::optional<Read1<float>> scale,
            Read1<float> bias, bool relu_first, const std::vector<std::pair<Read2<float>, Read1<float>>>& layers,
            const std::string& pooling, bool pairs)
        : lookup_(std::move(lookup)), rows_(std::move(rows)), scale_(std::move(scale)), bias_(std::move(bias)),
          model_{lookup_->vocabulary, RowType::int16, nullptr, bias_.size(), bias_.size(), nullptr, pooling_of(pooling),
                 bias_.data(), pairs, relu_first, {}} {
        if (pairs) model_.width /= 4;
        if (model_.pooling == Pooling::mean_max) model_.width /= 2;
        if (model_.pooling == Pooling::attentive) ++model_.width;
        if (model_.combined() != bias_.size()) throw nb::value_error("the bias is not as wide as what is pooled");
        const Lines& lines = lookup_->vocabulary.lookup.lines();
        if (rows_.has_value() == (lines.columns != 0))
            throw nb::value_error("either the slots hold values or there are rows");
        if (rows_) {
            if (rows_->dtype() == nb::dtype<std::int8_t>()) model_.row_type = RowType::int8;
            else if (rows_->dtype() == nb::dtype<std::int16_t>()) model_.row_type = RowType::int16;
            else if (rows_->dtype() == nb::dtype<float>()) model_.row_type = RowType::float32;
            else if (rows_->dtype().code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float) &&
                     rows_->dtype().bits == 16)
                model_.row_type = RowType::float16;
            else throw nb::type_error("rows must be int8, int16, float16 or float32");
            model_.rows = rows_->data();
            model_.stride = rows_->shape(1);
            if (rows_->shape(1) * rows_->itemsize() % Kernels::row_bytes)
                throw nb::value_error("a row is not a multiple of 16 bytes");
            if (rows_->shape(0) != lines.rows) throw nb::value_error("the lookup is of another number of rows");
        } else if (lines.columns != model_.width) {
            throw nb::value_error("slots and bias differ in width");
        } else if (model_.pooling != Pooling::mean && model_.pooling != Pooling::sum) {
            throw nb::value_error("values in the slots can be summed, and nothing else");
        }
        const bool integer = model_.row_type < RowType::float16;
        if (integer != scale_.has_value()) throw nb::value_error("integer rows need a scale, float rows have none");
        if (integer && model_.pooling == Pooling::attentive) throw nb::value_error("attentive pooling needs float rows");
        if (integer) model_.scale = scale_->data();
        const std::size_t width = model_.width;
        if (width == 0 || model_.stride < width || (integer && scale_->size() != width))
            throw nb::value_error("rows, scale and bias differ in width");
        std::size_t in = model_.combined();
        for (const auto& [weight, layer_bias] : layers) {
            if (weight.shape(0) != in || weight.shape(1) != layer_bias.size() || layer_bias.size() == 0)
                throw nb::value_error("the shapes of the dense layers do not fit together");
            model_.layers.emplace_back(weight.data(), layer_bias.data(), in, layer_bias.size());
            in = layer_bias.size();
        }
    }

    Made2<float> score(nb::handle source, unsigned threads, bool nulls_are_empty) const {
        return to_numpy(logits(Texts(source, nulls_are_empty), threads), model_.outputs());
    }

    // The name of each text's highest logit.
    nb::list choose(const nb::tuple& names, nb::handle source, unsigned threads, bool nulls_are_empty) const {
        if (names.size() != model_.outputs()) throw nb::value_error("there must be a name for each output");
        const auto scores = logits(Texts(source, nulls_are_empty), threads);
        nb::list result;
        for (std::size_t begin = 0; begin < scores.size(); begin += names.size())
            result.append(names[highest(scores.data() + begin)]);
        return result;
    }

    nb::object choose_one(nb::handle text, const nb::tuple& names) const {
        if (names.size() != model_.outputs()) throw nb::value_error("there must be a name for each output");
        if (model_.pairs) throw nb::type_error("this classifier labels pairs of texts");
        return names[highest(logits(Texts(nb::make_tuple(text)), 1).data())];
    }

private:
    std::vector<float> logits(const Texts& texts, unsigned threads) const {
        const std::size_t each = model_.pairs ? 2 : 1;
        if (texts.size() % each) throw nb::value_error("pairs are of two texts");
        std::vector<float> result(texts.size() / each * model_.outputs());
        const Long work;
        sparsedistill::score(model_, texts.views(), result.data(), threads, work.stop);
        return result;
    }
    std::size_t highest(const float* scores) const {
        return static_cast<std::size_t>(std::max_element(scores, scores + model_.outputs()) - scores);
    }

    std::shared_ptr<PyLookup> lookup_;
    std::optional<AnyRows> rows_;
    std::optional<Read1<float>> scale_;
    Read1<float> bias_;
    Model model_;
};

Made2<double> py_probabilities(const Read2<float>& logits, bool independent) {
    Large<double> result(logits.size());
    if (!result.empty()) {
        const Long work;
        probabilities({logits.data(), logits.size()}, logits.shape(1), independent, result.data(), work.stop);
    }
    return to_numpy(std::move(result), logits.shape(1));
}

nb::list kernel_names() {
    nb::list names;
    for (auto each = all_kernels(); *each; ++each) names.append((*each)->name);
    return names;
}

void choose_kernels(const std::string& name) {
    for (auto each = all_kernels(); *each; ++each)
        if (name == (*each)->name) return use_kernels(**each);
    throw nb::value_error(("this processor has no kernels '" + name + "'").c_str());
}

std::uint64_t random_seed() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

class PyCounter {
public:
    PyCounter(const std::string& tokenizer, bool lowercase, unsigned max_n, std::uint64_t memory, std::string directory,
              bool normalize, std::optional<std::uint64_t> given_seed)
        : seed(given_seed ? *given_seed : random_seed()),
          counter_(rules(tokenizer, lowercase, normalize), checked_n(max_n), memory, std::move(directory), seed) {}

    const std::uint64_t seed;

    void add(nb::handle source, std::uint32_t weight, unsigned threads) {
        const Texts texts(source);
        const Long work;
        const auto lock = locked(work.stop);
        counter_.add(texts.views(), weight, threads, work.stop);
    }
    std::uint64_t choose(std::uint64_t size, std::uint64_t min_count, unsigned threads) {
        const Long work;
        const auto lock = locked(work.stop);
        return counter_.choose(size, min_count, threads, work.stop);
    }
    void spell(nb::handle source, bool tally, unsigned threads) {
        const Texts texts(source);
        const Long work;
        const auto lock = locked(work.stop);
        counter_.spell(texts.views(), tally, threads, work.stop);
    }
    auto top(unsigned threads) const {
        Counter::Ngrams ngrams;
        {
            const Long work;
            const auto lock = locked(work.stop);
            ngrams = counter_.top(threads, work.stop);
        }
        return std::make_tuple(to_numpy(std::move(ngrams.bytes)), to_numpy(std::move(ngrams.offsets)),
                               to_numpy(std::move(ngrams.counts)), to_numpy(std::move(ngrams.tallies)));
    }
    std::uint64_t spilled() const {
        const Long work;
        const auto lock = locked(work.stop);
        return counter_.spilled();
    }

private:
    // Waits for its turn; the GIL protects nothing.
    std::unique_lock<std::timed_mutex> locked(const Stop& stop) const {
        std::unique_lock lock(mutex_, std::defer_lock);
        while (!lock.try_lock_for(Stop::every)) stop.poll();
        return lock;
    }

    Counter counter_;
    mutable std::timed_mutex mutex_;
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

auto take(const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, const Read1<std::int64_t>& which,
          double drop, std::uint64_t seed, std::uint64_t step, std::uint64_t place) {
    if (offsets.size() == 0 || offsets(offsets.size() - 1) > ids.size())
        throw nb::value_error("offsets must end within the ids");
    const Bags bags{span(ids), span(offsets)};
    for (std::size_t i = 0; i < which.size(); ++i) {
        const auto b = static_cast<std::uint64_t>(which(i));
        if (b >= bags.size()) throw nb::index_error("there is no such bag");
        if (bags.offsets[b] > bags.offsets[b + 1] || bags.offsets[b + 1] > ids.size())
            throw nb::value_error("offsets must not fall");
    }
    if (!(drop >= 0 && drop < 1)) throw nb::value_error("the share left out must be at least 0 and below 1");
    std::vector<std::uint32_t> taken;
    std::vector<std::uint64_t> ends{0};
    {
        const nb::gil_scoped_release release;
        take_bags(bags, span(which), static_cast<std::uint64_t>(drop * 4294967296.0), seed, step, place, taken, ends);
    }
    return std::make_pair(to_numpy(std::move(taken)), to_numpy(std::move(ends)));
}

using AnyTable = nb::ndarray<nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class Array>
Table checked_table(const Array& table) {
    if (table.dtype() != nb::dtype<float>() && table.dtype() != nb::dtype<std::uint16_t>())
        throw nb::type_error("a table is float32, or uint16 that stands for bfloat16");
    return {const_cast<void*>(static_cast<const void*>(table.data())), table.shape(1), table.dtype() != nb::dtype<float>()};
}

Pool make_pool(const std::string& pooling, const std::optional<Read1<float>>& query) {
    const Pooling how = pooling_of(pooling);
    if (query.has_value() != (how == Pooling::attentive)) throw nb::value_error("a query is for attentive pooling");
    return {how, query ? std::vector<float>(query->data(), query->data() + query->size()) : std::vector<float>()};
}

void check_query(const Pool& pool, const Table& rows) {
    if (pool.how == Pooling::attentive && pool.query.size() != rows.width) throw nb::value_error("the query must be as wide as the table");
}

void pool_bags(const AnyRows& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, Pool& pool,
               Write2<float>& out, unsigned threads) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    const Table rows = checked_table(table);
    check_query(pool, rows);
    if (out.shape(0) != bags.size() || out.shape(1) != pool.pooled(rows.width))
        throw nb::value_error("out must be (bags, width of what is pooled)");
    const nb::gil_scoped_release release;
    bag_pool(rows, bags, pool, out.data(), threads);
}

void mean(const AnyRows& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
          Write2<float>& out, unsigned threads) {
    Pool pool;
    pool_bags(table, ids, offsets, pool, out, threads);
}

Made1<float> attend(const AnyRows& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, Pool& pool,
                    const Read2<float>& out, const Read2<float>& grad, unsigned threads) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    const Table rows = checked_table(table);
    check_query(pool, rows);
    if (pool.how != Pooling::attentive || pool.weights.size() != ids.size())
        throw nb::value_error("these bags were not pooled attentively");
    for (const auto* array : {&out, &grad})
        if (array->shape(0) != bags.size() || array->shape(1) != rows.width)
            throw nb::value_error("out and grad must be (bags, width of the table)");
    std::vector<float> result(rows.width);
    {
        const nb::gil_scoped_release release;
        bag_attend(rows, bags, pool, out.data(), grad.data(), result.data(), threads);
    }
    return to_numpy(std::move(result));
}

Bags checked_step(const AnyTable& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
                  const Read2<float>& grad, const Pool& pool, std::uint64_t step) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    if (grad.shape(0) != bags.size() || grad.shape(1) != pool.pooled(table.shape(1)))
        throw nb::value_error("grad must be (bags, width of what is pooled)");
    const bool attentive = pool.how == Pooling::attentive;
    if ((has_maximum(pool.how) && pool.winners.size() != bags.size() * table.shape(1)) ||
        (attentive && (pool.weights.size() != ids.size() || pool.slopes.size() != ids.size() || pool.query.size() != table.shape(1))))
        throw nb::value_error("these bags were not pooled before");
    if (step == 0) throw nb::value_error("the first step is 1");
    return bags;
}

void adam(AnyTable& table, Write2<float>& moment1, Write2<float>& moment2, const Read1<std::uint32_t>& ids,
          const Read1<std::uint64_t>& offsets, const Read2<float>& grad, float learning_rate, float beta1, float beta2,
          float epsilon, std::uint64_t step, unsigned threads, std::uint64_t seed, const Pool* pool,
          std::uint32_t first) {
    const Pool plain, &how = pool ? *pool : plain;
    const Bags bags = checked_step(table, ids, offsets, grad, how, step);
    Table rows = checked_table(table);
    rows.first = first;
    for (const auto* other : {&moment1, &moment2})
        if (other->shape(0) != table.shape(0) || other->shape(1) != rows.width)
            throw nb::value_error("the moments must have the shape of the table");
    const nb::gil_scoped_release release;
    bag_step(rows, bags, grad.data(), how,
             Adam{learning_rate, beta1, beta2, epsilon, step, moment1.data(), moment2.data()}, seed, threads);
}

void adagrad(AnyTable& table, Write1<float>& state, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
             const Read2<float>& grad, float learning_rate, float epsilon, std::uint64_t step, unsigned threads,
             std::uint64_t seed, const Pool* pool, std::uint32_t first) {
    const Pool plain, &how = pool ? *pool : plain;
    const Bags bags = checked_step(table, ids, offsets, grad, how, step);
    Table rows = checked_table(table);
    rows.first = first;
    if (state.shape(0) != table.shape(0)) throw nb::value_error("the state must have a number for each row");
    const nb::gil_scoped_release release;
    bag_step(rows, bags, grad.data(), how, Adagrad{learning_rate, epsilon, step, state.data()}, seed, threads);
}

}  // namespace

NB_MODULE(_core, m) {
    m.doc() = "Text to n-grams to rows to logits; counting; training's kernels.";
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const std::system_error& error) {
            PyErr_SetString(PyExc_OSError, error.what());
        }
    });
    know_main_thread();
    nb::exception<Damaged>(m, "Damaged", PyExc_IndexError);
    m.attr("unicode_version") = unicode::version;

    m.def("tokenize", &tokenize_all, "texts"_a, "tokenizer"_a, "lowercase"_a, "normalize"_a = true,
          "window"_a = Tokenization::usual_window,
          "Tokens of each text, as lists of str; `window`, which changes nothing: bytes read at a time.");
    m.def("fingerprints", &fingerprints, "texts"_a, "threads"_a,
          "uint64 (n,): equal for texts that differ in case, white space and punctuation that carries nothing (core/text.h).");
    m.def(
        "ngram_hash", [](const nb::bytes& ngram, std::uint64_t seed) { return ngram_hash({ngram.c_str(), ngram.size()}, HashKey(seed)); },
        "ngram"_a, "seed"_a, "The frozen hash of an n-gram, tokens joined by one space.");
    m.def("build_slots", &make_table, "ngrams"_a, "offsets"_a, "seed"_a, "values"_a = nb::none(),
          "(slots uint32 (L, 16), the seed that worked): the lookup table of n-grams given as bytes and offsets. Values "
          "int16 (V, 1 to 4) stand in the slots themselves.");
    m.def("probabilities", &py_probabilities, "logits"_a, "independent"_a,
          "float64 (n, C): softmax of each row, or the sigmoid of each logit. The same bits on any machine.");
    m.def(
        "large_bytes", [](std::size_t size) { return to_numpy(Large<std::uint8_t>(size)); }, "size"_a,
        "uint8 (size,), not set to anything, in huge pages where the system gives them.");
    m.def("kernels", &kernel_names, "Instruction sets that this processor has kernels for, the plainest first.");
    m.def("use_kernels", &choose_kernels, "name"_a, "Use the kernels of one instruction set, for tests.");

    nb::class_<PyCounter>(m, "Counter", "Counts n-grams exactly over two readings of the texts: add, choose, spell, top.")
        .def(nb::init<const std::string&, bool, unsigned, std::uint64_t, std::string, bool, std::optional<std::uint64_t>>(),
             "tokenizer"_a, "lowercase"_a, "max_n"_a, "memory"_a, "directory"_a, "normalize"_a = true, "seed"_a = nb::none(),
             "seed: of the hashes, on which no result depends; drawn at random unless given, for tests.")
        .def_ro("seed", &PyCounter::seed, "The seed of the hashes.")
        .def("add", &PyCounter::add, "texts"_a, "weight"_a, "threads"_a,
             "First reading: count every n-gram of the texts, `weight` times.")
        .def("choose", &PyCounter::choose, "size"_a, "min_count"_a, "threads"_a,
             "End the first reading and choose the most frequent. Returns the number of different n-grams.")
        .def("spell", &PyCounter::spell, "texts"_a, "tally"_a, "threads"_a,
             "Second reading, of the same texts; `tally`: count the chosen n-grams in these.")
        .def("top", &PyCounter::top, "threads"_a,
             "(bytes, offsets (V + 1,), counts (V,), tallies (V,)): count descending, then bytes ascending.")
        .def_prop_ro("spilled", &PyCounter::spilled, "Bytes that went to disk.");

    nb::class_<PyLookup>(m, "Lookup", "n-grams of texts -> row ids.")
        .def(nb::init<LookupArray, std::uint32_t, std::uint32_t, std::uint64_t, const std::string&, bool, unsigned,
                      bool, std::size_t>(),
             "slots"_a, "rows"_a, "columns"_a, "seed"_a, "tokenizer"_a, "lowercase"_a, "max_n"_a, "normalize"_a = true,
             "block"_a = Vocabulary::usual_block, "block: tokens whose n-grams come before those of the next; another only for tests.")
        .def("bags", &PyLookup::bags, "texts"_a, "threads"_a,
             "(ids uint32, offsets uint64 (n + 1,)): the rows of each text's known n-grams.")
        .def("ngrams", &PyLookup::ngrams, "text"_a, "[(n-gram, row)] of one text.");

    nb::class_<PyModel>(m, "Model", "A finished classifier's arrays.")
        .def(nb::init<std::shared_ptr<PyLookup>, std::optional<AnyRows>, std::optional<Read1<float>>, Read1<float>, bool,
                      const std::vector<std::pair<Read2<float>, Read1<float>>>&, const std::string&, bool>(),
             "lookup"_a, "rows"_a.none(), "scale"_a.none(), "bias"_a, "relu_first"_a, "layers"_a, "pooling"_a = "mean",
             "pairs"_a = false)
        .def("score", &PyModel::score, "texts"_a, "threads"_a, "nulls_are_empty"_a = false,
             "Logits float32 (n, outputs).")
        .def("choose", &PyModel::choose, "names"_a, "texts"_a, "threads"_a, "nulls_are_empty"_a = false,
             "The name of each text's highest logit.")
        .def("choose_one", &PyModel::choose_one, "text"_a, "names"_a, "The name of one text's highest logit.");

    // What is written in place must not be converted: the result would go into a copy and be lost.
    m.def("take_bags", &take, "ids"_a, "offsets"_a, "which"_a, "drop"_a, "seed"_a, "step"_a, "place"_a,
          "(ids, offsets) of the bags at `which`, each id left out with the chance `drop`: a function of (seed, step, place "
          "in the batch).");
    m.def("bag_mean", &mean, "table"_a.noconvert(), "ids"_a, "offsets"_a, "out"_a.noconvert(), "threads"_a,
          "out[b] = mean of the rows of bag b; zero for an empty bag.");
    nb::class_<Pool>(m, "Pool", "How rows are pooled, and what one batch's pooling found that its step needs.")
        .def(
            "__init__",
            [](Pool* self, const std::string& pooling, const std::optional<Read1<float>>& query) {
                new (self) Pool(make_pool(pooling, query));
            },
            "pooling"_a, "query"_a = nb::none(), "pooling: mean, sum, max, mean+max or attentive, which has a query (d,).");
    m.def("bag_pool", &pool_bags, "table"_a.noconvert(), "ids"_a, "offsets"_a, "pool"_a, "out"_a.noconvert(), "threads"_a,
          "out[b] = the rows of bag b, pooled: (bags, d), or (bags, 2 d) for mean+max; zero for an empty bag.");
    m.def("bag_attend", &attend, "table"_a.noconvert(), "ids"_a, "offsets"_a, "pool"_a, "out"_a, "grad"_a, "threads"_a,
          "Attentive, between pooling and step: the query's gradient (d,) from that of `out`.");
    m.def("bag_adam", &adam, "table"_a.noconvert(), "moment1"_a.noconvert(), "moment2"_a.noconvert(), "ids"_a,
          "offsets"_a, "grad"_a, "learning_rate"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "step"_a, "threads"_a, "seed"_a = 0,
          "pool"_a.none() = nb::none(), "first"_a = 0,
          "One step of lazy Adam on the rows of the bags, in place, from the gradient of what was pooled (None: means). A uint16 "
          "table stands for bfloat16 and is rounded at random, as a function of (seed, step, row, column).");
    m.def("bag_adagrad", &adagrad, "table"_a.noconvert(), "state"_a.noconvert(), "ids"_a, "offsets"_a, "grad"_a,
          "learning_rate"_a, "epsilon"_a, "step"_a, "threads"_a, "seed"_a = 0, "pool"_a.none() = nb::none(), "first"_a = 0,
          "The same of row-wise Adagrad; state float32 (V,).");
}
