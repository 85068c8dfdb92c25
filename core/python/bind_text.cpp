#include <nanobind/stl/string.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../comparable.h"
#include "../hash.h"
#include "../large.h"
#include "../lookup.h"
#include "../tokenize.h"
#include "bind.h"
#include "common.h"
#include "python_texts.h"

namespace sparsedistill::python {

namespace {

nb::list tokenize_all(nb::handle source, const std::string& tokenizer, bool lowercase, bool normalize, std::size_t window) {
    if (!window) throw nb::value_error("a window has a byte or more");
    const PythonTexts texts(source);
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
    const PythonTexts texts(source);
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

}  // namespace

void bind_text(nb::module_& m) {
    m.def("tokenize", &tokenize_all, "texts"_a, "tokenizer"_a, "lowercase"_a, "normalize"_a = true,
          "window"_a = Tokenization::usual_window,
          "Tokens of each text, as lists of str; `window`, which changes nothing: bytes read at a time.");
    m.def("fingerprints", &fingerprints, "texts"_a, "threads"_a,
          "uint64 (n,): equal for texts that differ in case, white space and punctuation that carries nothing (core/comparable.h).");
    m.def(
        "ngram_hash", [](const nb::bytes& ngram, std::uint64_t seed) { return ngram_hash({ngram.c_str(), ngram.size()}, HashKey(seed)); },
        "ngram"_a, "seed"_a, "The frozen hash of an n-gram, tokens joined by one space.");
}

}  // namespace sparsedistill::python
