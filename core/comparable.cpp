#include "comparable.h"

#include <algorithm>

#include "reader.h"

namespace sparsedistill {

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
