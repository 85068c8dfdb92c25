// n-gram hash -> row: an open-addressed table that is mapped from disk and read in place.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "hash.h"
#include "text.h"

namespace sparsedistill {

// A slot holds tag (high 32 bits) and row (low 32 bits). Tag and home position use disjoint bits of the hash.
class Lookup {
public:
    static constexpr std::uint32_t none = 0xFFFFFFFF;
    static constexpr std::uint64_t empty_slot = none;

    Lookup(std::span<const std::uint64_t> slots, std::uint32_t rows, std::uint64_t seed)
        : slots_(slots.data()), mask_(slots.size() - 1), rows_(rows), seed_(seed) {
        if (slots.size() < 2 || (slots.size() & mask_) != 0 || slots.size() > (std::uint64_t{1} << 32))
            throw std::invalid_argument("the number of slots is not a power of two between 2 and 2^32");
    }

    std::uint64_t seed() const { return seed_; }
    std::uint32_t rows() const { return rows_; }

    void prefetch(std::uint64_t hash) const { __builtin_prefetch(slots_ + (hash & mask_)); }

    // The row of the n-gram with this hash, or none. A slot is not trusted: a row past the end and a table without an
    // empty slot can only come from a damaged file and throw.
    std::uint32_t find(std::uint64_t hash) const {
        std::uint64_t at = hash & mask_;
        for (std::uint64_t probes = 0; probes <= mask_; ++probes) {
            const std::uint64_t slot = slots_[at];
            const auto row = static_cast<std::uint32_t>(slot);
            if (row == none) return none;
            if (slot >> 32 == hash >> 32) {
                if (row >= rows_) throw std::out_of_range("a slot of the lookup table names a row that does not exist");
                return row;
            }
            at = (at + 1) & mask_;
        }
        throw std::out_of_range("the lookup table has no empty slot");
    }

private:
    const std::uint64_t* slots_;
    std::uint64_t mask_;
    std::uint32_t rows_;
    std::uint64_t seed_;
};

// n-grams as strings, tokens joined by one space: n-gram i is bytes[offsets[i], offsets[i + 1]).
struct NgramStrings {
    std::span<const char> bytes;
    std::span<const std::uint64_t> offsets;

    std::size_t size() const { return offsets.size() - 1; }
    std::string_view operator[](std::size_t i) const {
        return {bytes.data() + offsets[i], static_cast<std::size_t>(offsets[i + 1] - offsets[i])};
    }
};

// Hash of an n-gram given as a string.
std::uint64_t ngram_hash(std::string_view ngram, std::uint64_t seed);

// Slots for n-grams 0..V-1, inserted in this order (frequent ones nearest their home); at most half of them are used.
// Nothing where two n-grams cannot be told apart under this seed: take the next.
std::optional<std::vector<std::uint64_t>> build_slots(NgramStrings ngrams, std::uint64_t seed);

// Scratch memory and results of looking up a few texts at once, so that the loads of one text hide behind another's.
class BagReader {
public:
    BagReader(const Lookup& lookup, TextRules rules, unsigned max_n)
        : lookup_(lookup), rules_(rules), max_n_(max_n) {}

    // Finds the rows of all known n-grams of the texts. Order within a text: unigrams from left to right, then
    // bigrams, and so on. An n-gram is looked up only where its prefix is known (the vocabulary is prefix-closed).
    void read(std::span<const std::string_view> texts);

    std::size_t size() const { return text_count_; }
    std::span<const std::uint32_t> operator[](std::size_t text) const {
        return {hits_.data() + bounds_[text], hits_.data() + bounds_[text + 1]};
    }
    // All rows found, text after text.
    std::span<const std::uint32_t> rows() const { return {hits_.data(), bounds_[text_count_]}; }
    // Position and length in tokens of each row of rows(): filled by read() after want_places(true).
    struct Place {
        std::uint32_t first, n;
    };
    void want_places(bool wanted) { want_places_ = wanted; }
    std::span<const Place> places() const { return places_; }
    const Tokens& tokens() const { return tokens_; }

private:
    const Lookup& lookup_;
    TextRules rules_;
    unsigned max_n_;
    bool want_places_ = false;
    std::size_t text_count_ = 0;
    Tokens tokens_;
    std::vector<std::size_t> token_bounds_, bounds_;
    std::vector<std::uint64_t> token_hash_, chain_hash_;
    std::vector<std::uint32_t> alive_, found_, hits_;
    std::vector<std::size_t> alive_count_, found_count_;
    std::vector<Place> found_places_, places_;
};

}  // namespace sparsedistill
