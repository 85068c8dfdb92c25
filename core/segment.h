// A text -> its parts: sentences, paragraphs, windows of words. Their plain twins in Python are in tests/reference.py.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "parallel.h"

namespace sparsedistill {

// sentence: by Unicode Standard Annex 29 (version of unicode_table.h), and
// - a line tabulation and a form feed end a line, and so a sentence, as a line feed does;
// - a full stop with white space behind it ends none after an initial (one capital, but not the word "I": J. Smith, the U.S.
//   Army), after an abbreviation that hardly ever ends one (Dr., e.g.) and, where a number follows, after one of those that
//   stand before numbers (No. 5, Jan. 3). The lists are in segment.cpp.
// paragraph: between blank lines. A line ends with CR LF, LF, CR, a line tabulation, a form feed, NEL, U+2028 or U+2029; it is
// blank where it has nothing but white space.
// window: `size` words, each window begins `step` words after the one before, the last one ends with the text. A word is what
// stands between white space; in scripts without spaces between words, each character with its marks.
enum class PartKind { sentence, paragraph, window };

struct Parting {
    PartKind kind;
    std::size_t size = 0, step = 0;  // of windows: 1 <= step <= size
};

// Bytes [begin, end) of a text: whole code points, with no white space at either end.
struct Part {
    std::size_t begin, end;
};

// Appends the parts of `text`, in order. A text of white space alone has none. Between parts stands white space or nothing;
// only windows with step < size overlap. Any bytes are accepted, as tokenize() accepts them.
void segment(std::string_view text, const Parting& parting, std::vector<Part>& parts, const Stop& stop = Stop());

// Appends the ends of the sentences by the annex alone, nothing left out: for its conformance test.
void sentence_ends(std::string_view text, std::vector<std::size_t>& ends);

// The parts of many texts, end to end: those of text t are [from[t], from[t + 1]).
struct Parts {
    std::vector<Part> all;
    std::vector<std::size_t> from;
};
Parts segment(std::span<const std::string_view> texts, const Parting& parting, unsigned threads, const Stop& stop = Stop());

// From bytes to code points.
void count_in_code_points(std::span<const std::string_view> texts, Parts& parts, unsigned threads, const Stop& stop = Stop());

// Code points that begin in `text`, as Python counts those of the str that has this UTF-8.
std::size_t code_points(std::string_view text);

}  // namespace sparsedistill
