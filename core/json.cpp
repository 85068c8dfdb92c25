#include "json.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <locale>
#include <sstream>

#include "unicode.h"

namespace sparsedistill {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The value of a hexadecimal digit, or -1.
int hex(char c) {
    if (is_digit(c)) return c - '0';
    c = static_cast<char>(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte at which the text is no UTF-8, or its size.
std::size_t first_ill_formed(std::string_view text) {
    const auto* const begin = reinterpret_cast<const unsigned char*>(text.data());
    const unsigned char *p = begin, *const end = begin + text.size();
    while (p < end) {
        const unsigned char* const at = p;
        if (decode(p, end) != replacement) continue;
        const auto from = static_cast<std::size_t>(at - begin);
        if (text.substr(from, static_cast<std::size_t>(p - at)) != "\xEF\xBF\xBD") return from;  // U+FFFD itself
    }
    return text.size();
}

// What a checked string between quotes means.
std::string unescaped(std::string_view source) {
    std::string result;
    result.reserve(source.size());
    const auto code_at = [&](std::size_t at) {
        std::uint32_t code = 0;
        for (std::size_t i = 0; i < 4; ++i) code = code << 4 | static_cast<std::uint32_t>(hex(source[at + i]));
        return code;
    };
    for (std::size_t at = 0; at < source.size(); ++at) {
        if (source[at] != '\\') {
            result += source[at];
            continue;
        }
        const char escape = source[++at];
        if (escape != 'u') {
            constexpr std::string_view from = "bfnrt", to = "\b\f\n\r\t";
            const std::size_t found = from.find(escape);
            result += found == from.npos ? escape : to[found];
            continue;
        }
        std::uint32_t code = code_at(at + 1);
        at += 4;
        if (code >= 0xD800 && code < 0xDC00 && source.substr(at + 1, 2) == "\\u") {
            const std::uint32_t low = code_at(at + 3);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
        }
        char bytes[4];
        result.append(bytes, encode(code, bytes));
    }
    return result;
}

// The same in one line of valid UTF-8.
std::string printable(std::string_view text) {
    std::string result;
    const auto* p = reinterpret_cast<const unsigned char*>(text.data());
    for (const auto* const end = p + text.size(); p < end;) {
        const std::uint32_t code = decode(p, end);  // a surrogate reads as three that are ill-formed
        const bool breaks = code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029;
        char bytes[4];
        result.append(bytes, encode(breaks ? '?' : code, bytes));
    }
    return result;
}

}  // namespace

std::string in_quotes(std::string_view name) { return std::string(1, '\'').append(printable(name)) += '\''; }

class Json::Parser {
public:
    Parser(std::string_view text, const std::string& what, std::vector<Node>& nodes) : text_(text), what_(what), nodes_(nodes) {}

    void parse() {
        if (text_.size() > std::numeric_limits<std::uint32_t>::max()) fail("it is 4 GiB or longer");
        at_ = first_ill_formed(text_);
        if (at_ < text_.size()) fail("not UTF-8");
        at_ = 0;
        value(0);
        skip_space();
        if (at_ < text_.size()) fail("more than one value");
    }

private:
    [[noreturn]] void fail(const std::string& why) const {
        throw FormatError(what_ + " is not JSON: at byte " + std::to_string(at_) + ": " + why);
    }

    // The next character, NUL at the end: which JSON allows nowhere.
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }
    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    void value(unsigned nested) {
        skip_space();
        const std::size_t node = nodes_.size(), begin = at_;
        nodes_.push_back({});
        const char first = peek();
        Kind kind = Kind::null;
        if (first == '{') {
            kind = Kind::object;
            object(node, nested + 1);
        } else if (first == '[') {
            kind = Kind::array;
            array(nested + 1);
        } else if (first == '"') {
            kind = Kind::string;
            string();
        } else if (first == '-' || is_digit(first)) {
            kind = number();
        } else if (take("true") || take("false")) {
            kind = Kind::boolean;
        } else if (!take("null")) {
            if (take("NaN") || take("Infinity")) fail(std::string(text_.substr(begin, at_ - begin)) + " is no number");
            fail("a value was expected");
        }
        nodes_[node] = {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(at_ - begin),
                        static_cast<std::uint32_t>(nodes_.size()), kind};
    }

    // Calls item() for all there is up to `close`.
    template <class Item>
    void items(char close, unsigned nested, Item item) {
        if (nested > most_nested) fail("more than " + std::to_string(most_nested) + " arrays and objects one in the other");
        ++at_;
        skip_space();
        if (peek() != close)
            for (;; ++at_) {
                item();
                skip_space();
                if (peek() == close) break;
                if (peek() != ',') fail("a comma or the end of an array or object was expected");
            }
        ++at_;
    }

    void array(unsigned nested) {
        items(']', nested, [&] { value(nested); });
    }

    void object(std::size_t node, unsigned nested) {
        items('}', nested, [&] {
            skip_space();
            if (peek() != '"') fail("a name was expected");
            value(nested);
            skip_space();
            if (!take(":")) fail("a colon was expected");
            value(nested);
        });
        refuse_twice(node);
    }

    void refuse_twice(std::size_t node) const {
        std::vector<std::string_view> names;
        std::deque<std::string> decoded;  // those that are not what they mean
        for (std::size_t at = node + 1; at < nodes_.size(); at = nodes_[at + 1].end) {
            std::string_view name = text_.substr(nodes_[at].begin + 1, nodes_[at].size - 2);
            if (name.find('\\') != name.npos) name = decoded.emplace_back(unescaped(name));
            names.push_back(name);
        }
        std::sort(names.begin(), names.end());
        const auto twice = std::adjacent_find(names.begin(), names.end());
        if (twice != names.end()) fail(in_quotes(*twice) + " is there twice");
    }

    void string() {
        for (++at_; peek() != '"'; ++at_) {
            if (at_ == text_.size()) fail("a string has no end");
            if (static_cast<unsigned char>(peek()) < 0x20) fail("a control character in a string");
            if (peek() != '\\') continue;
            ++at_;
            if (!peek() || std::string_view("\"\\/bfnrtu").find(peek()) == std::string_view::npos) fail("no such escape");
            if (peek() != 'u') continue;
            for (int i = 0; i < 4; ++i) {
                ++at_;
                if (hex(peek()) < 0) fail("\\u has four hexadecimal digits");
            }
        }
        ++at_;
    }

    std::size_t digits() {
        const std::size_t begin = at_;
        while (is_digit(peek())) ++at_;
        if (at_ == begin) fail("a digit was expected");
        return at_ - begin;
    }

    Kind number() {
        if (peek() == '-') ++at_;
        if (take("Infinity")) fail("-Infinity is no number");
        const std::size_t begin = at_, whole = digits();
        if (whole > 1 && text_[begin] == '0') fail("a number begins with 0");
        Kind kind = Kind::integer;
        if (peek() == '.') {
            kind = Kind::real;
            ++at_;
            digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            kind = Kind::real;
            ++at_;
            if (peek() == '+' || peek() == '-') ++at_;
            digits();
        }
        if (kind == Kind::integer && whole > most_digits) fail("an integer of more than 4300 digits");
        return kind;
    }

    const std::string_view text_;
    const std::string& what_;
    std::vector<Node>& nodes_;
    std::size_t at_ = 0;
};

Json::Json(std::string_view text, const std::string& what) : text_(text) { Parser(text, what, nodes_).parse(); }

Json::Kind Json::Value::kind() const { return json_->nodes_[at_].kind; }

std::string_view Json::Value::source() const {
    const Node& node = json_->nodes_[at_];
    return json_->text_.substr(node.begin, node.size);
}

bool Json::Value::boolean() const { return source() == "true"; }

std::optional<std::uint64_t> Json::Value::whole() const {
    std::uint64_t result = 0;
    const std::string_view all = source();
    const bool negative = all[0] == '-';
    for (const char c : all.substr(negative)) {
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (result > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return {};
        result = 10 * result + digit;
    }
    if (negative && result) return {};
    return result;
}

double Json::Value::number() const {
    std::istringstream in{std::string(source())};
    in.imbue(std::locale::classic());
    double result = 0;
    in >> result;
    return result;
}

std::string Json::Value::string() const { return unescaped(source().substr(1, source().size() - 2)); }

std::optional<Json::Value> Json::Value::find(std::string_view name) const {
    std::optional<Value> found;
    each_member([&](const std::string& mine, const Value& value) {
        if (mine == name) found = value;
    });
    return found;
}

std::string Json::Value::shown() const {
    const std::string_view all = source();
    std::size_t size = std::min<std::size_t>(all.size(), 60);
    while (size < all.size() && (static_cast<unsigned char>(all[size]) & 0xC0) == 0x80) --size;  // not inside a character
    return printable(all.substr(0, size)) + (size < all.size() ? "..." : "");
}

}  // namespace sparsedistill
