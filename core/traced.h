// Text that is rewritten in place: of characters, ASCII alone, of code points, or of code points that know where they come from.
#pragma once

#include <cstdint>
#include <vector>

#include "segment.h"

namespace sparsedistill {

struct Traced {
    char32_t code;
    Part from;

    operator char32_t() const { return code; }
};
// The same one, as another code point; and that it stands for what went, too.
template <class T>
T changed(T, std::uint32_t code) {
    return static_cast<T>(code);
}
inline Traced changed(Traced point, std::uint32_t code) { return {code, point.from}; }
template <class T>
void absorb(T&, T) {}
inline void absorb(Traced& point, Traced gone) { point.from.end = gone.from.end; }

inline void put(std::vector<char32_t>& points, std::uint32_t code, Part) { points.push_back(code); }
inline void put(std::vector<Traced>& points, std::uint32_t code, Part from) { points.push_back({code, from}); }

}  // namespace sparsedistill
