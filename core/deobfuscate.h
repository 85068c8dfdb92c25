// Words that were disguised from those who count them: look-alikes, spacing tricks, digits for letters. The rule is that of
// docs/FORMAT.md, "Disguised words"; its plain reference in Python is in tests/reference.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "large.h"
#include "parallel.h"
#include "segment.h"

namespace sparsedistill {

// Scratch memory of it, kept from text to text: as large as the text where that is ASCII, eight times that at most elsewhere.
class Deobfuscator {
public:
    // The text as it would be without disguise, until the next call: no more code points than `text` has bytes, which are
    // whatever they are. Takes time as the text is long.
    std::string_view operator()(std::string_view text, const Stop& stop);

    std::size_t capacity() const { return bytes_.capacity() + points_.capacity() * sizeof(char32_t); }

private:
    std::string bytes_;
    std::vector<char32_t> points_;
};

// The same slowly, with the bytes of `text` that each byte of `out` comes from. Letters that were left out belong to the one
// before them that stayed, whose repetition they were.
void deobfuscate(std::string_view text, std::string& out, std::vector<Part>& from, const Stop& stop);

}  // namespace sparsedistill
