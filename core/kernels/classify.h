// What the bytes of a text are. Part of kernels.cpp, whose rules hold here too.
#pragma once

#include "vectors.h"

namespace sparsedistill {

namespace {

// One bit a byte, from bytes that are 0 or 255.
inline std::uint64_t bits(Block bytes) {
#if defined(__AVX512BW__)
    return _mm512_movepi8_mask(reinterpret_cast<__m512i>(bytes));
#elif defined(__AVX2__)
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(reinterpret_cast<__m256i>(bytes)));
#elif defined(__SSE2__)
    return static_cast<std::uint32_t>(_mm_movemask_epi8(reinterpret_cast<__m128i>(bytes)));
#else
    // The product collects the lowest bits of eight bytes in its highest byte.
    std::uint64_t halves[2];
    __builtin_memcpy(halves, &bytes, sizeof halves);
    const auto collect = [](std::uint64_t eight) { return (eight & 0x0101010101010101) * 0x0102040810204080 >> 56; };
    return collect(halves[0]) | collect(halves[1]) << 8;
#endif
}

void classify(const char* in, std::size_t blocks, bool lowercase, char* out, Masks* masks) {
    const std::uint8_t lowering = lowercase ? 0x20 : 0;
    for (std::size_t i = 0; i < blocks; ++i) {
        Masks found{};
        for (std::size_t part = 0; part < 64; part += sizeof(Block)) {
            const Block c = load<std::uint8_t, sizeof(Block)>(in + 64 * i + part);
            const auto between = [](Block x, char first, char last) {
                return static_cast<Block>(x - static_cast<std::uint8_t>(first) <=
                                          Block{} + static_cast<std::uint8_t>(last - first));
            };
            *reinterpret_cast<Block*>(out + 64 * i + part) = c | (between(c, 'A', 'Z') & lowering);
            const Block word = between(c | 0x20, 'a', 'z') | between(c, '0', '9') | static_cast<Block>(c == '_');
            found.word |= bits(word) << part;
            found.quote |= bits(static_cast<Block>(c == '\'')) << part;
            found.space |= bits(between(c, '\t', '\r') | between(c, 0x1C, ' ')) << part;
            found.gap |= bits(between(c, 0, ' ') | static_cast<Block>(c == 0x7F)) << part;
            found.high |= bits(static_cast<Block>(c >= 0x80)) << part;
        }
        masks[i] = found;
    }
}

}  // namespace

}  // namespace sparsedistill
