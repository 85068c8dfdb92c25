// What both readings of the counter need. Only for count.cpp and spell.cpp.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "characters.h"
#include "count.h"
#include "hash.h"
#include "kernels.h"
#include "tokenize.h"

namespace sparsedistill {

// Hashes of the n-grams of a text, from the shortest on: two families, so that together they can stand for the n-gram. Its
// units are tokens, or the code points of marked words.
class Chain {
public:
    Chain(TextRules rules, unsigned max_n, const std::optional<Characters>& characters, const CharacterHashes (&hashes)[2])
        : least(characters ? characters->least : 1), most(characters ? characters->most : max_n), rules_(rules),
          characters_(characters.has_value()), hashes_(hashes) {}

    const unsigned least, most;  // units of an n-gram

    // Calls use(starts) for each block of the text: its n-grams begin with the units 0 to starts - 1, where they are as long as
    // the shortest.
    template <class Use>
    void read(std::string_view text, const Stop& stop, Use use) {
        const std::size_t block = characters_ ? 1 << 10 : 1 << 13;  // of tokens
        for_blocks(text, rules_, characters_ ? 1 : most, block, tokens_, stop, [&](std::size_t starts, std::size_t count) {
            use(characters_ ? hash_characters(starts) : hash_tokens(starts, count));
        });
    }

    struct Key {
        std::uint64_t key, other;
        std::uint32_t more() const { return static_cast<std::uint32_t>(other) & 0xFFFFFF; }
    };
    Key& operator[](std::size_t i) { return hash_[i]; }
    // Whether an n-gram of n units begins with the i-th.
    bool has(std::size_t i, unsigned n) const { return i + n <= (characters_ ? words_.end(i) : count_); }
    // The hash there was, of all before `unit`, and that unit.
    Key extended(std::size_t from, std::size_t unit) const { return extended(hash_[from], unit_[unit]); }
    // Appends the string of n units from the i-th on.
    void spell(std::size_t i, unsigned n, Large<char>& bytes) const {
        const auto append = [&](std::string_view part) { bytes.insert(bytes.end(), part.begin(), part.end()); };
        if (characters_) {
            bytes.push_back(' ');
            return append(words_.run(i, n));
        }
        for (unsigned k = 0; k < n; ++k) {
            if (k) bytes.push_back(' ');
            append(tokens_[i + k]);
        }
    }

private:
    static Key extended(const Key& prefix, const Key& unit) {
        return {extend_hash(prefix.key, unit.key), extend_hash(prefix.other, unit.other)};
    }
    std::size_t hash_tokens(std::size_t starts, std::size_t count) {
        count_ = count;
        grow(count, unit_, hash_);
        for (std::size_t i = 0; i < count; ++i) {
            const auto token = tokens_[i];
            unit_[i] = hash_[i] = {token_hash(token.data(), token.size(), hashes_[0].key()),
                                   token_hash(token.data(), token.size(), hashes_[1].key())};
        }
        return starts;
    }
    std::size_t hash_characters(std::size_t starts) {
        words_.clear();
        for (std::size_t t = 0; t < starts; ++t) words_.add(tokens_[t]);
        const std::size_t count = words_.size();
        grow(count, unit_, hash_);
        for (std::size_t i = 0; i < count; ++i) unit_[i] = {hashes_[0](words_.point(i)), hashes_[1](words_.point(i))};
        for (std::size_t i = 0; i < count; ++i) {
            hash_[i] = {hashes_[0].start(), hashes_[1].start()};
            for (unsigned k = 0; k < least && has(i, least); ++k) hash_[i] = extended(hash_[i], unit_[i + k]);
        }
        return count;
    }

    const TextRules rules_;
    const bool characters_;
    const CharacterHashes (&hashes_)[2];
    Tokens tokens_;
    MarkedWords words_;
    std::size_t count_ = 0;  // of tokens
    std::vector<Key> unit_, hash_;
};

inline constexpr std::size_t ahead = Kernels::hashes_ahead, at_once = 1 << 13;  // numbers worked on between two polls

// One thread's strings of n-grams, each claimed by the thread that first came across it.
class Counter::Speller {
public:
    Speller(Counter& counter, std::size_t number)
        : counter_(counter), number_(static_cast<std::uint32_t>(number)),
          chain_(counter.rules_, counter.max_n_, counter.characters_, counter.hashes_) {}

    std::string_view operator[](const Spelled& one) const { return {bytes_.data() + one.begin, one.size}; }

    void spell(std::string_view text, bool tally, const Stop& stop) {
        chain_.read(text, stop, [&](std::size_t starts) { spell_block(starts, tally); });
    }

private:
    void spell_block(std::size_t starts, bool tally);

    Counter& counter_;
    const std::uint32_t number_;
    Chain chain_;
    std::vector<std::uint32_t> places_;
    Large<char> bytes_;
};

}  // namespace sparsedistill
