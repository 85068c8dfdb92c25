// Vectors as wide as the registers that this copy is compiled for. Part of kernels.cpp, whose rules hold here too.
#pragma once

#include "../kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sparsedistill {

namespace {

template <class T, std::size_t count>
using Vector __attribute__((vector_size(count * sizeof(T)), aligned(1), may_alias)) = T;

template <class T, std::size_t count>
inline Vector<T, count> load(const void* from) {
    return *static_cast<const Vector<T, count>*>(from);
}

// As much as a register holds. Wider vectors the compiler takes apart too, but it keeps their parts in memory.
#if defined(__AVX512BW__)
using Block = Vector<std::uint8_t, 64>;
#elif defined(__AVX2__)
using Block = Vector<std::uint8_t, 32>;
#else
using Block = Vector<std::uint8_t, 16>;
#endif

// Rows up to this many bytes are fetched when they are found, wider ones when those before them are read.
constexpr std::size_t narrow = 128;

}  // namespace

}  // namespace sparsedistill
