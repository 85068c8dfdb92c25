#include "text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <iterator>
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

// What a code point is to `words`.
enum Kind : std::uint8_t { separator, character, emoji, word, punct, mark, joiner, ignored };

constexpr unsigned record_of(std::uint32_t code) {
    constexpr std::uint32_t mask = (1u << unicode::block_shift) - 1;
    return unicode::record_of[(std::size_t{unicode::block_of[code >> unicode::block_shift]} << unicode::block_shift) +
                              (code & mask)];
}

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

// Whether the capital sigma at [at, after) ends a word: a cased letter before it and none after it, looking past
// case-ignorable characters (Unicode's Final_Sigma, as Python applies it).
bool ends_word(const unsigned char* begin, const unsigned char* at, const unsigned char* after,
               const unsigned char* end) {
    bool cased = false;
    while (at > begin) {
        const Point before = Point(decode_back(at, begin));
        if (before.case_ignorable()) continue;
        cased = before.cased();
        break;
    }
    if (!cased) return false;
    while (after < end) {
        const Point next(decode(after, end));
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

// The word characters of one and two bytes as they are written, those that need no rule; size 0: the others.
struct ShortWord {
    char bytes[2];
    std::uint8_t size;
};
constexpr std::uint32_t short_words_end = 0x800;
template <bool lowercase>
constexpr auto short_words = [] {
    std::array<ShortWord, short_words_end> table{};
    for (std::uint32_t code = 0; code < short_words_end; ++code) {
        const Point point(code);
        const std::uint32_t written = lowercase ? point.lower() : code;
        if (point.kind() != word || point.flags & Point::attention || code == capital_sigma || code == dotted_capital_i ||
            written >= short_words_end)
            continue;
        if (written < 0x80) table[code] = {{static_cast<char>(written), 0}, 1};
        else table[code] = {{static_cast<char>(0xC0 | written >> 6), static_cast<char>(0x80 | (written & 0x3F))}, 2};
    }
    return table;
}();

// Large blocks whose code points are all alike to `words`: a table is not asked for each.
struct Block {
    std::uint32_t first, size;
    constexpr bool has(std::uint32_t code) const { return code - first < size; }
    constexpr bool is_plain(Kind kind) const {
        for (std::uint32_t code = first; code < first + size; ++code) {
            const Point point(code);
            if (point.kind() != kind || point.flags & Point::attention || point.lower() != code) return false;
        }
        return true;
    }
};
constexpr Block ideographs{0x4E00, 0x5200}, hangul{0xAC00, 11172};
static_assert(ideographs.is_plain(character) && hangul.is_plain(word));

// Canonical composition of `size` code points, each with its combining class above its 24 bits; returns how many are left.
std::size_t compose(std::uint32_t* points, std::size_t size) {
    constexpr std::uint32_t l0 = 0x1100, v0 = 0x1161, t0 = 0x11A7, s0 = 0xAC00, l_count = 19, v_count = 21, t_count = 28;
    const auto pair = [&](std::uint32_t first, std::uint32_t second) -> std::uint32_t {
        if (first - l0 < l_count && second - v0 < v_count) return s0 + ((first - l0) * v_count + second - v0) * t_count;
        if (first - s0 < l_count * v_count * t_count && (first - s0) % t_count == 0 && second - t0 - 1 < t_count - 1)
            return first + second - t0;
        const std::uint64_t key = std::uint64_t{first} << 32 | second;
        const auto* const found = std::lower_bound(std::begin(unicode::pairs), std::end(unicode::pairs), key);
        return found != std::end(unicode::pairs) && *found == key ? unicode::composites[found - unicode::pairs] : 0;
    };
    std::size_t kept = 0;
    std::uint32_t* starter = nullptr;
    bool beside = false;     // nothing stands between the starter and what comes next
    std::uint32_t last = 0;  // combining class of what does
    for (std::size_t i = 0; i < size; ++i) {
        const std::uint32_t combining = points[i] >> 24, code = points[i] & 0xFFFFFF;
        if (starter && (beside || last < combining))
            if (const std::uint32_t composite = pair(*starter, code)) {
                *starter = composite;
                continue;
            }
        points[kept] = code;
        if (combining == 0) starter = points + kept;
        beside = combining == 0;
        last = combining;
        ++kept;
    }
    return kept;
}

// A text being read: code points in NFC where that is asked for, and the lower-case form each is written in; or case-folded.
class Reader {
public:
    // Reads [first, last) of the text; what stands around it decides the form of a final sigma.
    Reader(std::string_view text, std::size_t first, std::size_t last, TextRules rules, bool folds = false)
        : begin_(reinterpret_cast<const unsigned char*>(text.data())), p_(begin_ + first), last_(begin_ + last),
          end_(begin_ + text.size()), pause_(last_), lowercase_(rules.lowercase), leaves_out_(rules.tokenizer == Tokenizer::words),
          folds_(folds ? Point::folds : 0),
          attention_(rules.normalize && rules.tokenizer != Tokenizer::sklearn ? Point::attention : 0) {
        go_to(p_);
    }

    // For reading past it: where the next code point stands, nullptr where it waits in points_; where to go on; up to where.
    const unsigned char* position() const { return at_ == filled_ ? ahead_at_ : nullptr; }
    void go_to(const unsigned char* p) {
        ahead_at_ = p;
        prepared_ = false;
    }
    const unsigned char* pause() const { return pause_; }
    const unsigned char* last() const { return last_; }
    const unsigned char* end() const { return end_; }
    bool normalizes() const { return attention_; }
    static constexpr std::size_t most = 256;  // code points of a segment: what bounds memory and time where marks have no end

    // Before the first call of those below, and after go_to(). Whether there is more before the pause.
    bool prepare() {
        if (!prepared_) {
            p_ = ahead_at_;
            advance();
            prepared_ = true;
        }
        return more();
    }

    bool done() const { return at_ == filled_ && ahead_at_ == last_; }
    // Whether there is more before the pause: nothing then waits that was read and not given.
    bool more() const { return at_ != filled_ || ahead_at_ < pause_; }
    void pause_after(std::size_t bytes) {
        pause_ = static_cast<std::size_t>(last_ - ahead_at_) > bytes ? ahead_at_ + bytes : last_;
    }
    // Bytes that may be read past the pause, with a segment.
    static constexpr std::size_t overrun() { return 4 * most + 64; }
    bool lowercase() const { return lowercase_; }

    Point next() {
        if (at_ != filled_) [[unlikely]] return Point(points_[at_++]);
        const Point point = ahead_;
        start_ = ahead_at_;
        advance();
        if ((point.flags & folds_) | ((point.flags | ahead_.flags) & attention_)) [[unlikely]] return normalized(point);
        return point;
    }
    // What next() will give, or what that is made from: of the same kind. A space at the end.
    Point peek() const { return at_ != filled_ ? Point(points_[at_]) : ahead_; }
    // The one after it, as it stands in the text, where peek() is not one that composes.
    Point peek_behind() const {
        const unsigned char* p = p_;
        while (p != last_)
            if (const Point point(decode(p, end_)); point.kind() != ignored) return point;
        return Point(' ');
    }

    // Writes the last code point read, in lower case where asked.
    char* write(Point point, char* out) const {
        if (!lowercase_) return encode(point.code, out);
        if (point.code == capital_sigma) return encode(lower_sigma(), out);
        if (point.code == dotted_capital_i) return encode(combining_dot, encode('i', out));
        return encode(point.lower(), out);
    }

private:
    static constexpr std::size_t longest_decomposition = 4;

    void advance() {
        do {
            ahead_at_ = p_;
            ahead_ = p_ == last_ ? Point(' ') : Point(decode(p_, end_));
        } while (ahead_.kind() == ignored && leaves_out_);
    }

    std::uint32_t lower_sigma() const { return !folds_ && ends_word(begin_, start_, ahead_at_, end_) ? final_sigma : 0x3C3; }

    // The first code point of a segment in lower case and NFC; the others wait in points_. A segment is a code point and all
    // that follow and need attention: nothing composes across its ends.
    [[gnu::noinline]] Point normalized(Point point) {
        filled_ = at_ = 0;
        const auto add = [&](std::uint32_t code, std::uint32_t combining) { points_[filled_++] = combining << 24 | code; };
        const auto add_parts = [&](std::uint32_t code) {
            constexpr std::uint32_t l0 = 0x1100, v0 = 0x1161, t0 = 0x11A7, s0 = 0xAC00, v_count = 21, t_count = 28;
            if (code - s0 < 19 * v_count * t_count) {
                const std::uint32_t syllable = code - s0, final = syllable % t_count;
                add(l0 + syllable / (v_count * t_count), 0);
                add(v0 + syllable / t_count % v_count, 0);
                if (final) add(t0 + final, 0);
                return;
            }
            const auto* const found = std::lower_bound(std::begin(unicode::whole), std::end(unicode::whole), code);
            if (found == std::end(unicode::whole) || *found != code) return add(code, Point(code).combining_class());
            const auto* const begins = unicode::parts_begin + (found - unicode::whole);
            for (unsigned i = begins[0]; i < begins[1]; ++i) add(unicode::parts[i], Point(unicode::parts[i]).combining_class());
        };
        std::size_t size = 0;
        const auto add_cased = [&](std::uint32_t code) {
            size = Point(code).flags & Point::attention ? size + 1 : 1;
            add_parts(code);
        };
        for (;;) {
            if (point.flags & folds_) {
                const auto* const found = std::lower_bound(std::begin(unicode::folds), std::end(unicode::folds), point.code);
                const auto* const parts = unicode::folded + 3 * (found - unicode::folds);
                for (unsigned i = 0; i < 3 && parts[i]; ++i) add_cased(parts[i]);
            } else if (!lowercase_) {
                add_cased(point.code);
            } else if (point.code == capital_sigma) {
                add_cased(lower_sigma());
            } else if (point.code == dotted_capital_i) {
                add_cased('i');
                add_cased(combining_dot);
            } else {
                add_cased(point.lower());
            }
            // What is written of the next one needs no attention: it does not compose with this.
            if (size >= most || ahead_.flags & folds_ ||
                !((lowercase_ ? Point(ahead_.lower()) : ahead_).flags & attention_))
                break;
            point = ahead_;
            start_ = ahead_at_;
            advance();
        }
        // Canonical order: by combining class, within each run of marks; equal ones stay in their order.
        for (std::size_t i = 1; i < filled_; ++i) {
            const std::uint32_t moved = points_[i];
            std::size_t to = i;
            if (moved >> 24)
                for (; to && points_[to - 1] >> 24 > moved >> 24; --to) points_[to] = points_[to - 1];
            points_[to] = moved;
        }
        filled_ = compose(points_, filled_);
        return Point(points_[at_++]);
    }

    const unsigned char *begin_, *p_, *last_, *end_, *pause_;
    const unsigned char *start_ = nullptr, *ahead_at_ = nullptr;  // of the last code point read, and of the next
    Point ahead_;
    bool prepared_, lowercase_, leaves_out_;
    unsigned folds_, attention_;
    std::size_t at_ = 0, filled_ = 0;  // of points_, what is yet to be read
    std::uint32_t points_[most * longest_decomposition + 4];
};

// Longest UTF-8 growth of a code point: U+FFFD for one invalid byte, or a lower case longer than the capital.
constexpr std::size_t growth = 3;

}  // namespace

// Appends the tokens of one text.
class TokenWriter {
public:
    // Of tokens that are written code point by code point alone.
    explicit TokenWriter(Tokens& tokens) : tokens_(tokens), copy_(0) {}
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
        make_room(tokens_.open_ + growth * bytes);
        token_ = tokens_.buffer_.data() + tokens_.used_;
        out = token_ + tokens_.open_;
    }
    // What is open then goes on after the next begin().
    void end() {
        tokens_.used_ = static_cast<std::size_t>(token_ - tokens_.buffer_.data());
        tokens_.open_ = size();
    }
    bool open() const { return out != token_; }
    std::size_t size() const { return static_cast<std::size_t>(out - token_); }  // of what is open
    char* at(std::size_t size) const { return token_ + size; }
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
        const std::size_t need = tokens_.used_ + bytes + Tokens::slack;
        // A token may be as long as the text, and then memory counts more than how often it is copied.
        if (tokens_.buffer_.size() < need) tokens_.buffer_.resize(need + need / (need < std::size_t{1} << 20 ? 2 : 8));
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
    void other(TokenWriter& writer, Reader& reader) {
        while (reader.prepare()) {
            const Point point = reader.next();
            if (!point.in_word()) {
                finish(writer);
                continue;
            }
            if (point.code == dotted_capital_i && reader.lowercase()) {  // its lower case is "i" and a mark, which ends the run
                *writer.out++ = 'i';
                ++length;
                finish(writer);
                continue;
            }
            writer.out = reader.write(point, writer.out);
            ++length;
        }
    }
    void finish(TokenWriter& writer) {
        if (length >= 2) writer.push();
        else writer.drop();
        length = 0;
    }

    std::size_t length = 0;  // code points of the open run
};

struct Whitespace {
    static void ascii(TokenWriter& writer, std::size_t first, std::size_t last) {
        const auto masks = writer.masks();
        writer.push_runs(first, last, 1, [&](std::size_t block, std::uint64_t valid) {
            return std::pair{~masks[block].space & valid, std::uint64_t{0}};
        });
    }
    static void other(TokenWriter& writer, Reader& reader) {
        while (reader.prepare()) {
            const Point point = reader.next();
            if (point.space()) writer.push_if_open();
            else writer.out = reader.write(point, writer.out);
        }
    }
    static void finish(TokenWriter& writer) { writer.push_if_open(); }
};

bool modifies_emoji(std::uint32_t code) {
    return code == 0xFE0F || code == 0xFE0E || code == 0x20E3 || (code >= 0x1F3FB && code <= 0x1F3FF) ||
           (code >= 0xE0020 && code <= 0xE007F);
}

// Words, runs of punctuation, emoji with their modifiers, and characters of scripts without spaces one by one.
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
    // Reads on as far as code points are in NFC, lower-cased one by one and of kinds that need no look ahead, which is most of a
    // text. What may yet compose with something else is left to the reader, as is all the rest.
    void read_plain(TokenWriter& writer, Reader& reader) {
        const unsigned char* p = reader.position();
        if (!p) return;
        const unsigned char *const pause = reader.pause(), *const last = reader.last(), *const end = reader.end();
        const bool lowercase = reader.lowercase(), normalizes = reader.normalizes();
        const ShortWord* const table = lowercase ? short_words<true>.data() : short_words<false>.data();
        const unsigned char *const first = p, *segment = p;  // where one begins, and where to go back to
        char *out = writer.out, *segment_out = out;
        std::uint32_t combining = 0;  // of the code point before
        std::size_t size = 1;         // code points of the segment, where that is not 0
        Kind open = this->open;
        bool back = false;
        while (p < pause) {
            const unsigned char* const at = p;
            const std::uint32_t code = decode(p, end);
            if (code < short_words_end && table[code].size && (open == word || open == separator)) {
                segment = at;
                segment_out = out;
                combining = 0;
                std::memcpy(out, table[code].bytes, 2);
                out += table[code].size;
                open = word;
                continue;
            }
            if (ideographs.has(code) || hangul.has(code)) {
                const Kind kind = code < hangul.first ? character : word;
                if (open == character || open == punct || (open == word && kind == character)) {
                    writer.out = out;
                    writer.push();
                }
                open = kind;
                segment = at;
                segment_out = out;
                combining = 0;
                std::memcpy(out, at, 3);
                out += 3;
                continue;
            }
            const Point point(code);
            const Kind kind = point.kind();
            const bool quote = (code == '\'' || code == right_quote) && open == word;
            back = normalizes && (point.flags & Point::changes || kind == ignored);
            if (back || kind >= joiner || kind == emoji || quote || code == capital_sigma || code == dotted_capital_i) {
                p = at;
                break;
            }
            const std::uint32_t before = std::exchange(combining, point.combining_class());
            if (before == 0) size = 1;
            const bool begins = combining == 0 || size == Reader::most || at == first;
            if (!begins && (combining < before || open == punct)) {  // a mark ends that, so that there is no way back to it
                back = normalizes;
                p = at;
                break;
            }
            if (kind == character || (kind != mark && open != kind)) {
                if (open != separator) {
                    writer.out = out;
                    writer.push();
                }
                open = kind;
            } else if (open != word && open != character) {  // a mark, or more punctuation or separators
                if (open == punct && kind == mark) {
                    writer.out = out;
                    writer.push();
                }
                open = kind == mark ? word : kind;
            }
            if (begins) {
                segment = at;
                segment_out = out;
            }
            size = begins ? 1 : size + 1;
            if (kind != separator) out = encode(lowercase ? point.lower() : code, out);
        }
        if (p >= pause && p != last && normalizes) {
            const unsigned char* next = p;
            const Point point(decode(next, end));
            back = point.flags & Point::attention || point.kind() == ignored;
        }
        writer.out = back ? segment_out : out;
        this->open = writer.open() ? open : separator;
        reader.go_to(back ? segment : p);
    }

    void other(TokenWriter& writer, Reader& reader) {
        char* joiners = joiners_at == none ? nullptr : writer.at(joiners_at);
        const auto begin = [&](Kind kind) {  // the next token
            if (joiners) writer.out = joiners;
            joiners = nullptr;
            writer.push_if_open();
            open = kind;
        };
        while (reader.more()) {
            if (!joiners && open != emoji) read_plain(writer, reader);
            if (!reader.more() || !reader.prepare()) break;
            if (open == emoji) {  // what modifies it, or is joined to it
                const Point next = reader.peek();
                if (next.code == zero_width_joiner && reader.peek_behind().kind() == emoji) {
                    writer.out = encode(reader.next().code, writer.out);
                } else if (!modifies_emoji(next.code)) {
                    begin(separator);
                    continue;
                }
                writer.out = encode(reader.next().code, writer.out);
                continue;
            }
            const Point point = reader.next();
            switch (point.kind()) {
                case separator:
                case ignored:
                    begin(separator);
                    break;
                case character:
                    begin(character);
                    writer.out = reader.write(point, writer.out);
                    break;
                case mark:
                    if (open != word && open != character) begin(word);
                    joiners = nullptr;
                    writer.out = reader.write(point, writer.out);
                    break;
                case joiner:
                    if (open != word && open != character) {
                        begin(separator);
                        break;
                    }
                    if (!joiners) joiners = writer.out;
                    writer.out = encode(point.code, writer.out);
                    break;
                case emoji:
                    begin(emoji);
                    writer.out = reader.write(point, writer.out);
                    break;
                case word:
                    if (open != word) begin(word);
                    joiners = nullptr;
                    writer.out = reader.write(point, writer.out);
                    break;
                case punct:
                    if (open == word && !joiners && (point.code == '\'' || point.code == right_quote)) {
                        const Kind next = reader.peek().kind();
                        if (next == word || next == mark) {
                            *writer.out++ = '\'';  // an apostrophe inside a word belongs to it
                            break;
                        }
                    }
                    if (open != punct) begin(punct);
                    writer.out = reader.write(point, writer.out);
                    break;
            }
        }
        joiners_at = joiners ? writer.size() - static_cast<std::size_t>(writer.out - joiners) : none;
    }
    void finish(TokenWriter& writer) {
        if (joiners_at != none) writer.out = writer.at(joiners_at);
        writer.push_if_open();
        *this = {};
    }

    static constexpr std::size_t none = ~std::size_t{0};
    Kind open = separator;          // kind of the token being written
    std::size_t joiners_at = none;  // where those begin in it that it ends with
};

// ASCII white space separates tokens in every way of cutting: what stands between two of it is read fast where it is
// all ASCII.
// Cuts [from, to), which is the whole text or ends after white space.
template <class Cut>
void tokenize_by(std::string_view text, std::size_t from, std::size_t to, TextRules rules, Tokens& tokens) {
    TokenWriter writer(tokens, text.substr(from, to - from), rules.lowercase);
    const auto masks = writer.masks();
    const std::size_t size = to - from;
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
        Reader reader(text, from + first, from + last, rules);
        Cut cut;
        cut.other(writer, reader);
        cut.finish(writer);
        writer.end();
        at = last;
    }
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F); }

}  // namespace

void Tokens::drop(std::size_t count) {
    std::size_t first = used_;
    for (std::size_t i = count; i < count_; ++i) first = std::min(first, spans_[i].begin);
    if (first) std::memmove(buffer_.data(), buffer_.data() + first, used_ + open_ - first);
    for (std::size_t i = count; i < count_; ++i) spans_[i - count] = {spans_[i].begin - first, spans_[i].size};
    used_ -= first;
    count_ -= count;
}

class Tokenization::Cutting {
public:
    virtual ~Cutting() = default;
    virtual bool done() const = 0;
    virtual void next(Tokens& tokens) = 0;
};

template <class Cut>
class Tokenization::CuttingBy : public Cutting {
public:
    CuttingBy(std::string_view text, TextRules rules, std::size_t window) : text_(text), rules_(rules), window_(window) {}

    bool done() const override { return at_ == text_.size(); }

    void next(Tokens& tokens) override {
        if (!stretch_) {
            // Up to the last white space of the window.
            std::size_t end = std::min(text_.size(), at_ + window_);
            if (end < text_.size())
                while (end > at_ && !is_space(text_[end - 1])) --end;
            if (end > at_) {
                tokenize_by<Cut>(text_, at_, end, rules_, tokens);
                at_ = end;
                return;
            }
            // There is none: a code point at a time, with pauses.
            for (end = at_ + window_; end < text_.size() && !is_space(text_[end]);) ++end;
            stretch_.emplace(text_, at_, end, rules_);
            stretch_end_ = end;
        }
        TokenWriter writer(tokens);
        writer.begin(window_ + Reader::overrun());
        stretch_->pause_after(window_);
        cut_.other(writer, *stretch_);
        if (stretch_->done()) {
            cut_.finish(writer);
            stretch_.reset();
            at_ = stretch_end_;
        }
        writer.end();
    }

private:
    const std::string_view text_;
    const TextRules rules_;
    const std::size_t window_;
    std::size_t at_ = 0;
    std::optional<Reader> stretch_;
    std::size_t stretch_end_ = 0;
    Cut cut_;
};

Tokenization::Tokenization(std::string_view text, TextRules rules, std::size_t window) {
    switch (rules.tokenizer) {
        case Tokenizer::sklearn: cutting_ = std::make_unique<CuttingBy<Sklearn>>(text, rules, window); break;
        case Tokenizer::words: cutting_ = std::make_unique<CuttingBy<Words>>(text, rules, window); break;
        case Tokenizer::whitespace: cutting_ = std::make_unique<CuttingBy<Whitespace>>(text, rules, window); break;
    }
}

Tokenization::~Tokenization() = default;
bool Tokenization::done() const { return cutting_->done(); }
void Tokenization::next(Tokens& tokens) { cutting_->next(tokens); }

void tokenize(std::string_view text, TextRules rules, Tokens& tokens) {
    if (text.size() > Tokenization::usual_window) {
        for (Tokenization reading(text, rules); !reading.done();) reading.next(tokens);
        return;
    }
    switch (rules.tokenizer) {
        case Tokenizer::sklearn: return tokenize_by<Sklearn>(text, 0, text.size(), rules, tokens);
        case Tokenizer::words: return tokenize_by<Words>(text, 0, text.size(), rules, tokens);
        case Tokenizer::whitespace: return tokenize_by<Whitespace>(text, 0, text.size(), rules, tokens);
    }
}

namespace {

bool is_hyphen(std::uint32_t code) {
    return code == '-' || (code >= 0x2010 && code <= 0x2015) || code == 0x2212 || code == 0xFE58 || code == 0xFE63 || code == 0xFF0D;
}

// comparable() of a text or a half of a pair; where nothing of it counts, `all` but white space.
char* write_comparable(std::string_view text, bool all, char* out, const Stop& stop) {
    Reader reader(text, 0, text.size(), {Tokenizer::words, true, true}, true);
    Point before(' '), earlier(' ');  // the code points just read, eyes and nose maybe
    for (std::size_t read = 1; reader.prepare(); ++read) {
        if (read % 8192 == 0) stop.poll();
        const Point point = reader.next();
        std::uint32_t code = point.lower();
        bool counts = all && point.kind() != separator && point.kind() != joiner;
        if (point.counts()) {
            counts = code != combining_dot || before.code != 'i';  // the dot of a capital I that has one
        } else if (point.kind() == joiner) {
            counts = code == zero_width_joiner && reader.peek().kind() == emoji;
        } else if (is_hyphen(code)) {
            code = '-';
            counts |= reader.peek().digit() && (before.digit() || !(before.counts() || is_hyphen(before.code)));
        } else if (point.kind() == punct) {
            counts |= before.digit() && reader.peek().digit();
            counts |= code == '.' && reader.peek().in_word() && !before.counts() && before.code != '.';
            if (std::string_view("()[]{}").find(static_cast<char>(code)) != std::string_view::npos && code < 0x80) {
                const Point& eyes = before.code == '-' || before.code == '\'' ? earlier : before;
                counts |= eyes.code == ':' || eyes.code == ';' || eyes.code == '=';
            }
        }
        if (counts) out = encode(code, out);
        earlier = before;
        before = point;
    }
    return out;
}

}  // namespace

void comparable(std::string_view text, std::string& out, const Stop& stop) {
    constexpr char parts = '\x1F';
    out.resize(growth * text.size());
    char* end = out.data();
    for (std::size_t at = 0;;) {
        const std::size_t next = std::min(text.find(parts, at), text.size());
        const std::string_view part = text.substr(at, next - at);
        char* const begin = end;
        end = write_comparable(part, false, begin, stop);
        if (end == begin) end = write_comparable(part, true, begin, stop);
        if (next == text.size()) break;
        *end++ = parts;
        at = next + 1;
    }
    out.resize(static_cast<std::size_t>(end - out.data()));
}

}  // namespace sparsedistill
