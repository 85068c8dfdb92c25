#include "deobfuscate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include "lookalikes_table.h"
#include "traced.h"
#include "unicode.h"

namespace sparsedistill {

namespace {

using Code = std::uint32_t;

constexpr std::size_t blocks = std::size_t{0x110000} >> unicode::block_shift;

// Code points that stand for others wherever they are, and what they become.
struct Compatible {
    std::array<Code, unicode::compatible_count> codes{};
    std::array<std::uint16_t, unicode::compatible_count + 1> begins{};
    std::array<Code, unicode::compatible_parts_count> parts{};
    std::array<bool, blocks> has{};  // whether any is of the block

    constexpr Compatible() {
        Code code = 0, part = 0;
        for (std::size_t i = 0; i < codes.size(); ++i) {
            code += unicode::compatible_steps[i] >> 3;
            codes[i] = code;
            begins[i + 1] = static_cast<std::uint16_t>(begins[i] + (unicode::compatible_steps[i] & 7));
            has[code >> unicode::block_shift] = true;
        }
        for (std::size_t i = 0; i < parts.size(); ++i)
            parts[i] = part += static_cast<Code>(unicode::compatible_moves[i]);
    }
};
constexpr Compatible compatible;

// The Latin letter that it looks like, or 0.
char letter_like(Code code) {
    const auto* const found = std::lower_bound(std::begin(unicode::lookalikes), std::end(unicode::lookalikes), code);
    return found != std::end(unicode::lookalikes) && *found == code ? unicode::lookalike_letters[found - unicode::lookalikes] : '\0';
}

// What ASCII characters are here.
enum : std::uint8_t { letter = 1, digit = 2, substitute = 4, vowel = 8 };
constexpr auto ascii = [] {
    std::array<std::uint8_t, 128> kinds{};
    for (unsigned c = 0; c < 26; ++c) kinds['a' + c] = kinds['A' + c] = letter;
    for (const char c : {'a', 'e', 'i', 'o', 'u'}) kinds[static_cast<unsigned>(c)] = kinds[static_cast<unsigned>(c - 32)] = letter | vowel;
    for (unsigned c = '0'; c <= '9'; ++c) kinds[c] = digit;
    for (const char c : {'0', '1', '3', '4', '5', '7', '8'}) kinds[static_cast<unsigned>(c)] = digit | substitute;
    for (const char c : {'@', '$', '!'}) kinds[static_cast<unsigned>(c)] = substitute;
    return kinds;
}();
constexpr unsigned kind_of(Code code) { return code < 128 ? ascii[code] : 0; }
constexpr bool is_ascii_letter(Code code) { return kind_of(code) & letter; }
constexpr bool is_ascii_word(Code code) { return kind_of(code) & (letter | digit); }

bool is_letter(Code code) {
    if (code < 128) return is_ascii_letter(code);
    const Point point(code);
    return point.kind() == word && !point.digit();
}
bool is_latin(Code code) { return (code < 0x250 || (code >= 0x1E00 && code <= 0x1EFF)) && is_letter(code); }
bool is_mark(Code code) { return code >= 128 && Point(code).kind() == mark; }
bool of_word(Code code) {
    if (code < 128) return is_ascii_word(code);
    const Kind kind = Point(code).kind();
    return kind == word || kind == mark;
}
Code lower(Code code) { return is_ascii_letter(code) ? code | 32 : code < 128 ? code : Point(code).lower(); }
bool is_small(Code code) { return code >= 'a' && code <= 'z'; }

// Invisible wherever it is: what `words` leaves out, and spaces without width.
bool is_unseen(Code code) {
    switch (code) {
        case 0x034F: case 0x115F: case 0x1160: case 0x17B4: case 0x17B5: case 0x180B: case 0x180C: case 0x180D: case 0x180F:
        case 0x200B: case 0x3164: case 0xFFA0:
            return true;
        default:
            return Point(code).kind() == ignored;
    }
}
// What no language writes on or behind a Latin letter: strokes through it, joiners, forms of a glyph, tags.
bool is_clutter(Code code) {
    return (code >= 0x0334 && code <= 0x0338) || code == 0x200C || code == 0x200D || (code >= 0x20D0 && code <= 0x20F0) ||
           code == 0xFE0E || code == 0xFE0F || (code >= 0xE0020 && code <= 0xE007F);
}

// Reads code points, without those that are invisible, and those they stand for.
template <class T>
void read(std::string_view text, std::vector<T>& points, const Stop& stop) {
    points.clear();
    points.reserve(text.size());
    const auto* p = reinterpret_cast<const unsigned char*>(text.data());
    const unsigned char *const begin = p, *const end = p + text.size();
    for (std::size_t count = 1; p < end; ++count) {
        if (count % 8192 == 0) stop.poll();
        const unsigned char* const start = p;
        const Code code = decode(p, end);
        const Part from{static_cast<std::size_t>(start - begin), static_cast<std::size_t>(p - begin)};
        if (code < 128) {
            put(points, code, from);
            continue;
        }
        if (is_unseen(code)) continue;
        if (compatible.has[code >> unicode::block_shift]) {
            const auto found = std::lower_bound(compatible.codes.begin(), compatible.codes.end(), code);
            if (found != compatible.codes.end() && *found == code) {
                const std::size_t at = static_cast<std::size_t>(found - compatible.codes.begin());
                for (unsigned i = compatible.begins[at]; i < compatible.begins[at + 1]; ++i) put(points, compatible.parts[i], from);
                continue;
            }
        }
        put(points, code, from);
    }
}

// Look-alikes in words that have an ASCII letter and no letter that is neither Latin nor looks so.
template <class T>
void replace_lookalikes(std::vector<T>& points) {
    const auto inside = [](Code code) {
        if (code < 128) return is_ascii_word(code) || code == '_';
        const Kind kind = Point(code).kind();
        return kind == word || kind == mark || kind == joiner || is_clutter(code);
    };
    for (std::size_t begin = 0, end; begin < points.size(); begin = end) {
        bool mixed = false, other = false;
        for (end = begin; end < points.size() && inside(points[end]); ++end) {
            mixed |= is_ascii_letter(points[end]);
            other |= points[end] >= 0x180;
        }
        if (end == begin) {
            ++end;
        } else if (mixed && other) {
            const auto foreign = [](Code code) { return code >= 0x250 && is_letter(code) && !is_latin(code) && !letter_like(code); };
            if (std::any_of(points.begin() + static_cast<std::ptrdiff_t>(begin), points.begin() + static_cast<std::ptrdiff_t>(end), foreign))
                continue;
            for (std::size_t i = begin; i < end; ++i)
                if (points[i] >= 0x180)
                    if (const char like = letter_like(points[i])) points[i] = changed(points[i], static_cast<unsigned char>(like));
        }
    }
}

// Clutter behind ASCII letters, then marks that are piled on Latin letters.
template <class T>
void drop_clutter(std::vector<T>& points) {
    std::size_t kept = 0;
    bool behind = false;  // an ASCII letter and marks alone
    for (const T point : points) {
        const Code code = point;
        if (behind && is_clutter(code)) {
            absorb(points[kept - 1], point);
            continue;
        }
        if (!is_mark(code)) behind = is_ascii_letter(code);
        points[kept++] = point;
    }
    points.resize(kept);
    kept = 0;
    for (std::size_t i = 0, end; i < points.size(); i = end) {
        for (end = i + 1; end < points.size() && is_mark(points[end]);) ++end;
        Code base = points[i];
        if (end > i + 1 && is_latin(base)) {
            std::size_t marks = end - i - 1;
            const auto* const whole = std::lower_bound(std::begin(unicode::whole), std::end(unicode::whole), base);
            if (whole != std::end(unicode::whole) && *whole == base) {
                const auto* const begins = unicode::parts_begin + (whole - unicode::whole);
                base = unicode::parts[begins[0]];
                marks += begins[1] - begins[0] - 1u;
            }
            if (marks > 2) {
                points[kept] = changed(points[i], base);
                absorb(points[kept++], points[end - 1]);
                continue;
            }
        }
        for (; i < end; ++i) points[kept++] = points[i];
    }
    points.resize(kept);
}

// What comes out of the rest is written where the text stands, and is no longer.

template <class T>
Code at(const T* text, std::size_t size, std::size_t i) {
    return i < size ? static_cast<Code>(text[i]) : ' ';
}

// The first of [i, end) that is so, or `end`: many at a time where none is.
template <class Is>
std::size_t next(std::size_t i, std::size_t end, Is is) {
    for (const std::size_t soon = std::min(end, i + 8); i < soon; ++i)
        if (is(i)) return i;
    for (bool any = false; i + 32 <= end; i += 32) {
        for (std::size_t k = 0; k < 32; ++k) any |= is(i + k);
        if (any) break;
    }
    while (i < end && !is(i)) ++i;
    return i;
}

// Moves text[begin, end) to text[to], which is no later; returns where it ends there.
template <class T>
std::size_t moved(T* text, std::size_t to, std::size_t begin, std::size_t end) {
    if (to != begin) std::memmove(text + to, text + begin, (end - begin) * sizeof(T));
    return to + end - begin;
}

// Single letters that stand apart.
template <class T>
std::size_t join_letters(T* text, std::size_t size) {
    const auto alone = [&](std::size_t i) {
        if (!is_ascii_letter(at(text, size, i))) return false;
        const auto joins = [](Code code) { return of_word(code) || code == '\'' || code == right_quote; };
        return !(i && joins(static_cast<Code>(text[i - 1]))) && !joins(at(text, size, i + 1));
    };
    const auto may_begin = [&](std::size_t i) {
        const T apart = text[i + 1];
        return (text[i + 3] == apart) & ((apart == ' ') | (apart == '.') | (apart == '-') | (apart == '_'));
    };
    std::size_t kept = 0, i = 0;
    while (i + 4 < size) {
        const std::size_t begin = next(i, size - 4, may_begin);
        kept = moved(text, kept, i, begin);
        i = begin;
        if (i + 4 >= size) break;
        const Code apart = static_cast<Code>(text[i + 1]);
        std::size_t last = i;
        while (alone(last) && at(text, size, last + 1) == apart && alone(last + 2)) {
            const Code one = static_cast<Code>(text[last]), two = static_cast<Code>(text[last + 2]);
            if (apart == ' ' && (one == 'I' ? is_small(two) : is_small(one) && !is_small(two))) break;
            last += 2;
        }
        if (last < i + 4) last = i;
        for (; i <= last; i += 2) text[kept++] = text[i];
        i = last + 1;
    }
    return moved(text, kept, i, size);
}

struct Word {
    std::size_t end;
    bool reads = false;  // whether what stands for letters in it is to be replaced
};

// The word that begins at `begin`, with the signs inside it that stand for letters; none: it ends there.
template <class T>
Word word_at(const T* text, std::size_t size, std::size_t begin) {
    std::size_t i = begin, letters = 0, digits = 0, turns = 0;
    unsigned last = 0;
    bool other = false, stars = false, substitutes = false;
    const auto turn_to = [&](unsigned kind) {
        substitutes |= kind == substitute;
        turns += last && last != kind;
        last = kind;
    };
    if (text[i] == '$') {
        for (std::size_t k = 1; k <= 3; ++k)
            if (!is_ascii_letter(at(text, size, i + k))) return {begin};
        turn_to(substitute);
        ++i;
    }
    for (; i < size; ++i) {
        const Code c = static_cast<Code>(text[i]);
        const unsigned kind = kind_of(c);
        if (kind & (letter | digit)) {
            letters += kind & letter;
            digits += !(kind & letter);
            other |= !(kind & (letter | substitute));
            turn_to(kind & letter ? letter : substitute);
            continue;
        }
        if (c >= 128 && of_word(c)) {
            if (is_latin(c)) {
                ++letters;
                turn_to(letter);
            } else {
                other |= !is_mark(c);
            }
            continue;
        }
        if (i == begin) break;
        const Code before = static_cast<Code>(text[i - 1]), after = at(text, size, i + 1);
        if (c == '*' && is_ascii_word(before) && is_ascii_word(after)) {
            stars = true;
        } else if (c == '@' && i - begin <= 2 && is_ascii_word(before) && is_ascii_word(after)) {
            std::size_t k = i + 1;
            while (is_ascii_word(at(text, size, k)) || at(text, size, k) == '-') ++k;
            if (at(text, size, k) == '.' && is_ascii_word(at(text, size, k + 1))) break;  // an address
            turn_to(substitute);
        } else if (c == '!' && i - begin <= 2 && is_ascii_letter(before) && is_ascii_letter(after)) {
            turn_to(substitute);
        } else if (c == '$' && is_ascii_letter(before)) {
            std::size_t k = i;
            while (at(text, size, k) == '$') ++k;
            if (!(k - i <= 2 && is_ascii_letter(at(text, size, k))) && !(k - i == 2 && !of_word(at(text, size, k)))) break;
            for (; i < k; ++i) turn_to(substitute);
            --i;
        } else {
            break;
        }
    }
    const bool reads = !other && letters && (turns >= 2 || letters >= digits);
    return {i, reads && (substitutes || stars)};
}

constexpr Code substituted(Code code) {
    switch (code) {
        case '0': return 'o';
        case '3': return 'e';
        case '4': case '@': return 'a';
        case '5': case '$': return 's';
        case '7': return 't';
        case '8': return 'b';
        case '!': return 'i';
        default: return code;
    }
}

// Writes a word with letters for what stands for them, without stars; returns its length. A 1 is an l or an i.
template <class T>
std::size_t spell_word(T* out, const T* text, std::size_t size) {
    const auto is_vowel = [](Code code) { return bool(kind_of(code) & vowel); };
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const T point = text[i];
        Code code = static_cast<Code>(point);
        if (code == '*') continue;
        if (code == '1') {
            std::size_t next = i + 1;
            while (next < size && text[next] == '*') ++next;
            const bool ends = next >= size, again = !ends && text[next] == '1';
            const bool before_vowel = !ends && is_vowel(substituted(static_cast<Code>(text[next])));
            const Code before = kept ? lower(static_cast<Code>(out[kept - 1])) : 0;
            if (!kept) code = before_vowel || again ? 'l' : 'i';
            else if (before == 'l') code = before_vowel || ends ? 'l' : 'i';
            else code = is_vowel(before) ? 'l' : 'i';
        }
        out[kept++] = changed(point, substituted(code));
    }
    return kept;
}

// Letters that stand three times or more in a row become one, or three in a word of one letter alone. Returns the length.
template <class T>
std::size_t shorten_word(T* word, std::size_t size) {
    std::size_t run = 1, i = 1;
    for (; i < size && run < 3; ++i) run = lower(static_cast<Code>(word[i])) == lower(static_cast<Code>(word[i - 1])) ? run + 1 : 1;
    if (run < 3) return size;
    std::size_t kept = 0;
    for (std::size_t begin = 0, end; begin < size; begin = end) {
        const Code first = lower(static_cast<Code>(word[begin]));
        for (end = begin + 1; end < size && lower(static_cast<Code>(word[end])) == first;) ++end;
        std::size_t keep = end - begin;
        if (keep >= 3 && is_letter(static_cast<Code>(word[begin]))) keep = keep == size ? 3 : 1;
        const T last = word[end - 1];
        for (std::size_t k = 0; k < keep; ++k) word[kept++] = word[begin + k];
        absorb(word[kept - 1], last);
    }
    return kept;
}

template <class T>
std::size_t spell_words(T* text, std::size_t size, const Stop& stop) {
    // What most words have not: all but letters that may be of a word, and letters that stand three times in a row.
    const auto stands_out = [&](std::size_t i) {
        const Code c = static_cast<Code>(text[i]), before = static_cast<Code>(text[i - 1]), first = static_cast<Code>(text[i - 2]);
        const bool thrice = (((c ^ before) | (c ^ first)) & ~32u) == 0 && (c | 32) - 'a' < 26;
        return thrice | (c - '0' < 10) | (c == '*') | (c == '@') | (c == '$') | (c == '!') | (c >= 128);
    };
    std::size_t kept = 0, polled = 0;
    Code before = ' ';
    for (std::size_t i = 0; i < size;) {
        if (i - polled >= 8192) {
            stop.poll();
            polled = i;
        }
        std::size_t begin = i < 2 ? i : next(i, size, stands_out);
        while (begin > i && is_ascii_letter(static_cast<Code>(text[begin - 1]))) --begin;
        if (begin > i) before = static_cast<Code>(text[begin - 1]);
        kept = moved(text, kept, i, begin);
        i = begin;
        if (i == size) break;
        const Code c = static_cast<Code>(text[i]);
        const Word word = (c == '$' ? !of_word(before) : of_word(c)) ? word_at(text, size, i) : Word{i};
        if (word.end == i) {
            before = c;
            text[kept++] = text[i++];
            continue;
        }
        before = static_cast<Code>(text[word.end - 1]);
        T* const out = text + kept;
        std::size_t length = word.end - i;
        if (word.reads) length = spell_word(out, text + i, length);
        else moved(text, kept, i, word.end);
        kept += shorten_word(out, length);
        i = word.end;
    }
    return kept;
}

template <class T>
void rewrite(std::string_view text, std::vector<T>& points, const Stop& stop) {
    read(text, points, stop);
    replace_lookalikes(points);
    drop_clutter(points);
    points.resize(spell_words(points.data(), join_letters(points.data(), points.size()), stop));
}

}  // namespace

std::string_view Deobfuscator::operator()(std::string_view text, const Stop& stop) {
    const bool is_ascii = std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 128; });
    if (is_ascii) {
        bytes_.assign(text);
        auto* const bytes = reinterpret_cast<unsigned char*>(bytes_.data());
        return {bytes_.data(), spell_words(bytes, join_letters(bytes, text.size()), stop)};
    }
    rewrite(text, points_, stop);
    bytes_.resize(4 * points_.size());
    char* end = bytes_.data();
    for (const Code code : points_) end = encode(code, end);
    return {bytes_.data(), static_cast<std::size_t>(end - bytes_.data())};
}

void deobfuscate(std::string_view text, std::string& out, std::vector<Part>& from, const Stop& stop) {
    std::vector<Traced> points;
    rewrite(text, points, stop);
    from.clear();
    out.clear();
    for (const Traced point : points) {
        char bytes[4];
        out.append(bytes, encode(point.code, bytes));
        from.resize(out.size(), point.from);
    }
}

}  // namespace sparsedistill
