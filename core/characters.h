// Character n-grams of words (docs/FORMAT.md, "Character n-grams"): which there are, and how they are hashed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hash.h"
#include "large.h"
#include "tokenize.h"

namespace sparsedistill {

// Whose character n-grams are looked up beside the n-grams of tokens: those of no token, of tokens whose unigram is unknown, or
// of all; and how many code points they have.
struct Characters {
    enum class Of { none, unknown, all };
    static constexpr unsigned longest = 16;  // code points

    Of of = Of::none;
    unsigned least = 3, most = 6;

    // Of a token without an n-gram of its own, a byte of it at most.
    std::size_t rows_a_byte() const { return std::size_t{4 - std::min(least, 3u)} * (most - least + 1); }
};

// Nothing for a name that is none.
inline std::optional<Characters::Of> characters_named(std::string_view name) {
    if (name == "none") return Characters::Of::none;
    if (name == "unknown") return Characters::Of::unknown;
    if (name == "all") return Characters::Of::all;
    return {};
}

// Bytes of the code point at the start of `left` bytes of UTF-8.
inline std::size_t point_size(const char* p, std::size_t left) {
    std::size_t size = 1;
    while (size < std::min<std::size_t>(left, 4) && (p[size] & 0xC0) == 0x80) ++size;
    return size;
}

// A token with one edit, of a kind, at a place and with a code point of the token that `random` says: two neighbours swapped, or
// one code point gone, new, or another one. Of a long one the beginning, which is all that MarkedWords takes; of less than three
// code points as it is. `out` has the result's bytes.
std::string_view mistyped(std::string_view token, std::uint64_t random, std::string& out);

// Hashes of code points as tokens; those of ASCII are at hand.
class CharacterHashes {
public:
    explicit CharacterHashes(const HashKey& key) : key_(key) {
        char point[Tokens::slack] = {};
        for (unsigned c = 0; c < 128; ++c) {
            point[0] = static_cast<char>(c);
            ascii_[c] = token_hash(point, 1, key);
        }
        start_ = token_hash(point, 0, key);
    }

    const HashKey& key() const { return key_; }
    std::uint64_t start() const { return start_; }  // of the n-gram before its first code point
    // `point` is one code point in UTF-8, of which sixteen bytes can be read.
    std::uint64_t operator()(std::string_view point) const {
        return point.size() == 1 ? ascii_[static_cast<unsigned char>(point[0])] : token_hash(point.data(), point.size(), key_);
    }

private:
    HashKey key_;
    std::uint64_t start_;
    std::array<std::uint64_t, 128> ascii_;
};

// The marked words of some tokens, one after the other: each between two blanks, cut to its first 64 code points.
class MarkedWords {
public:
    static constexpr std::size_t longest = 64;  // code points; more than a run has, so that a word that is cut is no run

    void clear() { size_ = used_ = 0; }
    std::size_t size() const { return size_; }  // code points
    std::string_view point(std::size_t i) const { return run(i, 1); }
    // `n` code points from the i-th on.
    std::string_view run(std::size_t i, std::size_t n) const { return {bytes_.data() + at_[i], std::size_t{at_[i + n] - at_[i]}}; }
    // A character n-gram from code point i on ends here at the latest: at the word's end, or before it at its start.
    std::size_t end(std::size_t i) const { return end_[i]; }

    // Where each word begins.
    std::vector<std::size_t> starts() const {
        std::vector<std::size_t> result;
        for (std::size_t i = 0; i < size_; i = end_[i] + std::size_t{1}) result.push_back(i);
        return result;
    }

    // A token in UTF-8.
    void add(std::string_view token) {
        const std::size_t most = std::min(token.size() + 2, longest);  // code points; of four bytes at most
        grow(size_ + most + 1, at_, end_);
        grow(used_ + 4 * most + Tokens::slack, bytes_);
        const std::size_t first = size_;
        push(" ");
        for (std::size_t i = 0, size; i < token.size() && size_ - first < longest; i += size) {
            size = point_size(token.data() + i, token.size() - i);
            push(token.substr(i, size));
        }
        if (size_ - first < longest) push(" ");
        at_[size_] = static_cast<std::uint32_t>(used_);
        std::fill(end_.begin() + static_cast<std::ptrdiff_t>(first), end_.begin() + static_cast<std::ptrdiff_t>(size_),
                  static_cast<std::uint32_t>(size_));
        --end_[first];  // the whole word says what the token does
    }

    std::size_t capacity() const { return bytes_.capacity() + 4 * (at_.capacity() + end_.capacity()); }  // bytes

private:
    void push(std::string_view point) {
        at_[size_++] = static_cast<std::uint32_t>(used_);
        std::copy(point.begin(), point.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(used_));
        used_ += point.size();
    }

    std::vector<char> bytes_;
    std::vector<std::uint32_t> at_, end_;  // where a code point begins, with one more; and what end() gives
    std::size_t size_ = 0, used_ = 0;
};

}  // namespace sparsedistill
