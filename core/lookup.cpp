#include "lookup.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

namespace sparsedistill {

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

std::optional<std::vector<std::uint64_t>> build_slots(NgramStrings ngrams, std::uint64_t seed) {
    const std::size_t size = std::max<std::size_t>(16, std::bit_ceil(2 * ngrams.size()));
    const std::uint64_t mask = size - 1;
    std::vector<std::uint64_t> slots(size, Lookup::empty_slot);
    for (std::size_t row = 0; row < ngrams.size(); ++row) {
        const std::uint64_t hash = ngram_hash(ngrams[row], seed), tag = hash >> 32;
        std::uint64_t at = hash & mask;
        for (; static_cast<std::uint32_t>(slots[at]) != Lookup::none; at = (at + 1) & mask)
            if (slots[at] >> 32 == tag) return std::nullopt;
        slots[at] = tag << 32 | row;
    }
    return slots;
}

void BagReader::read(std::span<const std::string_view> texts) {
    text_count_ = texts.size();
    tokens_.clear();
    token_bounds_.assign(1, 0);
    for (const auto text : texts) {
        tokenize(text, rules_, tokens_);
        token_bounds_.push_back(tokens_.size());
    }
    const std::size_t count = tokens_.size();
    if (token_hash_.size() < count) {
        token_hash_.resize(2 * count);
        chain_hash_.resize(2 * count);
        alive_.resize(2 * count);
        found_.resize(2 * count * max_n_);
    }
    if (want_places_) found_places_.resize(found_.size());
    for (std::size_t i = 0; i < count; ++i) {
        const auto token = tokens_[i];
        const std::uint64_t hash = token_hash(token.data(), token.size(), lookup_.seed());
        token_hash_[i] = chain_hash_[i] = hash;
        lookup_.prefetch(hash);
        alive_[i] = static_cast<std::uint32_t>(i);
    }

    // Level by level: hash and prefetch every n-gram whose prefix was found, then look all of them up.
    alive_count_.resize(texts.size());
    found_count_.assign(texts.size(), 0);
    for (std::size_t t = 0; t < texts.size(); ++t) alive_count_[t] = token_bounds_[t + 1] - token_bounds_[t];
    for (unsigned n = 1; n <= max_n_; ++n) {
        bool any = false;
        if (n > 1)
            for (std::size_t t = 0; t < texts.size(); ++t)
                for (std::size_t a = token_bounds_[t], end = a + alive_count_[t]; a < end; ++a) {
                    const std::uint32_t i = alive_[a];
                    lookup_.prefetch(chain_hash_[i] = extend_hash(chain_hash_[i], token_hash_[i + n - 1]));
                }
        for (std::size_t t = 0; t < texts.size(); ++t) {
            const std::size_t begin = token_bounds_[t], text_end = token_bounds_[t + 1];
            std::uint32_t* const found = found_.data() + begin * max_n_;
            std::size_t kept = 0, hits = found_count_[t];
            for (std::size_t a = begin, end = begin + alive_count_[t]; a < end; ++a) {
                const std::uint32_t i = alive_[a];
                const std::uint32_t row = lookup_.find(chain_hash_[i]);
                if (row == Lookup::none) continue;
                if (want_places_) found_places_[begin * max_n_ + hits] = {i, n};
                found[hits++] = row;
                alive_[begin + kept] = i;
                kept += i + n < text_end;  // room for one more token
            }
            found_count_[t] = hits;
            alive_count_[t] = kept;
            any |= kept != 0;
        }
        if (!any) break;
    }

    // Close the gaps between the texts, so that a gather can prefetch across them.
    bounds_.assign(1, 0);
    std::size_t total = 0;
    for (const auto hits : found_count_) bounds_.push_back(total += hits);
    if (hits_.size() < total) hits_.resize(2 * total);
    if (want_places_) places_.resize(total);
    for (std::size_t t = 0; t < texts.size(); ++t) {
        const std::size_t from = token_bounds_[t] * max_n_;
        std::copy_n(found_.data() + from, found_count_[t], hits_.data() + bounds_[t]);
        if (want_places_) std::copy_n(found_places_.data() + from, found_count_[t], places_.data() + bounds_[t]);
    }
}

}  // namespace sparsedistill
