#include "segment.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "unicode.h"

namespace sparsedistill {

namespace {

using enum SentenceBreak;
using Byte = unsigned char;

constexpr bool ends_line(SentenceBreak c) { return c == cr || c == lf || c == sep; }
constexpr bool ends_line(std::uint32_t code) { return (code >= '\n' && code <= '\r') || code == 0x85 || code == 0x2028 || code == 0x2029; }
constexpr bool terminates(SentenceBreak c) { return c == aterm || c == sterm; }
constexpr bool letter(SentenceBreak c) { return c == lower || c == upper || c == oletter; }
constexpr bool invisible(SentenceBreak c) { return c == extend || c == format; }

// Most of what is asked for is ASCII.
template <class T, class Of>
constexpr auto of_ascii(Of of) {
    std::array<T, 128> result{};
    for (std::uint32_t code = 0; code < 128; ++code) result[code] = of(code);
    return result;
}
constexpr bool ends_line_as_well(std::uint32_t code) { return code == '\v' || code == '\f'; }
template <bool tailored>
constexpr auto ascii_classes = of_ascii<SentenceBreak>([](std::uint32_t code) {
    return tailored && ends_line_as_well(code) ? sep : Point(code).sentence_break();
});
template <bool tailored>
SentenceBreak class_of(std::uint32_t code) {
    return code < 128 ? ascii_classes<tailored>[code] : Point(code).sentence_break();
}
constexpr auto ascii_spaces = of_ascii<bool>([](std::uint32_t code) { return Point(code).space(); });
bool is_space(std::uint32_t code) { return code < 128 ? ascii_spaces[code] : Point(code).space(); }

// First bytes of the code points that a rule is about. All of a text that is not ASCII need not be decoded for it.
using First = std::array<bool, 256>;

template <class Wanted>
constexpr First first_bytes(Wanted wanted) {
    constexpr std::size_t half = 64, blocks = std::size(unicode::record_of) >> unicode::block_shift;
    static_assert(1 << unicode::block_shift == 2 * half);
    // Code points of 64 that differ in the last six bits alone have the same first byte.
    First result{};
    std::array<bool, 2 * blocks> has{};
    for (std::size_t i = 0; i < 2 * blocks; ++i)
        for (std::size_t j = 0; j < half; ++j) has[i] |= wanted(unicode::flags_of[unicode::record_of[i * half + j]]);
    for (std::uint32_t code = 0x80; code < 0x110000; code += half) {
        const std::size_t i = 2 * std::size_t{unicode::block_of[code >> unicode::block_shift]} + code / half % 2;
        if (has[i]) result[code < 0x800 ? 0xC0 | code >> 6 : code < 0x10000 ? 0xE0 | code >> 12 : 0xF0 | code >> 18] = true;
    }
    for (std::uint32_t code = 0; code < 0x80; ++code) result[code] = wanted(Point(code).flags);
    return result;
}

constexpr auto class_in = Point::sentence_break_in;
constexpr First may_end_sentence = [] {
    First result = first_bytes([](unsigned flags) { return ends_line(class_in(flags)) || terminates(class_in(flags)); });
    result['\v'] = result['\f'] = true;
    return result;
}();
constexpr First may_end_line = [] {
    First result = first_bytes([](unsigned flags) { return ends_line(class_in(flags)); });
    result['\v'] = result['\f'] = true;
    return result;
}();

constexpr std::uint64_t ones = ~std::uint64_t{0} / 255;  // 1 in each byte

// The first byte that is wanted. In ASCII eight are asked at a time whether one of them may be; `stops`: whether full stops and
// the like may.
template <bool stops>
const Byte* skip_until(const Byte* p, const Byte* end, const First& wanted) {
    constexpr std::uint64_t highs = ones << 7;
    // The high bit of each byte of that value, and perhaps of those behind the first such.
    const auto equal = [](std::uint64_t word, char c) {
        const std::uint64_t differs = word ^ ones * static_cast<Byte>(c);
        return (differs - ones) & ~differs;
    };
    while (end - p >= 8) {
        std::uint64_t word;
        std::memcpy(&word, p, sizeof word);
        std::uint64_t may = word | ((word - ones * ' ') & ~word);
        if constexpr (stops) may |= equal(word, '.') | equal(word, '!') | equal(word, '?');
        may &= highs;
        if (!may) {
            p += 8;
            continue;
        }
        p += std::countr_zero(may) / 8;
        do
            if (wanted[*p]) return p;
        while (++p != end && *p >= 0x80);
    }
    while (p != end && !wanted[*p]) ++p;
    return p;
}
constexpr bool all_may_be(const First& wanted, bool stops) {
    for (std::size_t c = ' '; c < 0x80; ++c)
        if (wanted[c] && !(stops && (c == '.' || c == '!' || c == '?'))) return false;
    return true;
}
static_assert(all_may_be(may_end_sentence, true) && all_may_be(may_end_line, false));

// Past the white space at `p`.
const Byte* skip_space(const Byte* p, const Byte* end) {
    while (p != end) {
        const Byte* const at = p;
        if (!is_space(decode(p, end))) return at;
    }
    return p;
}

// Appends [first, last) without the white space at its ends, if there is more.
void push_trimmed(const Byte* text, const Byte* first, const Byte* last, std::vector<Part>& parts) {
    first = skip_space(first, last);
    while (last != first) {
        const Byte* p = last;
        if (!is_space(decode_back(p, first))) break;
        last = p;
    }
    if (first != last) parts.push_back({static_cast<std::size_t>(first - text), static_cast<std::size_t>(last - text)});
}

// ---- abbreviations --------------------------------------------------------------------------------------------------

// Words of up to eight letters and dots in lower case, the last dot left out, as numbers.
constexpr std::size_t longest_word = 8;
template <std::size_t n>
constexpr auto words(const std::string_view (&list)[n]) {
    std::array<std::uint64_t, n> result{};
    for (std::size_t i = 0; i < n; ++i)
        for (const char c : list[i]) result[i] = result[i] << 8 | static_cast<Byte>(c);
    std::sort(result.begin(), result.end());
    return result;
}
constexpr auto titles = words({"mr", "mrs", "ms", "mx", "dr", "prof", "st", "sr", "rev", "hon", "gen", "col", "maj", "sgt",
                               "capt", "cmdr", "lt", "cpl", "gov", "sen", "rep", "pres", "supt", "messrs", "mme", "mlle", "hr",
                               "fr", "sra", "srta", "dra", "ing"});  // with a capital
constexpr auto inner = words({"vs", "cf", "viz", "e.g", "i.e", "approx", "ca", "z.b", "d.h", "u.a", "bzw", "vgl", "sog",
                              "inkl", "p.ex"});  // in any case
constexpr auto before_numbers = words({"no", "nos", "nr", "fig", "figs", "eq", "p", "pp", "vol", "vols", "ch", "sec", "art", "jan",
                                       "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"});

// Whether the full stop at `dot` hardly ends a sentence, where one of class `next` goes on after white space.
bool abbreviates(const Byte* begin, const Byte* dot, SentenceBreak next) {
    const auto before = [&](const Byte* p) { return p == begin ? other : Point(decode_back(p, begin)).sentence_break(); };
    const auto in_word = [](SentenceBreak c) { return letter(c) || c == numeric || invisible(c); };
    if (dot == begin) return false;
    const Byte* p = dot;
    const std::uint32_t initial = decode_back(p, begin);
    if (Point(initial).sentence_break() == upper && !in_word(before(p)) && (initial != 'I' || before(p) == aterm)) return true;

    const auto is_letter = [](Byte c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; };
    std::uint64_t word = 0;
    unsigned size = 0;
    for (p = dot; p != begin && size <= longest_word; ++size) {
        const Byte c = p[-1];
        if (!is_letter(c) && !(c == '.' && size && p - begin > 1 && is_letter(p[-2]))) break;
        if (size < longest_word) word |= std::uint64_t{c == '.' ? c : static_cast<Byte>(c | 32)} << 8 * size;
        --p;
    }
    if (size == 0 || size > longest_word || in_word(before(p))) return false;
    const auto in = [&](const auto& list) { return std::binary_search(list.begin(), list.end(), word); };
    return in(inner) || (*p < 'a' && in(titles)) || (next == numeric && in(before_numbers));
}

// ---- sentences ------------------------------------------------------------------------------------------------------

// A sentence at a time: end() gives where the one that begins at `from` ends. The rules' numbers are those of the annex.
template <bool tailored>
class Sentences {
public:
    explicit Sentences(std::string_view text)
        : begin_(reinterpret_cast<const Byte*>(text.data())), end_(begin_ + text.size()) {}

    const Byte* end(const Byte* from) const {
        for (const Byte* p = from;;) {
            p = skip_until<true>(p, end_, may_end_sentence);
            if (p == end_) return end_;
            const Byte* const at = p;
            const SentenceBreak c = next(p);
            if (ends_line(c)) return past_line_end(c, p);  // SB4
            if (terminates(c) && ends_after(c, at, p)) return p;
        }
    }

private:
    SentenceBreak next(const Byte*& p) const { return class_of<tailored>(decode(p, end_)); }
    SentenceBreak peek(const Byte* p) const { return p == end_ ? other : next(p); }
    const Byte* past_line_end(SentenceBreak c, const Byte* p) const { return c == cr && p != end_ && *p == '\n' ? p + 1 : p; }  // SB3

    // Past what is invisible (SB5), and past all of class `c`.
    const Byte* skip(const Byte* p, SentenceBreak c) const {
        while (p != end_) {
            const Byte* const at = p;
            if (const SentenceBreak found = next(p); found != c && !invisible(found)) return at;
        }
        return p;
    }

    // Whether the terminator `c` at `at`, before `p`, ends a sentence; `p` moves to where, or to where to go on.
    bool ends_after(SentenceBreak c, const Byte* at, const Byte*& p) const {
        const Byte* const behind = p = skip(p, extend);
        if (c == aterm) {
            const SentenceBreak follows = peek(p);
            if (follows == numeric) return false;                          // SB6
            if (follows == upper && cased(before(at))) return false;       // SB7
        }
        const Byte* const closed = skip(p, close);
        p = skip(closed, sp);                                              // SB9, SB10
        if (p == end_) return true;
        const SentenceBreak follows = peek(p);
        if (ends_line(follows)) {
            next(p);
            p = past_line_end(follows, p);
            return true;
        }
        if (follows == scontinue || terminates(follows)) return false;     // SB8a
        if (c == aterm && goes_on_in_lower_case(p)) return false;          // SB8
        return !(tailored && *at == '.' && behind == at + 1 && closed == behind && p != closed && abbreviates(begin_, at, follows));
    }

    static bool cased(SentenceBreak c) { return c == lower || c == upper; }
    SentenceBreak before(const Byte* p) const {
        while (p != begin_)
            if (const SentenceBreak c = class_of<tailored>(decode_back(p, begin_)); !invisible(c)) return c;
        return other;
    }
    bool goes_on_in_lower_case(const Byte* p) const {
        while (p != end_) {
            const SentenceBreak c = next(p);
            if (letter(c) || ends_line(c) || terminates(c)) return c == lower;
        }
        return false;
    }

    const Byte *begin_, *end_;
};

// ---- paragraphs -----------------------------------------------------------------------------------------------------

// The end of the lines that are followed by a blank one, or the end of the text.
const Byte* paragraph_end(const Byte* p, const Byte* end) {
    for (;;) {
        p = skip_until<false>(p, end, may_end_line);
        const Byte* const at = p;
        int lines = 0;
        while (p != end) {
            const Byte* const here = p;
            const std::uint32_t code = decode(p, end);
            if (!is_space(code)) {
                p = here;
                break;
            }
            if (code == '\r' && p != end && *p == '\n') ++p;
            lines += ends_line(code);
        }
        if (p == end || lines > 1) return at;
        if (p == at) decode(p, end);
    }
}

// ---- windows --------------------------------------------------------------------------------------------------------

// The words of a text, one after the other.
class Words {
public:
    explicit Words(std::string_view text) : p_(reinterpret_cast<const Byte*>(text.data())), end_(p_ + text.size()) { skip(); }

    const Byte* position() const { return p_; }  // of the next word, or the end
    bool done() const { return p_ == end_; }
    // Past the next word; returns its end.
    const Byte* next() {
        const Byte* last = p_;
        for (Kind first = take(); p_ != end_;) {
            last = p_;
            const Point point(decode(p_, end_));
            const Kind kind = point.kind();
            const bool belongs = first == character ? kind == mark || kind == joiner || kind == ignored : kind != character;
            if (point.space() || !belongs) {
                p_ = last;
                skip();
                return last;
            }
        }
        return end_;
    }

private:
    Kind take() { return Point(decode(p_, end_)).kind(); }
    void skip() { p_ = skip_space(p_, end_); }

    const Byte *p_, *end_;
};

void windows(std::string_view text, const Parting& parting, std::vector<Part>& parts, const Stop& stop) {
    const Byte* const begin = reinterpret_cast<const Byte*>(text.data());
    Words first(text), last(text);
    std::size_t ahead = 0;  // words from the one to the other
    const Byte* end = begin;
    while (!first.done()) {
        for (; ahead < parting.size && !last.done(); ++ahead) end = last.next();
        parts.push_back({static_cast<std::size_t>(first.position() - begin), static_cast<std::size_t>(end - begin)});
        if (last.done()) return;
        for (std::size_t i = 0; i < parting.step; ++i, --ahead) first.next();
        if (parts.size() % 64 == 0) stop.poll();
    }
}

}  // namespace

void segment(std::string_view text, const Parting& parting, std::vector<Part>& parts, const Stop& stop) {
    if (parting.kind == PartKind::window) return windows(text, parting, parts, stop);
    const auto cut = [&](auto end_after) {
        const Byte* const begin = reinterpret_cast<const Byte*>(text.data());
        const Byte* const end = begin + text.size();
        std::size_t count = 0;
        for (const Byte* p = begin; p != end;) {
            const Byte* const first = p;
            p = end_after(p);
            push_trimmed(begin, first, p, parts);
            if (++count % 64 == 0) stop.poll();
        }
    };
    if (parting.kind == PartKind::sentence) {
        const Sentences<true> sentences(text);
        cut([&](const Byte* p) { return sentences.end(p); });
    } else {
        const Byte* const end = reinterpret_cast<const Byte*>(text.data()) + text.size();
        cut([&](const Byte* p) { return paragraph_end(skip_space(p, end), end); });
    }
}

void sentence_ends(std::string_view text, std::vector<std::size_t>& ends) {
    const Byte* const begin = reinterpret_cast<const Byte*>(text.data());
    const Sentences<false> sentences(text);
    for (const Byte* p = begin; p != begin + text.size();) {
        p = sentences.end(p);
        ends.push_back(static_cast<std::size_t>(p - begin));
    }
}

Parts segment(std::span<const std::string_view> texts, const Parting& parting, unsigned threads, const Stop& stop) {
    // The texts that one thread has cut, and their parts; then all in order.
    struct Piece {
        std::size_t first;
        std::vector<Part> parts;
        std::vector<std::size_t> ends;
    };
    std::vector<Piece> pieces;
    std::mutex mutex;
    parallel_texts(texts, 1, threads, stop, [&] {
        return [&](std::size_t begin, std::size_t end) {
            Piece piece{begin, {}, {}};
            for (std::size_t t = begin; t < end; ++t) {
                segment(texts[t], parting, piece.parts, stop);
                piece.ends.push_back(piece.parts.size());
            }
            const std::lock_guard lock(mutex);
            pieces.push_back(std::move(piece));
        };
    });
    std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.first < b.first; });
    Parts result{{}, {0}};
    for (Piece& piece : pieces) {
        for (const std::size_t end : piece.ends) result.from.push_back(result.all.size() + end);
        result.all.insert(result.all.end(), piece.parts.begin(), piece.parts.end());
        piece = {};
    }
    return result;
}

void count_in_code_points(std::span<const std::string_view> texts, Parts& parts, unsigned threads, const Stop& stop) {
    parallel_texts(texts, 1, threads, stop, [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t t = begin; t < end; ++t, stop.poll()) {
                const std::string_view text = texts[t];
                if (code_points(text) == text.size()) continue;
                std::size_t bytes = 0, points = 0;
                for (std::size_t i = parts.from[t]; i < parts.from[t + 1]; ++i) {
                    auto& [first, last] = parts.all[i];
                    const std::string_view part = text.substr(first, last - first);
                    points += code_points(text.substr(bytes, first - bytes));
                    bytes = first;
                    first = points;
                    last = points + code_points(part);
                }
            }
        };
    });
}

std::size_t code_points(std::string_view text) {
    // Of eight bytes at a time those that go on with a code point, counted in as many bytes, which 31 times do not overflow.
    std::size_t at = 0, going_on = 0;
    while (text.size() - at >= 8) {
        std::uint64_t counts = 0;
        for (const std::size_t end = at + std::min<std::size_t>((text.size() - at) / 8, 31) * 8; at != end; at += 8) {
            std::uint64_t word;
            std::memcpy(&word, text.data() + at, sizeof word);
            counts += (word >> 7) & ~(word >> 6) & ones;
        }
        going_on += counts * ones >> 56;
    }
    for (; at != text.size(); ++at) going_on += (text[at] & 0xC0) == 0x80;
    return text.size() - going_on;
}

}  // namespace sparsedistill
