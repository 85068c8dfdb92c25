// Counting n-grams, exactly. A node is an n-gram: its prefix's node and its last token, so no string is kept but the
// tokens', and two n-grams are never confused.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text.h"

namespace sparsedistill {

class Counter {
public:
    Counter(TextRules rules, unsigned max_n);

    // Counts every n-gram of the text, n = 1..max_n, each occurrence once.
    void add(std::string_view text);

    std::uint64_t distinct() const { return nodes_.size(); }

    struct Ngrams {
        std::vector<std::uint8_t> bytes;     // the n-grams' strings, tokens joined by one space, end to end
        std::vector<std::uint64_t> offsets;  // (V + 1) where each begins
        std::vector<std::uint64_t> counts;   // (V)
    };
    // The `size` most frequent n-grams seen at least `min_count` times: count descending, then bytes ascending. In this
    // order a prefix precedes its extensions, so the list is prefix-closed wherever it is cut.
    Ngrams top(std::uint64_t size, std::uint64_t min_count) const;

private:
    static constexpr std::uint32_t none = 0xFFFFFFFF;
    struct Node {
        std::uint32_t prefix, token;
        std::uint64_t count;
    };
    // Open addressing, hash tag beside the id, so that a probe seldom touches a node it does not want.
    struct Index {
        std::vector<std::uint64_t> slots;
        std::size_t used = 0;
    };

    std::uint32_t token_id(std::string_view token);
    std::uint32_t node_id(std::uint32_t prefix, std::uint32_t token);
    template <class Hash>
    static void grow(Index& index, Hash hash);
    std::string_view token(std::uint32_t id) const {
        return {token_bytes_.data() + token_offsets_[id], token_offsets_[id + 1] - token_offsets_[id]};
    }

    TextRules rules_;
    unsigned max_n_;
    Tokens tokens_;
    std::vector<std::uint32_t> ids_, chain_;
    std::vector<char> token_bytes_;
    std::vector<std::size_t> token_offsets_{0};
    std::vector<std::uint64_t> token_hashes_;
    std::vector<Node> nodes_;
    Index token_index_, node_index_;
};

}  // namespace sparsedistill
