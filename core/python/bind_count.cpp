#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>

#include "../count.h"
#include "bind.h"
#include "common.h"
#include "python_texts.h"

namespace sparsedistill::python {

namespace {

std::uint64_t random_seed() {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

class PyCounter {
public:
    PyCounter(const std::string& tokenizer, bool lowercase, unsigned max_n, std::uint64_t memory, std::string directory,
              bool normalize, std::optional<std::uint64_t> given_seed, bool deobfuscate,
              const std::string& of, unsigned least, unsigned most, bool of_characters)
        : seed(given_seed ? *given_seed : random_seed()),
          counter_(rules(tokenizer, lowercase, normalize, deobfuscate), checked_n(max_n), memory, std::move(directory), seed,
                   of_characters ? std::optional(characters(of, least, most)) : std::nullopt) {}

    const std::uint64_t seed;

    void add(nb::handle source, std::uint32_t weight, unsigned threads) {
        const PythonTexts texts(source);
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
        const PythonTexts texts(source);
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

}  // namespace

void bind_count(nb::module_& m) {
    nb::class_<PyCounter>(m, "Counter", "Counts n-grams exactly over two readings of the texts: add, choose, spell, top.")
        .def(nb::init<const std::string&, bool, unsigned, std::uint64_t, std::string, bool, std::optional<std::uint64_t>,
                      bool, const std::string&, unsigned, unsigned, bool>(),
             "tokenizer"_a, "lowercase"_a, "max_n"_a, "memory"_a, "directory"_a, "normalize"_a = true, "seed"_a = nb::none(),
             "deobfuscate"_a = false, "characters"_a = "none", "characters_min"_a = Characters().least, "characters_max"_a = Characters().most,
             "of_characters"_a = false,
             "seed: of the hashes, on which no result depends; drawn at random unless given, for tests. of_characters: count "
             "the character n-grams of all tokens, and no others.")
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
}

}  // namespace sparsedistill::python
