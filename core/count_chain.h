// What both readings of the counter need. Only for count.cpp and spell.cpp.
#pragma once

#include <string_view>
#include <vector>

#include "count.h"
#include "hash.h"
#include "kernels.h"
#include "tokenize.h"

namespace sparsedistill {

// Hashes of the n-grams of a text, n = 1, 2, ...: two families, so that together they can stand for the n-gram.
class Chain {
public:
    // Calls use(starts, count) for each block of the text, as for_blocks() does.
    template <class Use>
    void read(std::string_view text, TextRules rules, unsigned max_n, const HashKey (&keys)[2], const Stop& stop, Use use) {
        for_blocks(text, rules, max_n, block, tokens_, stop, [&](std::size_t starts, std::size_t count) {
            grow(count, token_, hash_);
            for (std::size_t i = 0; i < count; ++i) {
                const auto token = tokens_[i];
                token_[i] = hash_[i] = {token_hash(token.data(), token.size(), keys[0]),
                                        token_hash(token.data(), token.size(), keys[1])};
            }
            use(starts, count);
        });
    }

    struct Key {
        std::uint64_t key, other;
        std::uint32_t more() const { return static_cast<std::uint32_t>(other) & 0xFFFFFF; }
    };
    const Tokens& tokens() const { return tokens_; }
    Key& operator[](std::size_t i) { return hash_[i]; }
    Key extended(std::size_t from, std::size_t token) const {
        return {extend_hash(hash_[from].key, token_[token].key), extend_hash(hash_[from].other, token_[token].other)};
    }

private:
    static constexpr std::size_t block = 1 << 13;  // of tokens

    Tokens tokens_;
    std::vector<Key> token_, hash_;
};

inline constexpr std::size_t ahead = Kernels::hashes_ahead, at_once = 1 << 13;  // numbers worked on between two polls

// One thread's strings of n-grams, each claimed by the thread that first came across it.
class Counter::Speller {
public:
    Speller(Counter& counter, std::size_t number) : counter_(counter), number_(static_cast<std::uint32_t>(number)) {}

    std::string_view operator[](const Spelled& one) const { return {bytes_.data() + one.begin, one.size}; }

    void spell(std::string_view text, bool tally, const Stop& stop) {
        chain_.read(text, counter_.rules_, counter_.max_n_, counter_.keys_, stop,
                    [&](std::size_t starts, std::size_t count) { spell_block(starts, count, tally); });
    }

private:
    void spell_block(std::size_t starts, std::size_t count, bool tally);
    void keep(std::uint32_t index, std::size_t first, unsigned n);

    Counter& counter_;
    const std::uint32_t number_;
    Chain chain_;
    std::vector<std::uint32_t> places_;
    Large<char> bytes_;
};

}  // namespace sparsedistill
