// UTF-8 bytes -> tokens. The rules are those of docs/FORMAT.md, "Text"; their plain Python twin is in tests/twins.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels.h"

namespace sparsedistill {

enum class Tokenizer { sklearn, words, whitespace };

struct TextRules {
    Tokenizer tokenizer;
    bool lowercase;
    bool normalize;  // to NFC; `sklearn` never does
};

// The tokens of one or more texts, in one buffer that is reused from text to text.
class Tokens {
public:
    // Readers of a token may load this many bytes past its start.
    static constexpr std::size_t slack = 16;

    void clear() { used_ = count_ = 0; }
    std::size_t size() const { return count_; }
    std::string_view operator[](std::size_t i) const { return {buffer_.data() + spans_[i].begin, spans_[i].size}; }

private:
    friend class TokenWriter;
    struct Span {
        std::size_t begin, size;
    };
    std::vector<char> buffer_;
    std::vector<Span> spans_;
    std::size_t used_ = 0, count_ = 0;  // of buffer_ and spans_
    std::vector<Masks> masks_;
};

// Appends the tokens of `text` to `tokens`. Any bytes are accepted: what is not UTF-8 reads as U+FFFD, one for each
// maximal invalid piece, as Python's decode(errors="replace") does.
void tokenize(std::string_view text, TextRules rules, Tokens& tokens);

// What tells the text from others, as UTF-8, into `out`: equal for texts that differ in case, white space, invisible characters
// and punctuation that carries nothing. Letters, marks, digits, symbols and emoji count, in NFC and case-folded, and so do
//   - # % & * / @ \ _ and their like; any one mark of punctuation between two digits (1.5, 10:30); the sign before a number; the
//     full stop that a word begins with (.NET); the bracket that is a mouth (":)", ":-("; its eyes do not);
//   - U+001F, which parts the halves of a pair;
//   - all but white space, where nothing else is in the text or the half.
void comparable(std::string_view text, std::string& out);

}  // namespace sparsedistill
