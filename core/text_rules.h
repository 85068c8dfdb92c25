// How text is cut into tokens.
#pragma once

namespace sparsedistill {

enum class Tokenizer { sklearn, words, whitespace };

struct TextRules {
    Tokenizer tokenizer;
    bool lowercase;
    bool normalize;  // to NFC; `sklearn` never does
};

}  // namespace sparsedistill
