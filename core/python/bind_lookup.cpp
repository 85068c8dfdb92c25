#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <stdexcept>
#include <utility>

#include "bind.h"
#include "common.h"
#include "lookup.h"

namespace sparsedistill::python {

namespace {

NgramStrings ngram_strings(const Read1<std::uint8_t>& bytes, const Read1<std::uint64_t>& offsets) {
    if (offsets.size() == 0 || offsets(0) != 0 || offsets(offsets.size() - 1) != bytes.size())
        throw nb::value_error("offsets must begin at 0 and end at the number of bytes");
    for (std::size_t i = 1; i < offsets.size(); ++i)
        if (offsets(i) < offsets(i - 1)) throw nb::value_error("offsets must not fall");
    if (offsets.size() > Lookup::none) throw nb::value_error("more n-grams than a row number can name");
    return {{reinterpret_cast<const char*>(bytes.data()), bytes.size()}, span(offsets)};
}

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

}  // namespace

void bind_table(nb::module_& m) {
    m.def("build_slots", &make_table, "ngrams"_a, "offsets"_a, "seed"_a, "values"_a = nb::none(),
          "(slots uint32 (L, 16), the seed that worked): the lookup table of n-grams given as bytes and offsets. Values "
          "int16 (V, 1 to 4) stand in the slots themselves.");
}

void bind_lookup(nb::module_& m) {
    nb::class_<PyLookup>(m, "Lookup", "n-grams of texts -> row ids.")
        .def(nb::init<LookupArray, std::uint32_t, std::uint32_t, std::uint64_t, const std::string&, bool, unsigned,
                      bool, std::size_t, bool, const std::string&, unsigned, unsigned>(),
             "slots"_a, "rows"_a, "columns"_a, "seed"_a, "tokenizer"_a, "lowercase"_a, "max_n"_a, "normalize"_a = true,
             "block"_a = Vocabulary::usual_block, "deobfuscate"_a = false, "characters"_a = "none",
             "characters_min"_a = Characters().least, "characters_max"_a = Characters().most,
             "block: tokens whose n-grams come before those of the next; another only for tests.")
        .def("bags", &PyLookup::bags, "texts"_a, "threads"_a, "forget"_a = 0.0, "seed"_a = 0, "mistype"_a = false,
             "(ids uint32, offsets uint64 (n + 1,)): the rows of each text's known n-grams. Each token is taken for unknown with "
             "the chance `forget`, with `mistype` with one edit in it: a function of (seed, number of the text, number of the token).")
        .def("known", &PyLookup::known, "texts"_a, "longest"_a, "threads"_a, "nulls_are_empty"_a = false,
             "uint32 (n, 1 + longest): the tokens of each text, and its n-grams of one token, of two ... that have a row.")
        .def("ngrams", &PyLookup::ngrams, "text"_a,
             "[(n-gram, row)] of one text; a character n-gram is written behind a space.")
        .def("spans", &PyLookup::spans, "text"_a,
             "int64 (n, 2): the bytes of the UTF-8 of one text that each of its ngrams() comes from.");
}

}  // namespace sparsedistill::python
