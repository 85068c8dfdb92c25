// Where the tokens of a text come from, for explanations. It is slow, and apart from what labels texts, which keeps no positions.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "parallel.h"
#include "segment.h"
#include "text_rules.h"

namespace sparsedistill {

class Origins {
public:
    // Of the tokens that tokenize() gives. Takes time as the text is long, about a hundred times as much as that.
    Origins(std::string_view text, TextRules rules, const Stop& stop = Stop());

    std::size_t size() const { return from_.size() - 1; }                         // tokens
    std::size_t points(std::size_t token) const { return from_[token + 1] - from_[token]; }  // code points of one
    // The bytes of the text that code points [first, last), one or more, of a token come from: whole code points, no invisible
    // one at either end. What NFC writes anew comes from all that it was made of.
    Part part(std::size_t token, std::size_t first, std::size_t last) const {
        return {points_[from_[token] + first].begin, points_[from_[token] + last - 1].end};
    }
    // Of `count` tokens, one or more.
    Part part(std::size_t token, std::size_t count) const {
        return {points_[from_[token]].begin, points_[from_[token + count] - 1].end};
    }

private:
    std::vector<Part> points_;             // of each code point of the tokens
    std::vector<std::size_t> from_ = {0};  // those of a token
};

}  // namespace sparsedistill
