// Reading a text code point by code point: inline, for it is the inner loop of all text that is not ASCII.
#pragma once

#include <string_view>

#include "text_rules.h"
#include "unicode.h"

namespace sparsedistill {

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
    [[gnu::noinline]] Point normalized(Point point);

    const unsigned char *begin_, *p_, *last_, *end_, *pause_;
    const unsigned char *start_ = nullptr, *ahead_at_ = nullptr;  // of the last code point read, and of the next
    Point ahead_;
    bool prepared_, lowercase_, leaves_out_;
    unsigned folds_, attention_;
    std::size_t at_ = 0, filled_ = 0;  // of points_, what is yet to be read
    std::uint32_t points_[most * longest_decomposition + 4];
};

}  // namespace sparsedistill
