#include "text.h"

#include <array>
#include <cstring>

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
    Reader(std::string_view text, bool lowercase)
        : begin_(reinterpret_cast<const unsigned char*>(text.data())), p_(begin_), end_(begin_ + text.size()),
          lowercase_(lowercase) {}

    bool done() const { return p_ == end_; }
    unsigned peek_byte() const { return *p_; }
    void skip_byte() { ++p_; }

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
    const unsigned char *begin_, *p_, *end_;
    const unsigned char* start_ = nullptr;
    bool lowercase_;
};

// Longest UTF-8 growth of a code point: U+FFFD for one invalid byte, or a lower case longer than the capital.
constexpr std::size_t growth = 3;

struct AsciiTables {
    // What a byte is written as inside a word, 0 where it cannot stand in one.
    std::array<unsigned char, 256> kept{}, lowered{};
    constexpr AsciiTables() {
        for (unsigned c = 0; c < 128; ++c) {
            const bool upper = c >= 'A' && c <= 'Z';
            if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') {
                kept[c] = static_cast<unsigned char>(c);
                lowered[c] = static_cast<unsigned char>(upper ? c + 32 : c);
            }
        }
    }
};
constexpr AsciiTables ascii;

}  // namespace

// Room for a whole text is made once, so that the loops below write without asking.
class TokenWriter {
public:
    TokenWriter(Tokens& tokens, std::size_t text_size) : tokens_(tokens) {
        const std::size_t need = tokens.used_ + growth * text_size + Tokens::slack;
        if (tokens.buffer_.size() < need) tokens.buffer_.resize(need + need / 2);
        base_ = tokens.buffer_.data();
        token_ = out = base_ + tokens.used_;
    }
    ~TokenWriter() { tokens_.used_ = static_cast<std::size_t>(token_ - base_); }

    char* out;

    bool open() const { return out != token_; }
    void push() {
        tokens_.spans_.push_back({static_cast<std::size_t>(token_ - base_), static_cast<std::size_t>(out - token_)});
        token_ = out;
    }
    void push_if_open() {
        if (open()) push();
    }
    void drop() { out = token_; }

private:
    Tokens& tokens_;
    char *base_, *token_;
};

namespace {

// Runs of two or more \w code points: scikit-learn's default token_pattern, (?u)\b\w\w+\b.
void tokenize_sklearn(std::string_view text, bool lowercase, Tokens& tokens) {
    TokenWriter writer(tokens, text.size());
    Reader reader(text, lowercase);
    const auto& table = lowercase ? ascii.lowered : ascii.kept;
    std::size_t length = 0;  // code points of the open run
    const auto finish = [&] {
        if (length >= 2) writer.push();
        else writer.drop();
        length = 0;
    };
    while (!reader.done()) {
        const unsigned byte = reader.peek_byte();
        if (byte < 0x80) {
            reader.skip_byte();
            if (const unsigned char kept = table[byte]) {
                *writer.out++ = static_cast<char>(kept);
                ++length;
            } else if (length) {
                finish();
            }
            continue;
        }
        const std::uint32_t code = reader.next();
        if (!properties(code).in_word()) {
            if (length) finish();
            continue;
        }
        if (code == dotted_capital_i && lowercase) {  // its lower case is "i" and a mark, which ends the run
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

void tokenize_whitespace(std::string_view text, bool lowercase, Tokens& tokens) {
    TokenWriter writer(tokens, text.size());
    Reader reader(text, lowercase);
    while (!reader.done()) {
        const std::uint32_t code = reader.next();
        if (properties(code).space()) writer.push_if_open();
        else writer.out = reader.write(code, writer.out);
    }
    writer.push_if_open();
}

bool modifies_emoji(std::uint32_t code) {
    return code == 0xFE0F || code == 0xFE0E || code == 0x20E3 || (code >= 0x1F3FB && code <= 0x1F3FF);
}

// Words, runs of punctuation, emoji with their modifiers, and CJK characters one by one.
void tokenize_words(std::string_view text, bool lowercase, Tokens& tokens) {
    TokenWriter writer(tokens, text.size());
    Reader reader(text, lowercase);
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

}  // namespace

void tokenize(std::string_view text, TextRules rules, Tokens& tokens) {
    switch (rules.tokenizer) {
        case Tokenizer::sklearn: return tokenize_sklearn(text, rules.lowercase, tokens);
        case Tokenizer::words: return tokenize_words(text, rules.lowercase, tokens);
        case Tokenizer::whitespace: return tokenize_whitespace(text, rules.lowercase, tokens);
    }
}

void letters_and_digits(std::string_view text, std::string& out) {
    out.resize(growth * text.size());
    char* end = out.data();
    Reader reader(text, true);
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
