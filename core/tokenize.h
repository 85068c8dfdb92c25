// UTF-8 bytes -> tokens. The rules are those of docs/FORMAT.md, "Text"; their plain reference in Python is in tests/reference.py.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "deobfuscate.h"
#include "kernels.h"
#include "large.h"
#include "parallel.h"
#include "text_rules.h"

namespace sparsedistill {

// The tokens of one or more texts, in one buffer that is reused from text to text.
class Tokens {
public:
    // Readers of a token may load this many bytes past its start.
    static constexpr std::size_t slack = 16;

    void clear() { used_ = count_ = open_ = 0; }
    // Forgets the first `count`.
    void drop(std::size_t count);
    // Keeps no more memory than is worth it.
    void release() {
        if (buffer_.capacity() + spans_.capacity() * sizeof(Span) + deobfuscator_.capacity() <= most_kept) return;
        *this = Tokens();
        give_back();
    }
    std::size_t size() const { return count_; }
    // The text that is cut, by rules that are true of it then; until the next call.
    std::string_view undisguised(std::string_view text, TextRules& rules, const Stop& stop = Stop()) {
        return std::exchange(rules.deobfuscate, false) ? deobfuscator_(text, stop) : text;
    }
    std::string_view operator[](std::size_t i) const { return {buffer_.data() + spans_[i].begin, spans_[i].size}; }
    std::size_t open() const { return open_; }  // bytes, so far, of a token that is not whole yet

private:
    friend class TokenWriter;
    struct Span {
        std::size_t begin, size;
    };
    std::vector<char> buffer_;
    std::vector<Span> spans_;
    std::size_t used_ = 0, count_ = 0;  // of buffer_ and spans_
    std::size_t open_ = 0;              // bytes, behind those used, of a token that is not whole yet
    std::vector<Masks> masks_;
    Deobfuscator deobfuscator_;
};

// Appends the tokens of `text` to `tokens`. Any bytes are accepted: what is not UTF-8 reads as U+FFFD, one for each
// maximal invalid piece, as Python's decode(errors="replace") does.
void tokenize(std::string_view text, TextRules rules, Tokens& tokens);

// The same some at a time, so that memory need not grow with the text, but for a token that does, and with `deobfuscate`.
class Tokenization {
public:
    static constexpr std::size_t usual_window = 1 << 14;

    // Of a text that is as its rules want it: Tokens::undisguised() has been asked.
    explicit Tokenization(std::string_view text, TextRules rules, std::size_t window = usual_window);
    ~Tokenization();
    Tokenization(const Tokenization&) = delete;
    Tokenization& operator=(const Tokenization&) = delete;

    bool done() const;
    std::size_t position() const;  // where the bytes begin that are yet to be read
    // Appends the tokens of the next bytes, `window` or a few more of them; there may be none. `tokens` is the same each time:
    // a token that is not whole yet waits there.
    void next(Tokens& tokens);

private:
    class Cutting;
    template <class Cut>
    class CuttingBy;
    std::unique_ptr<Cutting> cutting_;
};

// Calls use(starts, count) for each block of a text, whose tokens are the first `count` of `tokens`: the n-grams of the block
// begin with the first `starts`, `block` but in the last one, and the others are those that these may end with.
template <class Use>
void for_blocks(std::string_view text, TextRules rules, unsigned max_n, std::size_t block, Tokens& tokens, const Stop& stop,
                Use use) {
    tokens.clear();
    text = tokens.undisguised(text, rules, stop);
    if (text.size() <= block) {  // a token has a byte or more
        tokenize(text, rules, tokens);
        return use(tokens.size(), tokens.size());
    }
    const struct Release {  // also after an exception
        Tokens& tokens;
        ~Release() { tokens.release(); }
    } release{tokens};
    Tokenization reading(text, rules);
    for (;;) {
        for (; !reading.done() && tokens.size() < block + max_n - 1; stop.poll()) reading.next(tokens);
        const std::size_t count = std::min(tokens.size(), block + max_n - 1), starts = std::min(count, block);
        use(starts, count);
        if (reading.done() && tokens.size() <= block) return;
        tokens.drop(starts);
    }
}

}  // namespace sparsedistill
