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

// Hash of a token's bytes. The state, and with it the seed, goes into both factors: a factor that bytes alone could
// make zero would give collisions under every seed. Sixteen bytes from the start of its last (partial) block on must be readable.
inline std::uint64_t token_hash(const char* p, std::size_t size, std::uint64_t seed) {
    using namespace hash_detail;
    std::uint64_t state = seed ^ k0;
    std::size_t left = size;
    while (left > 16) {
        state = mum(load(p) ^ state ^ k1, load(p + 8) ^ std::rotl(state, 32) ^ k2);
        p += 16;
        left -= 16;
    }
    const std::uint64_t a = load_first(p, left < 8 ? left : 8), b = load_first(p + 8, left < 8 ? 0 : left - 8);
    return mum(mum(a ^ state ^ k1, b ^ std::rotl(state, 32) ^ k2 ^ (size * k3)) ^ k0, k3);
}

// Hash of an n-gram from the hash of all its tokens but the last, and the last token's.
inline std::uint64_t extend_hash(std::uint64_t prefix, std::uint64_t token) {
    using namespace hash_detail;
    return mum(prefix ^ k1, std::rotl(token, 32) ^ k2);
}

}  // namespace sparsedistill
