#include "lookup.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace sparsedistill {

void throw_damaged() {
    throw Damaged("the lookup table has no empty slot, or names a row that does not exist");
}

std::uint64_t ngram_hash(std::string_view ngram, std::uint64_t seed) {
    std::uint64_t hash = 0;
    std::string token;  // a copy, because the hash reads past the token's end
    for (std::size_t begin = 0;;) {
        const std::size_t end = std::min(ngram.find(' ', begin), ngram.size());
        token.assign(ngram.substr(begin, end - begin));
        token.append(Tokens::slack, '\0');
        const std::uint64_t last = token_hash(token.data(), end - begin, seed);
        hash = begin == 0 ? last : extend_hash(hash, last);
        if (end == ngram.size()) return hash;
        begin = end + 1;
    }
}

std::optional<Large<std::uint32_t>> build_table(NgramStrings ngrams, const std::int16_t* values,
                                                      std::uint32_t columns, std::uint64_t seed) {
    const std::uint32_t slots = Lookup::slots_of(columns), first = Lines::lanes - slots;
    const std::uint64_t count = std::max<std::uint64_t>(2, (2 * ngrams.size() + slots - 1) / slots);
    Large<std::uint32_t> table(count * Lines::lanes, 0);
    constexpr std::size_t at_once = 64;  // lines are fetched for
    std::uint64_t hashes[at_once];
    for (std::size_t row = 0; row < ngrams.size(); ++row) {
        if (row % at_once == 0)
            for (std::size_t i = 0; i < at_once && row + i < ngrams.size(); ++i) {
                hashes[i] = ngram_hash(ngrams[row + i], seed);
                __builtin_prefetch(table.data() + ((hashes[i] & 0xFFFFFFFF) * count >> 32) * Lines::lanes, 1);
            }
        const std::uint64_t hash = hashes[row % at_once];
        const auto high = static_cast<std::uint32_t>(hash >> 32);
        const std::uint32_t tag = high ? high : 1;
        for (std::uint64_t at = (hash & 0xFFFFFFFF) * count >> 32;; at = at + 1 == count ? 0 : at + 1) {
            std::uint32_t* const line = table.data() + at * Lines::lanes;
            std::uint32_t* const tags = line + first;
            std::uint32_t slot = 0;
            for (; slot < slots && tags[slot] != 0; ++slot)
                if (tags[slot] == tag) return std::nullopt;
            if (slot == slots) continue;
            tags[slot] = tag;
            if (columns == 0) line[slot] = static_cast<std::uint32_t>(row);
            else std::memcpy(reinterpret_cast<char*>(line) + 2 * columns * slot, values + row * columns, 2 * columns);
            break;
        }
    }
    return table;
}

void BagReader::hash_tokens(const Vocabulary& vocabulary, std::span<const std::string_view> texts) {
    tokens_.clear();
    token_end_.clear();
    from_.assign(1, 0);
    for (const auto text : texts) {
        tokenize(text, vocabulary.rules, tokens_);
        token_end_.push_back(tokens_.size());
        from_.push_back(tokens_.size());
    }
    const std::size_t count = tokens_.size();
    if (count > Lookup::none) throw std::length_error("a text has more than 2^32 tokens");
    grow(count + Kernels::hashes_ahead, token_hash_, hash_, place_, where_);
    for (std::size_t i = 0; i < count; ++i) {
        const auto token = tokens_[i];
        token_hash_[i] = hash_[i] = token_hash(token.data(), token.size(), vocabulary.lookup.seed());
        place_[i] = static_cast<std::uint32_t>(i);
        if (count <= at_once) vocabulary.lookup.prefetch(hash_[i]);
    }
}

}  // namespace sparsedistill
