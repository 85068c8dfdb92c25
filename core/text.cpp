#include "text.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "large.h"
#include "unicode_table.h"

namespace sparsedistill {

namespace {

constexpr std::uint32_t replacement = 0xFFFD;
constexpr std::uint32_t capital_sigma = 0x3A3, final_sigma = 0x3C2;
constexpr std::uint32_t dotted_capital_i = 0x130, combining_dot = 0x307;
constexpr std::uint32_t zero_width_joiner = 0x200D, right_quote = 0x2019;

enum Kind : std::uint8_t { separator, cjk, emoji, word, punct };

// One byte of properties a code point, as tools/make_unicode.py packs them.
struct Properties {
    std::uint8_t flags;
    Kind kind() const { return static_cast<Kind>(flags & 7); }
    bool in_word() const { return flags & 8; }  // \w
    bool alnum() const { return flags & 16; }
    bool space() const { return flags & 32; }
    bool cased() const { return flags & 64; }
    bool case_ignorable() const { return flags & 128; }
};

inline unsigned record(std::uint32_t code) {
    constexpr std::uint32_t mask = (1u << unicode::block_shift) - 1;
    return unicode::record_of[(std::size_t{unicode::block_of[code >> unicode::block_shift]} << unicode::block_shift) +
                              (code & mask)];
}

inline Properties properties(std::uint32_t code) { return {unicode::flags_of[record(code)]}; }

// Reads one code point at `p`, advances past it. Ill-formed input: U+FFFD for the longest piece that could have begun
// a character, one byte at least (the Unicode Standard, 3.9, "substitution of maximal subparts").
inline std::uint32_t decode(const unsigned char*& p, const unsigned char* end) {
    const unsigned lead = *p++;
    if (lead < 0x80) return lead;
    unsigned low = 0x80, high = 0xBF, more;
    std::uint32_t code;
    if (lead >= 0xC2 && lead <= 0xDF) {
        more = 1;
        code = lead & 0x1F;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        more = 2;
        code = lead & 0x0F;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        more = 3;
        code = lead & 0x07;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return replacement;
    }
    while (more--) {
        if (p == end || *p < low || *p > high) return replacement;
        code = code << 6 | (*p++ & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    return code;
}

// The code point that ends at `p` (which moves to its start). UTF-8 synchronises itself: whatever does not read as
// one well-formed character from the last lead byte on is U+FFFD, which is all the caller needs.
inline std::uint32_t decode_back(const unsigned char*& p, const unsigned char* begin) {
    const unsigned char* const end = p;
    const unsigned char* start = end - 1;
    while (start > begin && end - start < 4 && (*start & 0xC0) == 0x80) --start;
    const unsigned char* q = start;
    const std::uint32_t code = decode(q, end);
    if (q == end) {
        p = start;
        return code;
    }
    p = end - 1;
    return replacement;
}

// Whether the capital sigma at [at, after) ends a word: a cased letter before it and none after it, looking past
// case-ignorable characters (Unicode's Final_Sigma, as Python applies it).
bool ends_word(const unsigned char* begin, const unsigned char* at, const unsigned char* after,
               const unsigned char* end) {
    bool cased = false;
    while (at > begin) {
        const Properties before = properties(decode_back(at, begin));
        if (before.case_ignorable()) continue;
        cased = before.cased();
        break;
    }
    if (!cased) return false;
    while (after < end) {
        const Properties next = properties(decode(after, end));
        if (!next.case_ignorable()) return !next.cased();
    }
    return true;
}

inline char* encode(std::uint32_t code, char* out) {
    if (code < 0x80) {
        *out++ = static_cast<char>(code);
    } else if (code < 0x800) {
        *out++ = static_cast<char>(0xC0 | code >> 6);
        *out++ = static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = static_cast<char>(0xE0 | code >> 12);
        *out++ = static_cast<char>(0x80 | (code >> 6 & 0x3F));
        *out++ = static_cast<char>(0x80 | (code & 0x3F));
    } else {
        *out++ = static_cast<char>(0xF0 | code >> 18);
        *out++ = static_cast<char>(0x80 | (code >> 12 & 0x3F));
        *out++ = static_cast<char>(0x80 | (code >> 6 & 0x3F));
        *out++ = static_cast<char>(0x80 | (code & 0x3F));
    }
    return out;
}

// A text being read: code points with where they stand, and the lower-case form each is written in.
class Reader {
public:
    // Reads [first, last) of the text; what stands around it decides the form of a final sigma.
    Reader(std::string_view text, std::size_t first, std::size_t last, bool lowercase)
        : begin_(reinterpret_cast<const unsigned char*>(text.data())), p_(begin_ + first), last_(begin_ + last),
          end_(begin_ + text.size()), lowercase_(lowercase) {}

    bool done() const { return p_ == last_; }
    bool lowercase() const { return lowercase_; }

    std::uint32_t next() {
        start_ = p_;
        return decode(p_, end_);
    }
    void back() { p_ = start_; }
    // The code point after the last one read, without moving; a space at the end of the text.
    std::uint32_t peek() const {
        const unsigned char* q = p_;
        return q == end_ ? ' ' : decode(q, end_);
    }

    // Writes the last code point read, in lower case where asked.
    char* write(std::uint32_t code, char* out) const {
        if (!lowercase_) return encode(code, out);
        if (code == capital_sigma) return encode(ends_word(begin_, start_, p_, end_) ? final_sigma : 0x3C3, out);
        if (code == dotted_capital_i) return encode(combining_dot, encode('i', out));
        return encode(code + static_cast<std::uint32_t>(unicode::lower_delta_of[record(code)]), out);
    }

private:
    const unsigned char *begin_, *p_, *last_, *end_;
    const unsigned char* start_ = nullptr;
    bool lowercase_;
};

// Longest UTF-8 growth of a code point: U+FFFD for one invalid byte, or a lower case longer than the capital.
constexpr std::size_t growth = 3;

}  // namespace

// Appends the tokens of one text.
class TokenWriter {
public:
    TokenWriter(Tokens& tokens, std::string_view text, bool lowercase) : tokens_(tokens) {
        const std::size_t size = text.size(), blocks = (size + 63) / 64;
        copy_ = tokens.used_;
        make_room(64 * blocks);
        grow(blocks, tokens.masks_);
        char* const copy = tokens.buffer_.data() + tokens.used_;
        const auto classify = kernels().classify;
        classify(text.data(), size / 64, lowercase, copy, tokens.masks_.data());
        if (const std::size_t rest = size % 64) {  // nothing is read past the text's end
            char last[64] = {};
            std::memcpy(last, text.data() + size - rest, rest);
            classify(last, 1, lowercase, copy + size - rest, tokens.masks_.data() + blocks - 1);
        }
        tokens.used_ += 64 * blocks;
    }

    std::span<const Masks> masks() const { return tokens_.masks_; }

    // Tokens written code point by code point, between begin() and end().
    char* out = nullptr;

    void begin(std::size_t bytes) {
        make_room(growth * bytes);
        token_ = out = tokens_.buffer_.data() + tokens_.used_;
    }
    void end() { tokens_.used_ = static_cast<std::size_t>(token_ - tokens_.buffer_.data()); }
    bool open() const { return out != token_; }
    void push() {
        make_spans(tokens_.count_ + 1);
        tokens_.spans_[tokens_.count_++] = {static_cast<std::size_t>(token_ - tokens_.buffer_.data()),
                                            static_cast<std::size_t>(out - token_)};
        token_ = out;
    }
    void push_if_open() {
        if (open()) push();
    }
    void drop() { out = token_; }

    // Tokens that are runs of ones in either mask of runs(block number, valid bits), over the ASCII bytes [first, last).
    // Those shorter than `least` are left out.
    template <class Runs>
    void push_runs(std::size_t first, std::size_t last, std::size_t least, Runs runs) {
        if (first == last) return;
        const std::size_t before = tokens_.count_;
        std::size_t begun = before, ended = before;
        std::uint64_t open1 = 0, open2 = 0;  // whether a run reaches into the block
        for (std::size_t block = first / 64; block <= (last - 1) / 64; ++block) {
            const std::size_t at = block * 64;
            std::uint64_t valid = ~std::uint64_t{0};
            if (at < first) valid &= ~std::uint64_t{0} << (first - at);
            if (at + 64 > last) valid &= ~std::uint64_t{0} >> (at + 64 - last);
            const auto [run1, run2] = runs(block, valid);
            make_spans(begun + 64);
            auto& spans = tokens_.spans_;
            const std::uint64_t shifted1 = run1 << 1 | open1, shifted2 = run2 << 1 | open2;
            for (std::uint64_t b = (run1 & ~shifted1) | (run2 & ~shifted2); b; b &= b - 1)
                spans[begun++].begin = copy_ + at + static_cast<unsigned>(std::countr_zero(b));
            for (std::uint64_t e = (~run1 & shifted1) | (~run2 & shifted2); e; e &= e - 1, ++ended)
                spans[ended].size = copy_ + at + static_cast<unsigned>(std::countr_zero(e)) - spans[ended].begin;
            open1 = run1 >> 63;
            open2 = run2 >> 63;
        }
        auto& spans = tokens_.spans_;
        if (begun != ended) spans[ended].size = copy_ + last - spans[ended].begin;
        tokens_.count_ = begun;
        if (least == 1) return;
        tokens_.count_ = before;
        for (std::size_t i = before; i < begun; ++i) {
            spans[tokens_.count_] = spans[i];
            tokens_.count_ += spans[i].size >= least;
        }
    }

private:
    void make_room(std::size_t bytes) {
        grow(tokens_.used_ + bytes + Tokens::slack, tokens_.buffer_);
    }
    void make_spans(std::size_t count) {
        grow(count, tokens_.spans_);
    }

    Tokens& tokens_;
    std::size_t copy_;  // where the (lower-cased) copy of the text begins
    char* token_ = nullptr;
};

namespace {

// Each of these cuts one way of cutting text twice over: ascii() by the masks of 64 bytes, other() a code point at a time.

// Runs of two or more \w code points: scikit-learn's default token_pattern, (?u)\b\w\w+\b.
struct Sklearn {
    static void ascii(TokenWriter& writer, std::size_t first, std::size_t last) {
        const auto masks = writer.masks();
        writer.push_runs(first, last, 2, [&](std::size_t block, std::uint64_t valid) {
            return std::pair{masks[block].word & valid, std::uint64_t{0}};
        });
    }
    static void other(TokenWriter& writer, Reader reader) {
        std::size_t length = 0;  // code points of the open run
        const auto finish = [&] {
            if (length >= 2) writer.push();
            else writer.drop();
            length = 0;
        };
        while (!reader.done()) {
            const std::uint32_t code = reader.next();
            if (!properties(code).in_word()) {
                if (length) finish();
                continue;
            }
            if (code == dotted_capital_i && reader.lowercase()) {  // its lower case is "i" and a mark, which ends the run
                *writer.out++ = 'i';
                ++length;
                finish();
                continue;
            }
            writer.out = reader.write(code, writer.out);
            ++length;
        }
        if (length) finish();
    }
};

struct Whitespace {
    static void ascii(TokenWriter& writer, std::size_t first, std::size_t last) {
        const auto masks = writer.masks();
        writer.push_runs(first, last, 1, [&](std::size_t block, std::uint64_t valid) {
            return std::pair{~masks[block].space & valid, std::uint64_t{0}};
        });
    }
    static void other(TokenWriter& writer, Reader reader) {
        while (!reader.done()) {
            const std::uint32_t code = reader.next();
            if (properties(code).space()) writer.push_if_open();
            else writer.out = reader.write(code, writer.out);
        }
        writer.push_if_open();
    }
};

bool modifies_emoji(std::uint32_t code) {
    return code == 0xFE0F || code == 0xFE0E || code == 0x20E3 || (code >= 0x1F3FB && code <= 0x1F3FF);
}

// Words, runs of punctuation, emoji with their modifiers, and CJK characters one by one.
struct Words {
    static void ascii(TokenWriter& writer, std::size_t first, std::size_t last) {
        const auto masks = writer.masks();
        std::uint64_t before = 0;  // whether the last byte was of a word
        writer.push_runs(first, last, 1, [&](std::size_t block, std::uint64_t valid) {
            const Masks& m = masks[block];
            const std::uint64_t next = (block + 1) * 64 < last ? masks[block + 1].word << 63 : 0;
            // An apostrophe inside a word belongs to it.
            const std::uint64_t inner = m.quote & (m.word << 1 | before) & (m.word >> 1 | next);
            const std::uint64_t word = (m.word | inner) & valid;
            before = m.word >> 63;
            return std::pair{word, ~(word | m.gap) & valid};
        });
    }
    static void other(TokenWriter& writer, Reader reader) {
        Kind open = separator;  // kind of the token being written
        while (!reader.done()) {
            const std::uint32_t code = reader.next();
            const Kind kind = properties(code).kind();
            switch (kind) {
                case separator:
                    writer.push_if_open();
                    break;
                case cjk:
                    writer.push_if_open();
                    writer.out = reader.write(code, writer.out);
                    writer.push();
                    break;
                case emoji: {
                    writer.push_if_open();
                    writer.out = reader.write(code, writer.out);
                    while (!reader.done()) {
                        const std::uint32_t next = reader.next();
                        if (modifies_emoji(next)) {
                            writer.out = encode(next, writer.out);
                        } else if (next == zero_width_joiner && properties(reader.peek()).kind() == emoji) {
                            writer.out = encode(next, writer.out);
                            writer.out = encode(reader.next(), writer.out);
                        } else {
                            reader.back();
                            break;
                        }
                    }
                    writer.push();
                    break;
                }
                case word:
                    if (open != word) writer.push_if_open();
                    writer.out = reader.write(code, writer.out);
                    break;
                case punct:
                    if (open == word && (code == '\'' || code == right_quote) &&
                        properties(reader.peek()).kind() == word) {
                        *writer.out++ = '\'';  // an apostrophe inside a word belongs to it
                        continue;
                    }
                    if (open != punct) writer.push_if_open();
                    writer.out = reader.write(code, writer.out);
                    break;
            }
            open = writer.open() ? kind : separator;
        }
        writer.push_if_open();
    }
};

// ASCII white space separates tokens in every way of cutting: what stands between two of it is read fast where it is
// all ASCII.
template <class Cut>
void tokenize_by(std::string_view text, bool lowercase, Tokens& tokens) {
    TokenWriter writer(tokens, text, lowercase);
    const auto masks = writer.masks();
    const std::size_t size = text.size();
    // The first byte at or after `at` with a bit in the mask, or `size`.
    const auto next = [&](std::uint64_t Masks::* mask, std::size_t at) {
        for (std::size_t block = at / 64; block * 64 < size; ++block) {
            const std::uint64_t kept = ~std::uint64_t{0} << (block == at / 64 ? at % 64 : 0);
            if (const std::uint64_t found = masks[block].*mask & kept)
                return std::min(size, block * 64 + static_cast<unsigned>(std::countr_zero(found)));
        }
        return size;
    };
    for (std::size_t at = 0; at < size;) {
        std::size_t first = next(&Masks::high, at);
        if (first == size) return Cut::ascii(writer, at, size);
        const std::size_t last = next(&Masks::space, first);
        while (first > at && !(masks[(first - 1) / 64].space >> (first - 1) % 64 & 1)) --first;
        Cut::ascii(writer, at, first);
        writer.begin(last - first);
        Cut::other(writer, Reader(text, first, last, lowercase));
        writer.end();
        at = last;
    }
}

}  // namespace

void tokenize(std::string_view text, TextRules rules, Tokens& tokens) {
    switch (rules.tokenizer) {
        case Tokenizer::sklearn: return tokenize_by<Sklearn>(text, rules.lowercase, tokens);
        case Tokenizer::words: return tokenize_by<Words>(text, rules.lowercase, tokens);
        case Tokenizer::whitespace: return tokenize_by<Whitespace>(text, rules.lowercase, tokens);
    }
}

void letters_and_digits(std::string_view text, std::string& out) {
    out.resize(growth * text.size());
    char* end = out.data();
    Reader reader(text, 0, text.size(), true);
    while (!reader.done()) {
        const std::uint32_t code = reader.next();
        if (!properties(code).alnum()) continue;
        if (code == dotted_capital_i) *end++ = 'i';  // without its combining dot, which is no letter
        else end = reader.write(code, end);
    }
    out.resize(static_cast<std::size_t>(end - out.data()));
    if (out.empty()) out.assign(text);
}

}  // namespace sparsedistill
