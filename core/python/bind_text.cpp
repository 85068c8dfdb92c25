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

nb::list tokenize_all(nb::handle source, const std::string& tokenizer, bool lowercase, bool normalize, std::size_t window,
                      bool deobfuscate) {
    if (!window) throw nb::value_error("a window has a byte or more");
    const PythonTexts texts(source);
    const TextRules asked = rules(tokenizer, lowercase, normalize, deobfuscate);
    nb::list result;
    Tokens tokens;
    for (const auto text : texts.views()) {
        check_signals();
        nb::list found;
        tokens.clear();
        TextRules how = asked;
        const auto undisguised = tokens.undisguised(text, how);
        for (Tokenization reading(undisguised, how, window); !reading.done(); check_signals()) {
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
          "window"_a = Tokenization::usual_window, "deobfuscate"_a = false,
          "Tokens of each text, as lists of str; `window`, which changes nothing: bytes read at a time.");
    m.def(
        "deobfuscate", [](nb::handle source) {
            const PythonTexts texts(source);
            Deobfuscator deobfuscator;
            nb::list result;
            for (const auto text : texts.views()) {
                const auto found = deobfuscator(text, Stop(check_signals));
                result.append(nb::steal(PyUnicode_DecodeUTF8(found.data(), static_cast<Py_ssize_t>(found.size()), "replace")));
            }
            return result;
        },
        "texts"_a, "Each text, a str, as the rule of text of this name makes it, before it is cut into tokens.");
    m.def("fingerprints", &fingerprints, "texts"_a, "threads"_a,
          "uint64 (n,): equal for texts that differ in case, white space and punctuation that carries nothing (core/comparable.h).");
    m.def(
        "ngram_hash", [](const nb::bytes& ngram, std::uint64_t seed) { return ngram_hash({ngram.c_str(), ngram.size()}, HashKey(seed)); },
        "ngram"_a, "seed"_a, "The frozen hash of an n-gram, tokens joined by one space.");
}

}  // namespace sparsedistill::python
