// n-gram hash -> row: a table of cache lines that is mapped from disk and read in place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "characters.h"
#include "hash.h"
#include "kernels.h"
#include "large.h"
#include "parallel.h"
#include "tokenize.h"

namespace sparsedistill {

// A line of sixteen 32-bit numbers holds slots: their contents from its start, their tags at its end. A slot's content is
// a row id, or, in the table of a classifier without a rows array, C int16 values. Tag and home line use disjoint bits
// of the hash; tag 0 marks an empty slot.
class Lookup {
public:
    static constexpr std::uint32_t none = 0xFFFFFFFF;
    static constexpr std::uint32_t most_columns = 4;
    static constexpr std::uint32_t slots_of(std::uint32_t columns) {
        return columns == 0 ? 8 : static_cast<std::uint32_t>(64 / (4 + 2 * columns));
    }

    // `columns`: of the values in the slots; 0 where they hold ids of `rows` rows. Without a table each n-gram has one of
    // `rows` rows, which its hash names (Weinberger et al. 2009).
    Lookup(std::span<const std::uint32_t> table, std::uint32_t rows, std::uint32_t columns, std::uint64_t seed)
        : lines_{table.data(), table.size() / Lines::lanes, slots_of(columns), columns, rows}, key_(seed) {
        if (table.empty() ? !rows : table.size() % Lines::lanes || lines_.count > std::uint64_t{1} << 28)
            throw std::invalid_argument("the lookup table is not 1 to 2^28 lines of sixteen numbers");
        if (columns > (table.empty() ? 0 : most_columns)) throw std::invalid_argument("a slot has no room for more than four values");
    }

    const Lines& lines() const { return lines_; }
    const HashKey& key() const { return key_; }

    void prefetch(std::uint64_t hash) const {
        __builtin_prefetch(lines_.data + ((hash & 0xFFFFFFFF) * lines_.count >> 32) * Lines::lanes);
    }

private:
    Lines lines_;
    HashKey key_;
};

// n-grams as strings, tokens joined by one space, character n-grams behind one: n-gram i is bytes[offsets[i], offsets[i + 1]).
struct NgramStrings {
    std::span<const char> bytes;
    std::span<const std::uint64_t> offsets;

    std::size_t size() const { return offsets.size() - 1; }
    std::string_view operator[](std::size_t i) const {
        return {bytes.data() + offsets[i], static_cast<std::size_t>(offsets[i + 1] - offsets[i])};
    }
};

// Hash of an n-gram given as a string.
std::uint64_t ngram_hash(std::string_view ngram, const HashKey& key);

// The table of n-grams 0..V-1, inserted in this order (frequent ones nearest their home); half of its slots are used.
// `values`: (V, columns) to stand in the slots, or nothing where columns is 0. Nothing is returned where two n-grams
// cannot be told apart under this seed, or one would stand further than Lines::visited from its home: take the next.
std::optional<Large<std::uint32_t>> build_table(NgramStrings ngrams, const std::int16_t* values,
                                                      std::uint32_t columns, std::uint64_t seed,
                                                const Stop& stop = Stop());

// How text becomes rows. The n-grams of a text are taken in blocks of `block` tokens: all that begin in the first come before
// those of the second, those of tokens before those of characters.
struct Vocabulary {
    static constexpr std::size_t usual_block = 1 << 13;

    TextRules rules;
    unsigned max_n;
    Lookup lookup;
    std::size_t block = usual_block;  // another one only in tests
    Characters characters = {};
    CharacterHashes hashes = CharacterHashes(lookup.key());
};

// In training: tokens that are taken for unknown, each with a chance of `share` / 2^32. Their unigrams and the n-grams with them
// are not looked up; their characters are, of the token as it is or with a typo.
struct Forget {
    std::uint64_t share = 0, seed = 0;
    bool mistype = false;
    std::uint64_t text = 0;  // number of the first text

    // 0 of a token that is not forgotten, else random bits: a function of (seed, number of the text, number of the token).
    std::uint64_t operator()(std::uint64_t number, std::uint64_t token) const;
};

// Scratch memory of looking up a few texts at once, so that the loads of one text hide behind another's.
class BagReader {
public:
    // Those n-grams of a block of a text of length n whose prefix is known (the vocabulary is prefix-closed), from left to right.
    struct Candidates {
        std::size_t text;
        bool of_characters;
        unsigned n;  // tokens, or code points
        const std::uint64_t* hashes;
        const std::uint32_t* places;  // the tokens, or the code points of marked words, that they begin with
        std::size_t count;
        std::uint32_t* where;  // find() puts the indices of those it knows here
    };

    // Calls find(candidates), which returns the number of hits or Kernels::damaged: for all texts with n = 1, then for all
    // of them with n = 2, and so on; then for each text those of characters, the shortest first. A text of more bytes than a
    // block has tokens must be alone: its blocks come one after the other.
    template <class Find>
    void walk(const Vocabulary& vocabulary, std::span<const std::string_view> texts, const Stop& stop, Find find,
              const Forget& forget = {});

    // The string of the i-th candidate, inside find().
    std::string spelled(const Candidates& all, std::size_t i) const;
    // Where the first `count` of `where` stand in a text that is alone: the number of the first token, and for characters that of
    // the first code point in its marked word.
    struct Place {
        std::size_t token, point;
    };
    std::vector<Place> places(const Candidates& all, std::size_t count) const;
    std::size_t capacity() const;  // bytes

private:
    // Lines that the first cache has room for: of so few n-grams each is fetched as soon as its hash is known, of more
    // while others are looked up.
    static constexpr std::size_t at_once = 512;

    void hash_tokens(const Vocabulary& vocabulary);  // [0, the last of token_end_)
    void leave_out(const Forget& forget, std::uint64_t before);
    void note_unknown(std::size_t text, std::size_t begin, std::size_t hits);
    bool hash_characters(const Vocabulary& vocabulary, bool mistype);  // whether all lines that may be looked at are fetched
    template <class Find>
    void find_all(const Vocabulary& vocabulary, Find& find, const Forget& forget, std::uint64_t before);
    template <class Find>
    void find_characters(const Vocabulary& vocabulary, Find& find, bool mistype);
    Candidates candidates(std::size_t text, bool of_characters, unsigned n, std::size_t begin, std::size_t end) {
        return {text, of_characters, n, hash_.data() + begin, place_.data() + begin, end - begin, where_.data()};
    }

    Tokens tokens_;
    // n-grams still to be looked up, of all texts: hash and first token; those of text t are [from_[t], from_[t + 1]).
    std::vector<std::uint64_t> token_hash_, hash_;
    std::vector<std::uint32_t> place_, where_;
    std::vector<std::size_t> token_end_, from_;
    std::vector<std::uint64_t> forgotten_;  // what Forget gives of each token; none where nothing is forgotten
    std::string mistyped_;
    // The tokens whose characters are looked up; those of text t are [chosen_from_[t], chosen_from_[t + 1]).
    std::vector<std::uint32_t> chosen_;
    std::vector<std::size_t> chosen_from_, start_;  // the tokens that a text's n-grams begin with
    MarkedWords words_;  // of those chosen
    std::size_t before_ = 0;  // tokens of the blocks before, of a text that is alone
    std::vector<std::uint64_t> point_hash_;
};

// A table that names what does not exist; tables are checked where they are used, since they may be of any size.
struct Damaged : std::runtime_error {
    using std::runtime_error::runtime_error;
};
[[noreturn]] void throw_damaged();

// The rows of each text's known n-grams, end to end, and where each text's begin (texts + 1).
struct FoundBags {
    Large<std::uint32_t> ids;
    Large<std::uint64_t> offsets;
};
FoundBags find_bags(const Vocabulary& vocabulary, std::span<const std::string_view> texts, unsigned threads,
                    const Stop& stop = Stop(), const Forget& forget = {});

// Of each text: how many tokens it has, then how many of its n-grams of one token, of two ... of max_n have a row:
// (texts, 1 + max_n). Those of characters do not count.
Large<std::uint32_t> count_known(const Vocabulary& vocabulary, std::span<const std::string_view> texts, unsigned threads,
                                 const Stop& stop = Stop());

template <class Find>
void BagReader::walk(const Vocabulary& vocabulary, std::span<const std::string_view> texts, const Stop& stop, Find find,
                     const Forget& forget) {
    if (texts.size() == 1 && texts[0].size() > vocabulary.block) {
        std::uint64_t before = 0;  // tokens of the blocks before
        return for_blocks(texts[0], vocabulary.rules, vocabulary.max_n, vocabulary.block, tokens_, stop,
                          [&](std::size_t starts, std::size_t count) {
                              token_end_.assign(1, count);
                              from_.assign({0, starts});
                              find_all(vocabulary, find, forget, before);
                              before += starts;
                          });
    }
    tokens_.clear();
    token_end_.clear();
    from_.assign(1, 0);
    for (const auto text : texts) {
        tokenize(text, vocabulary.rules, tokens_);
        token_end_.push_back(tokens_.size());
        from_.push_back(tokens_.size());
    }
    find_all(vocabulary, find, forget, 0);
}

template <class Find>
void BagReader::find_all(const Vocabulary& vocabulary, Find& find, const Forget& forget, std::uint64_t before) {
    if (token_end_.empty()) return;
    before_ = before;
    const Characters& characters = vocabulary.characters;
    const bool unknown = characters.of == Characters::Of::unknown;
    hash_tokens(vocabulary);
    if (characters.of != Characters::Of::none) {
        start_ = from_;
        chosen_.clear();
        chosen_from_.assign(1, 0);
        forgotten_.clear();
        if (forget.share) leave_out(forget, before);
    }
    const bool forgets = !forgotten_.empty();
    const std::size_t texts = token_end_.size();
    for (unsigned n = 1; n <= vocabulary.max_n && (from_[texts] != 0 || (n == 1 && unknown)); ++n) {
        // Past the end stands what is fetched at no cost.
        std::fill_n(hash_.data() + from_[texts], Kernels::hashes_ahead, hash_[0]);
        const bool all_at_once = from_[texts] <= at_once;
        for (std::size_t i = 0; i < Kernels::hashes_ahead && !all_at_once; ++i) vocabulary.lookup.prefetch(hash_[i]);
        std::size_t kept = 0;
        for (std::size_t t = 0, begin = 0; t < texts; ++t) {
            const std::size_t end = from_[t + 1];
            std::size_t hits = find(candidates(t, false, n, begin, end));
            if (hits == Kernels::damaged) throw_damaged();
            if (n == 1 && unknown) note_unknown(t, begin, hits);
            // Places rise: only the last of them can be without a next token.
            while (hits && place_[begin + where_[hits - 1]] + n >= token_end_[t]) --hits;
            for (std::size_t i = 0; i < hits; ++i) {
                const std::size_t w = begin + where_[i];  // >= kept: what is overwritten has been read
                const std::uint32_t at = place_[w];
                if (forgets && forgotten_[at + n]) continue;
                place_[kept] = at;
                hash_[kept] = extend_hash(hash_[w], token_hash_[at + n]);
                if (all_at_once) vocabulary.lookup.prefetch(hash_[kept]);
                ++kept;
            }
            begin = end;
            from_[t + 1] = kept;
        }
    }
    if (characters.of != Characters::Of::none) find_characters(vocabulary, find, forget.mistype);
}

template <class Find>
void BagReader::find_characters(const Vocabulary& vocabulary, Find& find, bool mistype) {
    const Characters& characters = vocabulary.characters;
    const bool all_fetched = hash_characters(vocabulary, mistype);
    std::fill_n(hash_.data() + from_.back(), Kernels::hashes_ahead, hash_[0]);
    for (std::size_t t = 0; t < token_end_.size(); ++t) {
        const std::size_t begin = from_[t];
        std::size_t end = from_[t + 1];
        for (unsigned n = characters.least; n <= characters.most && begin != end; ++n) {
            for (std::size_t i = 0; i < Kernels::hashes_ahead && !all_fetched; ++i) vocabulary.lookup.prefetch(hash_[begin + i]);
            const std::size_t hits = find(candidates(t, true, n, begin, end));
            if (hits == Kernels::damaged) throw_damaged();
            end = begin;
            for (std::size_t i = 0; i < hits; ++i) {
                const std::size_t w = begin + where_[i];
                const std::uint32_t at = place_[w];
                if (at + n >= words_.end(at)) continue;
                place_[end] = at;
                hash_[end++] = extend_hash(hash_[w], point_hash_[at + n]);
            }
        }
    }
}

}  // namespace sparsedistill
