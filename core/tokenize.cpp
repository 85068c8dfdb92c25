#include "tokenize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "reader.h"
#include "token_writer.h"

namespace sparsedistill {

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
    virtual std::size_t position() const = 0;
    virtual void next(Tokens& tokens) = 0;
};

template <class Cut>
class Tokenization::CuttingBy : public Cutting {
public:
    CuttingBy(std::string_view text, TextRules rules, std::size_t window) : text_(text), rules_(rules), window_(window) {}

    bool done() const override { return at_ == text_.size(); }
    std::size_t position() const override {
        if (!stretch_) return at_;
        return static_cast<std::size_t>(reinterpret_cast<const char*>(stretch_->position()) - text_.data());
    }

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
std::size_t Tokenization::position() const { return cutting_->position(); }
void Tokenization::next(Tokens& tokens) { cutting_->next(tokens); }

void tokenize(std::string_view text, TextRules rules, Tokens& tokens) {
    text = tokens.undisguised(text, rules);
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

}  // namespace sparsedistill
