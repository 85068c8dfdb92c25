#include "reader.h"

#include <algorithm>
#include <iterator>

namespace sparsedistill {

Point Reader::normalized(Point point) {
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

}  // namespace sparsedistill
