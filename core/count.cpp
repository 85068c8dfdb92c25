#include "count.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "hash.h"

namespace sparsedistill {

namespace {
std::uint64_t node_hash(std::uint32_t prefix, std::uint32_t token) {
    return hash_detail::mum((std::uint64_t{prefix} << 32 | token) ^ hash_detail::k1, hash_detail::k2);
}
constexpr std::uint64_t empty = ~std::uint64_t{0};
}  // namespace

Counter::Counter(TextRules rules, unsigned max_n) : rules_(rules), max_n_(max_n) {
    token_index_.slots.assign(1024, empty);
    node_index_.slots.assign(4096, empty);
}

// Doubles the index; hash(id) is the full hash of what the id stands for.
template <class Hash>
void Counter::grow(Index& index, Hash hash) {
    std::vector<std::uint64_t> old(2 * index.slots.size(), empty);
    old.swap(index.slots);
    const std::size_t mask = index.slots.size() - 1;
    for (const std::uint64_t slot : old) {
        if (slot == empty) continue;
        std::size_t at = hash(static_cast<std::uint32_t>(slot)) & mask;
        while (index.slots[at] != empty) at = (at + 1) & mask;
        index.slots[at] = slot;
    }
}

std::uint32_t Counter::token_id(std::string_view text) {
    const std::uint64_t hash = token_hash(text.data(), text.size(), 0);
    const std::size_t mask = token_index_.slots.size() - 1;
    std::size_t at = hash & mask;
    for (std::uint64_t slot; (slot = token_index_.slots[at]) != empty; at = (at + 1) & mask)
        if (slot >> 32 == hash >> 32 && token(static_cast<std::uint32_t>(slot)) == text)
            return static_cast<std::uint32_t>(slot);
    const std::size_t id = token_hashes_.size();
    if (id >= none) throw std::length_error("more than 2^32 - 2 distinct tokens");
    token_index_.slots[at] = hash >> 32 << 32 | id;
    token_bytes_.insert(token_bytes_.end(), text.begin(), text.end());
    token_offsets_.push_back(token_bytes_.size());
    token_hashes_.push_back(hash);
    if (++token_index_.used * 2 > token_index_.slots.size())
        grow(token_index_, [&](std::uint32_t i) { return token_hashes_[i]; });
    return static_cast<std::uint32_t>(id);
}

std::uint32_t Counter::node_id(std::uint32_t prefix, std::uint32_t token) {
    const std::uint64_t hash = node_hash(prefix, token);
    const std::size_t mask = node_index_.slots.size() - 1;
    std::size_t at = hash & mask;
    for (std::uint64_t slot; (slot = node_index_.slots[at]) != empty; at = (at + 1) & mask) {
        const auto id = static_cast<std::uint32_t>(slot);
        if (slot >> 32 == hash >> 32 && nodes_[id].prefix == prefix && nodes_[id].token == token) return id;
    }
    const std::size_t id = nodes_.size();
    if (id >= none) throw std::length_error("more than 2^32 - 2 distinct n-grams: count a part of the corpus");
    node_index_.slots[at] = hash >> 32 << 32 | id;
    nodes_.push_back({prefix, token, 0});
    if (++node_index_.used * 2 > node_index_.slots.size())
        grow(node_index_, [&](std::uint32_t i) { return node_hash(nodes_[i].prefix, nodes_[i].token); });
    return static_cast<std::uint32_t>(id);
}

void Counter::add(std::string_view text) {
    tokens_.clear();
    tokenize(text, rules_, tokens_);
    const std::size_t count = tokens_.size();
    ids_.resize(count);
    for (std::size_t i = 0; i < count; ++i) ids_[i] = token_id(tokens_[i]);
    chain_.assign(count, none);
    for (unsigned n = 1; n <= max_n_ && n <= count; ++n)
        for (std::size_t i = 0; i + n <= count; ++i) {
            chain_[i] = node_id(chain_[i], ids_[i + n - 1]);
            ++nodes_[chain_[i]].count;
        }
}

Counter::Ngrams Counter::top(std::uint64_t size, std::uint64_t min_count) const {
    std::vector<std::uint32_t> chosen;
    for (std::size_t id = 0; id < nodes_.size(); ++id)
        if (nodes_[id].count >= min_count) chosen.push_back(static_cast<std::uint32_t>(id));
    if (chosen.size() > size) {
        // Only the n-grams at or above the count of the last one that fits are worth spelling out.
        std::uint64_t boundary = 0;
        if (size > 0) {
            std::vector<std::uint64_t> counts;
            for (const auto id : chosen) counts.push_back(nodes_[id].count);
            const auto last = counts.begin() + static_cast<std::ptrdiff_t>(size - 1);
            std::nth_element(counts.begin(), last, counts.end(), std::greater<>());
            boundary = *last;
        }
        std::erase_if(chosen, [&](std::uint32_t id) { return nodes_[id].count < boundary; });
    }

    struct Spelled {
        std::uint64_t count;
        std::size_t begin, size;
    };
    std::vector<char> bytes;
    std::vector<Spelled> spelled;
    spelled.reserve(chosen.size());
    std::vector<std::uint32_t> path;
    for (const auto id : chosen) {
        path.clear();
        for (std::uint32_t at = id; at != none; at = nodes_[at].prefix) path.push_back(nodes_[at].token);
        const std::size_t begin = bytes.size();
        for (auto part = path.rbegin(); part != path.rend(); ++part) {
            if (part != path.rbegin()) bytes.push_back(' ');
            const auto text = token(*part);
            bytes.insert(bytes.end(), text.begin(), text.end());
        }
        spelled.push_back({nodes_[id].count, begin, bytes.size() - begin});
    }
    const auto text = [&](const Spelled& s) { return std::string_view(bytes.data() + s.begin, s.size); };
    std::sort(spelled.begin(), spelled.end(), [&](const Spelled& a, const Spelled& b) {
        return a.count != b.count ? a.count > b.count : text(a) < text(b);
    });
    if (spelled.size() > size) spelled.resize(size);

    Ngrams result;
    result.offsets.push_back(0);
    for (const auto& s : spelled) {
        const auto ngram = text(s);
        result.bytes.insert(result.bytes.end(), ngram.begin(), ngram.end());
        result.offsets.push_back(result.bytes.size());
        result.counts.push_back(s.count);
    }
    return result;
}

}  // namespace sparsedistill
