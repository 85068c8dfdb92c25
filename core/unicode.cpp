#include "unicode.h"

#include <algorithm>
#include <iterator>

namespace sparsedistill {

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

}  // namespace sparsedistill
