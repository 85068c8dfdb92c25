// How text is cut into tokens.
#pragma once

#include <optional>
#include <string_view>

namespace sparsedistill {

enum class Tokenizer { sklearn, words, whitespace };

// Nothing for a name that is none.
inline std::optional<Tokenizer> tokenizer_named(std::string_view name) {
    if (name == "sklearn") return Tokenizer::sklearn;
    if (name == "words") return Tokenizer::words;
    if (name == "whitespace") return Tokenizer::whitespace;
    return {};
}

struct TextRules {
    Tokenizer tokenizer;
    bool lowercase;
    bool normalize;  // to NFC; `sklearn` never does
    bool deobfuscate = false;  // deobfuscate.h, before all else; only with `normalize`
};

}  // namespace sparsedistill
