// What is read of a long text: some bytes of it. The plain twin in Python is in tests/reference.py.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace sparsedistill {

// head: the first bytes; head_tail: half of them from either end; spread: slices of one size, from the first to the last byte
// at one distance.
struct Excerpt {
    enum class Of { head, head_tail, spread } of = Of::head;
    std::size_t bytes = 0;  // of UTF-8, at most; as many as there are slices, at least

    std::size_t slices() const { return of == Of::head ? 1 : of == Of::head_tail ? 2 : 8; }
};

// "head", "head+tail" or "spread"; nothing for another name.
std::optional<Excerpt::Of> excerpt_named(std::string_view name);

// Writes slices() views into `text`, in order: of a text of no more bytes the whole, then empty ones. A slice begins and ends
// between words (as windows have them, core/segment.h), up to 256 bytes but not half a slice nearer to its middle; where no
// word ends there, between code points.
void take_slices(std::string_view text, const Excerpt& excerpt, std::string_view* slices);

}  // namespace sparsedistill
