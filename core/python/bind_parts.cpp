#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../part_pool.h"
#include "../segment.h"
#include "bind.h"
#include "common.h"
#include "parts.h"
#include "python_texts.h"

namespace sparsedistill::python {

Parting parting(const std::string& kind, std::size_t size, std::size_t step) {
    if (kind == "sentence") return {PartKind::sentence};
    if (kind == "paragraph") return {PartKind::paragraph};
    if (kind != "window") throw nb::value_error(("no parts '" + kind + "': sentence, paragraph or window").c_str());
    if (step < 1 || step > size) throw nb::value_error("a window has a word or more, and the next one begins in it or behind it");
    return {PartKind::window, size, step};
}

Excerpt excerpt(const std::string& of, std::size_t bytes) {
    const auto how = excerpt_named(of);
    if (!how) throw nb::value_error(("no excerpt '" + of + "': head, head+tail or spread").c_str());
    const Excerpt result{*how, bytes};
    if (bytes < result.slices()) throw nb::value_error("an excerpt has a byte or more of each of its slices");
    return result;
}

std::pair<Made2<std::int64_t>, Made1<std::int64_t>> to_offsets(std::span<const std::string_view> texts, Parts parts, bool characters,
                                                               unsigned threads) {
    if (characters) {
        const Long work;
        count_in_code_points(texts, parts, threads, work.stop);
    }
    std::vector<std::int64_t> counts(texts.size()), offsets;
    for (std::size_t t = 0; t < counts.size(); ++t) counts[t] = static_cast<std::int64_t>(parts.from[t + 1] - parts.from[t]);
    offsets.reserve(2 * parts.all.size());
    for (const auto [begin, end] : parts.all) {
        offsets.push_back(static_cast<std::int64_t>(begin));
        offsets.push_back(static_cast<std::int64_t>(end));
    }
    return {to_numpy(std::move(offsets), std::size_t{2}), to_numpy(std::move(counts))};
}

namespace {

auto py_segment(nb::handle source, const std::string& kind, std::size_t size, std::size_t step, bool characters, unsigned threads) {
    const PythonTexts texts(source);
    const Parting how = parting(kind, size, step);
    Parts parts;
    {
        const Long work;
        parts = segment(texts.views(), how, threads, work.stop);
    }
    return to_offsets(texts.views(), std::move(parts), characters, threads);
}

Made2<double> py_pool_parts(const Read2<double>& values, const Read1<std::int64_t>& counts, const std::string& pooling, double number) {
    const auto how = part_pooling_named(pooling);
    if (!how) throw nb::value_error(("no pooling '" + pooling + "' of parts: mean, max, top or share").c_str());
    if (how == PartPooling::top && !(number >= 1)) throw nb::value_error("top is of one part or more");
    std::uint64_t parts = 0;
    for (std::size_t t = 0; t < counts.size(); ++t) {
        if (counts.data()[t] < 0) throw nb::value_error("a text has no fewer than no parts");
        parts += static_cast<std::uint64_t>(counts.data()[t]);
    }
    if (parts != values.shape(0)) throw nb::value_error("the counts are of another number of parts");
    std::vector<double> result(counts.size() * values.shape(1));
    {
        const Long work;
        pool_parts({values.data(), values.size()}, values.shape(1), span(counts), *how, number, result.data(), work.stop);
    }
    return to_numpy(std::move(result), values.shape(1));
}

}  // namespace

void bind_parts(nb::module_& m) {
    m.def("segment", &py_segment, "texts"_a, "kind"_a, "size"_a = 0, "step"_a = 0, "characters"_a = false, "threads"_a = 1,
          "(offsets int64 (P, 2), number of parts of each text int64 (n,)): sentences, paragraphs or windows (core/segment.h), in "
          "bytes of the UTF-8 or, with `characters`, as indices of the str.");
    m.def(
        "excerpts", [](nb::handle source, const std::string& of, std::size_t bytes) {
            const PythonTexts texts(source);
            const Excerpt how = excerpt(of, bytes);
            std::vector<std::vector<nb::bytes>> result(texts.size());
            std::vector<std::string_view> slices(how.slices());
            for (std::size_t t = 0; t < texts.size(); ++t) {
                take_slices(texts.views()[t], how, slices.data());
                for (const auto slice : slices) result[t].emplace_back(slice.data(), slice.size());
            }
            return result;
        },
        "texts"_a, "of"_a, "bytes"_a, "The slices of each text that an excerpt has (core/excerpt.h).");
    m.def("pool_parts", &py_pool_parts, "values"_a, "counts"_a, "pooling"_a, "number"_a = 0.0,
          "float64 (n, C) of float64 (P, C), a row a part, and the number of parts of each text int64 (n,): their mean, max, mean "
          "of the `number` largest (top) or share of those of `number` or more; zeros for a text without parts.");
    m.def(
        "sentence_ends", [](nb::handle source) {
            const PythonTexts texts(source);
            std::vector<std::vector<std::size_t>> result(texts.size());
            for (std::size_t t = 0; t < texts.size(); ++t) sentence_ends(texts.views()[t], result[t]);
            return result;
        },
        "texts"_a, "Where the sentences of each text end, in bytes, by Unicode Standard Annex 29 alone, for tests.");
}

}  // namespace sparsedistill::python
