#include "excerpt.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "unicode.h"

namespace sparsedistill {

namespace {

using Byte = unsigned char;

constexpr std::size_t reach = 256;

bool continues(const Byte* p) { return (*p & 0xC0) == 0x80; }

// Whether a word may end or begin at `p`, which is between two code points.
bool between_words(const Byte* begin, const Byte* p, const Byte* end) {
    if (p == begin || p == end) return true;
    const Byte *before = p, *after = p;
    const Point left(decode_back(before, begin)), right(decode(after, end));
    if (left.space() || right.space()) return true;
    const Kind kind = right.kind();
    return (left.kind() == character || kind == character) && kind != mark && kind != joiner && kind != ignored;
}

// The place to end at instead of `p`, no more than `most` bytes before it.
const Byte* end_before(const Byte* begin, const Byte* p, const Byte* end, std::size_t most) {
    for (int i = 0; i < 3 && p != begin && p != end && continues(p); ++i) --p;
    for (const Byte* q = p; static_cast<std::size_t>(p - q) <= most; decode_back(q, begin))
        if (between_words(begin, q, end)) return q;
    return p;
}

// The place to begin at instead of `p`, no more than `most` bytes behind it.
const Byte* begin_after(const Byte* begin, const Byte* p, const Byte* end, std::size_t most) {
    for (int i = 0; i < 3 && p != begin && p != end && continues(p); ++i) ++p;
    for (const Byte* q = p; static_cast<std::size_t>(q - p) <= most; decode(q, end))
        if (between_words(begin, q, end)) return q;
    return p;
}

}  // namespace

std::optional<Excerpt::Of> excerpt_named(std::string_view name) {
    using enum Excerpt::Of;
    constexpr std::pair<std::string_view, Excerpt::Of> all[] = {{"head", head}, {"head+tail", head_tail}, {"spread", spread}};
    for (const auto& [known, of] : all)
        if (name == known) return of;
    return {};
}

void take_slices(std::string_view text, const Excerpt& excerpt, std::string_view* slices) {
    const std::size_t count = excerpt.slices(), size = excerpt.bytes / count, most = std::min(reach, size / 2);
    std::fill_n(slices, count, text.substr(0, 0));
    if (text.size() <= excerpt.bytes) {
        slices[0] = text;
        return;
    }
    const Byte* const begin = reinterpret_cast<const Byte*>(text.data());
    const Byte* const end = begin + text.size();
    const std::size_t between = count > 1 ? text.size() - size : 0;  // from the first byte of the first to that of the last
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = count > 1 ? between / (count - 1) * i + between % (count - 1) * i / (count - 1) : 0;
        const Byte* const first = begin_after(begin, begin + at, end, most);
        const Byte* const last = end_before(begin, begin + at + size, end, most);
        if (first < last) slices[i] = text.substr(static_cast<std::size_t>(first - begin), static_cast<std::size_t>(last - first));
    }
}

}  // namespace sparsedistill
