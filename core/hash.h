// The frozen hash of n-grams: part of the format (docs/FORMAT.md, "Hash", has golden vectors). Never change it.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sparsedistill {

static_assert(std::endian::native == std::endian::little, "the hash and the format are little-endian");

namespace hash_detail {
inline constexpr std::uint64_t k0 = 0x9E3779B97F4A7C15, k1 = 0xD1B54A32D192ED03, k2 = 0x8CB92BA72F3D8DD7,
                               k3 = 0xABC98388FB8FAC03;

// Low and high half of the 128-bit product, folded: the one mixing step of everything here.
inline std::uint64_t mum(std::uint64_t a, std::uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t load(const char* p) {
    std::uint64_t value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

// The first `count` (0 to 8) bytes at p as a little-endian number; reads all eight.
inline std::uint64_t load_first(const char* p, std::size_t count) {
    return count == 0 ? 0 : load(p) & (~std::uint64_t{0} >> (64 - 8 * count));
}
}  // namespace hash_detail

// What a seed stands for: a secret for each factor of the products below. Who does not know the seed can choose no bytes
// that make a factor zero or that exchange the two, so a seed that is drawn at random, or made of what nobody knows,
// keeps collisions from being made. Under a known seed they are quickly made.
struct HashKey {
    std::uint64_t first, second;

    explicit HashKey(std::uint64_t seed)
        : first(hash_detail::mum(seed ^ hash_detail::k0, hash_detail::k1)),
          second(hash_detail::mum(first ^ hash_detail::k2, hash_detail::k3)) {}
};

// Hash of a token's bytes. Their number stands apart from them, in the last product, where no byte can undo it. Sixteen
// bytes from the start of its last (partial) block on must be readable.
inline std::uint64_t token_hash(const char* p, std::size_t size, const HashKey& key) {
    using namespace hash_detail;
    std::uint64_t state = key.first;
    std::size_t left = size;
    while (left > 16) {
        state = mum(load(p) ^ state, load(p + 8) ^ key.second);
        p += 16;
        left -= 16;
    }
    const std::uint64_t a = load_first(p, left < 8 ? left : 8), b = load_first(p + 8, left < 8 ? 0 : left - 8);
    return mum(mum(a ^ state, b ^ key.second) ^ k0, k3 ^ size);
}

// Hash of an n-gram from the hash of all its tokens but the last, and the last token's.
inline std::uint64_t extend_hash(std::uint64_t prefix, std::uint64_t token) {
    using namespace hash_detail;
    return mum(prefix ^ k1, std::rotl(token, 32) ^ k2);
}

// SipHash-2-4 (Aumasson, Bernstein 2012) under a fixed key, for what is compared from run to run: a text that has the
// fingerprint of somebody else's cannot be made, though two texts of one's own can be found with 2^32 tries.
inline std::uint64_t fingerprint_hash(std::string_view text) {
    using namespace hash_detail;
    std::uint64_t v0 = k0 ^ 0x736F6D6570736575, v1 = k1 ^ 0x646F72616E646F6D, v2 = k0 ^ 0x6C7967656E657261,
                  v3 = k1 ^ 0x7465646279746573;
    const auto round = [&] {
        v0 += v1, v2 += v3;
        v1 = std::rotl(v1, 13) ^ v0, v3 = std::rotl(v3, 16) ^ v2;
        v0 = std::rotl(v0, 32) + v3, v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2, v3 = std::rotl(v3, 21) ^ v0;
        v2 = std::rotl(v2, 32);
    };
    const auto add = [&](std::uint64_t word) {
        v3 ^= word;
        round(), round();
        v0 ^= word;
    };
    const std::size_t whole = text.size() / 8 * 8;
    for (std::size_t i = 0; i < whole; i += 8) add(load(text.data() + i));
    std::uint64_t last = std::uint64_t{text.size()} << 56;
    std::memcpy(&last, text.data() + whole, text.size() - whole);
    add(last);
    v2 ^= 0xFF;
    round(), round(), round(), round();
    return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace sparsedistill
