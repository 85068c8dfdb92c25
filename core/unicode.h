// Code points: what they are, and their UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unicode_table.h"

namespace sparsedistill {

constexpr std::uint32_t replacement = 0xFFFD;
constexpr std::uint32_t capital_sigma = 0x3A3, final_sigma = 0x3C2;
constexpr std::uint32_t dotted_capital_i = 0x130, combining_dot = 0x307;
constexpr std::uint32_t zero_width_joiner = 0x200D, right_quote = 0x2019;

// What a code point is to `words`.
enum Kind : std::uint8_t { separator, character, emoji, word, punct, mark, joiner, ignored };

constexpr unsigned record_of(std::uint32_t code) {
    constexpr std::uint32_t mask = (1u << unicode::block_shift) - 1;
    return unicode::record_of[(std::size_t{unicode::block_of[code >> unicode::block_shift]} << unicode::block_shift) +
                              (code & mask)];
}

// The property Sentence_Break of Unicode Standard Annex 29.
enum class SentenceBreak : std::uint8_t {
    other, cr, lf, sep, extend, format, sp, lower, upper, oletter, numeric, aterm, scontinue, sterm, close
};

// A code point and its properties, as tools/make_unicode.py packs them.
struct Point {
    std::uint32_t code;
    std::uint16_t record, flags;

    Point() = default;
    constexpr explicit Point(std::uint32_t point)
        : code(point), record(static_cast<std::uint16_t>(record_of(point))), flags(unicode::flags_of[record]) {}

    static constexpr unsigned attention = 128;  // its combining class is not 0, or:
    static constexpr unsigned changes = 2048;   // it is otherwise in NFC, or may compose with what stands before it

    constexpr Kind kind() const { return static_cast<Kind>(flags & 7); }
    constexpr bool in_word() const { return flags & 8; }  // \w
    constexpr bool space() const { return flags & 16; }
    constexpr bool cased() const { return flags & 32; }
    constexpr bool case_ignorable() const { return flags & 64; }
    constexpr bool counts() const { return flags & 256; }  // in comparable()
    constexpr bool digit() const { return flags & 512; }
    static constexpr unsigned folds = 1024;  // its case folding is not one code point, its lower case
    static constexpr SentenceBreak sentence_break_in(unsigned flags) { return static_cast<SentenceBreak>(flags >> 12); }
    constexpr SentenceBreak sentence_break() const { return sentence_break_in(flags); }
    constexpr std::uint32_t lower() const { return code + static_cast<std::uint32_t>(unicode::lower_delta_of[record]); }
    constexpr std::uint32_t combining_class() const { return unicode::combining_class_of[record]; }
};

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

// Longest UTF-8 growth of a code point: U+FFFD for one invalid byte, or a lower case longer than the capital.
constexpr std::size_t growth = 3;

// Whether the capital sigma at [at, after) ends a word: a cased letter before it and none after it, looking past
// case-ignorable characters (Unicode's Final_Sigma, as Python applies it).
bool ends_word(const unsigned char* begin, const unsigned char* at, const unsigned char* after,
               const unsigned char* end);

// Canonical composition of `size` code points, each with its combining class above its 24 bits; returns how many are left.
std::size_t compose(std::uint32_t* points, std::size_t size);

}  // namespace sparsedistill
