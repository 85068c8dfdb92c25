// Sums and maxima of rows. Part of kernels.cpp, whose rules hold here too.
#pragma once

#include "vectors.h"

namespace sparsedistill {

namespace {

// Bytes of a row at a time, so that what is added up or compared, `Number` of a column, fills eight registers.
template <class Row, class Number>
constexpr std::size_t block_bytes = 8 * sizeof(Block) * sizeof(Row) / sizeof(Number);
// Calls block<size>() for this size and every half of it down to what a row is a multiple of.
template <std::size_t bytes, class Work>
inline __attribute__((always_inline)) void each_size(const Work& block) {
    block.template operator()<bytes>();
    if constexpr (bytes > Kernels::row_bytes) each_size<bytes / 2>(block);
}

// Of a vector of widened numbers. SSE2 widens a whole register to two, and has no instruction for half of one.
constexpr std::size_t widened_bytes = sizeof(Block) > 16 ? sizeof(Block) : 32;
constexpr std::size_t rows_ahead = 16;

struct Int8 {
    using Row = std::int8_t;
    using Compared = std::int8_t;
    using Sum = std::int32_t;
    using Partial = std::int16_t;
    static constexpr std::size_t most = 128;  // rows whose partial sums cannot overflow
    template <std::size_t n>
    static Vector<Partial, n> widen(const Row* row) {
        return __builtin_convertvector(load<Row, n>(row), Vector<Partial, n>);
    }
};

struct Int16 {
    using Row = std::int16_t;
    using Compared = std::int16_t;
    using Sum = std::int32_t;
    using Partial = std::int32_t;
    static constexpr std::size_t most = 1 << 16;
    template <std::size_t n>
    static Vector<Partial, n> widen(const Row* row) {
        return __builtin_convertvector(load<Row, n>(row), Vector<Partial, n>);
    }
};

// What rows of real numbers have in common.
struct Real {
    using Sum = float;
    using Partial = float;
    using Compared = float;
    static constexpr std::size_t most = ~std::size_t{0};
};

struct Float32 : Real {
    using Row = float;
    template <std::size_t n>
    static Vector<Partial, n> widen(const Row* row) {
        return load<float, n>(row);
    }
};

struct Float16 : Real {
    using Row = std::uint16_t;
    // Exponent and mantissa move to float's places; the product mends the exponent's bias, of subnormals too.
    template <std::size_t n>
    static Vector<Partial, n> widen(const Row* row) {
        using Bits = Vector<std::uint32_t, n>;
        const Bits half = __builtin_convertvector(load<Row, n>(row), Bits);
        const Bits sign = (half & 0x8000u) << 16, rest = (half & 0x7FFFu) << 13;
        Vector<float, n> value;
        __builtin_memcpy(&value, &rest, sizeof value);
        value *= 0x1p112f;
        Bits result;
        __builtin_memcpy(&result, &value, sizeof value);
        result |= sign;
        __builtin_memcpy(&value, &result, sizeof value);
        return value;
    }
};

struct BFloat16 : Real {
    using Row = std::uint16_t;
    template <std::size_t n>
    static Vector<Partial, n> widen(const Row* row) {
        const Vector<std::uint32_t, n> high = __builtin_convertvector(load<Row, n>(row), decltype(high)) << 16;
        Vector<float, n> value;
        __builtin_memcpy(&value, &high, sizeof value);
        return value;
    }
};

// `bytes` of each row, from `row` on.
template <class Type, std::size_t bytes>
inline __attribute__((always_inline)) void gather_block(const typename Type::Row* rows, std::size_t stride,
                                                        const std::uint32_t* ids, std::size_t count, std::size_t ahead,
                                                        typename Type::Sum* sums) {
    using Row = typename Type::Row;
    using Partial = typename Type::Partial;
    using Sum = typename Type::Sum;
    constexpr std::size_t columns = bytes / sizeof(Row);
    constexpr std::size_t most = (sizeof(Row) < sizeof(Partial) ? widened_bytes : sizeof(Block)) / sizeof(Partial);
    constexpr std::size_t lanes = columns < most ? columns : most;
    constexpr bool same = sizeof(Partial) == sizeof(Sum);
    Vector<Partial, lanes> total[columns / lanes];
    for (std::size_t k = 0; k < columns / lanes; ++k)
        total[k] = same ? load<Partial, lanes>(sums + k * lanes) : Vector<Partial, lanes>{};
    for (std::size_t i = 0; i < count; ++i) {
        if (i < ahead) {
            const char* const next = reinterpret_cast<const char*>(rows + ids[i + rows_ahead] * stride);
            for (std::size_t b = 0; b < bytes; b += 64) __builtin_prefetch(next + b);
        }
        const Row* const row = rows + ids[i] * stride;
        for (std::size_t k = 0; k < columns / lanes; ++k) total[k] += Type::template widen<lanes>(row + k * lanes);
    }
    for (std::size_t k = 0; k < columns / lanes; ++k) {
        if constexpr (same) {
            *reinterpret_cast<Vector<Sum, lanes>*>(sums + k * lanes) = total[k];
        } else {
            constexpr std::size_t half = lanes / 2;
            for (std::size_t h = 0; h < 2; ++h) {
                auto* const to = reinterpret_cast<Vector<Sum, half>*>(sums + k * lanes + h * half);
                *to += __builtin_convertvector(
                    load<Partial, half>(reinterpret_cast<const Partial*>(&total[k]) + h * half), Vector<Sum, half>);
            }
        }
    }
}

template <class Type>
void gather(const typename Type::Row* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
            typename Type::Sum* sums) {
    constexpr std::size_t size = sizeof(typename Type::Row);
    const bool wide = stride * size > narrow;
    const std::size_t most = wide ? rows_ahead : Type::most;
    for (std::size_t begin = 0; begin < count; begin += most) {
        const std::size_t n = count - begin < most ? count - begin : most;
        // Rows after these whose blocks are fetched while these are read.
        const std::size_t left = count - begin - n, ahead = !wide ? 0 : left < n ? left : n;
        std::size_t j = 0;
        const auto block = [&]<std::size_t bytes>() {
            for (; (stride - j) * size >= bytes; j += bytes / size)
                gather_block<Type, bytes>(rows + j, stride, ids + begin, n, ahead, sums + j);
        };
        each_size<block_bytes<typename Type::Row, typename Type::Partial>>(block);
        if constexpr (sizeof(typename Type::Partial) == sizeof(typename Type::Sum)) block.template operator()<size>();
    }
}

// `bytes` of each row, from `row` on.
template <class Type, std::size_t bytes>
inline __attribute__((always_inline)) void maximum_block(const typename Type::Row* rows, std::size_t stride,
                                                         const std::uint32_t* ids, std::size_t count,
                                                         typename Type::Sum* best) {
    using Number = typename Type::Compared;
    constexpr std::size_t columns = bytes / sizeof(typename Type::Row), native = sizeof(Block) / sizeof(Number);
    constexpr std::size_t lanes = columns < native ? columns : native;
    const auto number = [&](std::size_t i, std::size_t k) {
        const auto* const from = rows + ids[i] * stride + k * lanes;
        if constexpr (sizeof(Number) == sizeof(*from)) return load<Number, lanes>(from);
        else return Type::template widen<lanes>(from);
    };
    Vector<Number, lanes> most[columns / lanes];
    // Real numbers begin with the best so far, which a NaN in the first row would hide.
    constexpr bool real = __is_same(Number, float);
    for (std::size_t k = 0; k < columns / lanes; ++k)
        if constexpr (real) most[k] = load<Number, lanes>(best + k * lanes);
        else most[k] = number(0, k);
    for (std::size_t i = real ? 0 : 1; i < count; ++i) {
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * stride);
        for (std::size_t k = 0; k < columns / lanes; ++k) {
            const auto other = number(i, k);
            most[k] = most[k] < other ? other : most[k];
        }
    }
    for (std::size_t k = 0; k < columns / lanes; ++k)
        for (std::size_t j = 0; j < lanes; ++j) {
            auto& one = best[k * lanes + j];
            one = one < most[k][j] ? most[k][j] : one;
        }
}

// The largest of each column, in numbers that the column's scale still has to multiply.
template <class Type>
void maximum(const typename Type::Row* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
             typename Type::Sum* best) {
    using Row = typename Type::Row;
    if (!count) return;
    std::size_t j = 0;
    const auto block = [&]<std::size_t bytes>() {
        for (; (stride - j) * sizeof(Row) >= bytes; j += bytes / sizeof(Row))
            maximum_block<Type, bytes>(rows + j, stride, ids, count, best + j);
    };
    each_size<block_bytes<Row, typename Type::Compared>>(block);
}

// Rows of int4 hold two numbers a byte, 8 added to each so that they have no sign: those of 16 columns in the low halves
// of 16 bytes, those of the next 16 columns in the high ones. So unpacking is two instructions, whatever a register holds.
constexpr std::size_t int4_block = 16, int4_offset = 8;
constexpr std::size_t int4_rows = 16, int4_most = 4096;  // whose sums cannot overflow 8 and 16 bits
constexpr std::size_t int4_bytes = 2 * sizeof(Block);    // of a row at a time

// `bytes` of each row, from `rows` on; `stride` is in bytes.
template <std::size_t bytes>
inline __attribute__((always_inline)) void gather_int4_block(const std::uint8_t* rows, std::size_t stride,
                                                             const std::uint32_t* ids, std::size_t count,
                                                             std::size_t ahead, std::int32_t* sums) {
    constexpr std::size_t lanes = bytes < sizeof(Block) ? bytes : sizeof(Block), parts = bytes / lanes;
    using Bytes = Vector<std::uint8_t, lanes>;
    using Words = Vector<std::uint16_t, lanes / 2>;
    // Of low and high halves: the bytes at even places, and those at odd ones.
    Words even[2][parts] = {}, odd[2][parts] = {};
    for (std::size_t begin = 0; begin < count; begin += int4_rows) {
        const std::size_t end = count - begin < int4_rows ? count : begin + int4_rows;
        Bytes low[parts] = {}, high[parts] = {};
        for (std::size_t i = begin; i < end; ++i) {
            if (i < ahead) {
                const std::uint8_t* const next = rows + ids[i + rows_ahead] * stride;
                for (std::size_t b = 0; b < bytes; b += 64) __builtin_prefetch(next + b);
            }
            const std::uint8_t* const row = rows + ids[i] * stride;
            for (std::size_t k = 0; k < parts; ++k) {
                const auto both = load<std::uint8_t, lanes>(row + k * lanes);
                low[k] += both & 15;
                high[k] += both >> 4;
            }
        }
        for (std::size_t k = 0; k < parts; ++k)
            for (std::size_t h = 0; h < 2; ++h) {
                const Words both = reinterpret_cast<const Words&>(h ? high[k] : low[k]);
                even[h][k] += both & 0xFF;
                odd[h][k] += both >> 8;
            }
    }
    const auto offset = static_cast<std::int32_t>(int4_offset * count);
    for (std::size_t k = 0; k < parts; ++k)
        for (std::size_t b = 0; b < lanes; b += int4_block)
            for (std::size_t h = 0; h < 2; ++h) {
                constexpr std::size_t half = int4_block / 2;
                const auto of = [&](const Words& words) {
                    return load<std::uint16_t, half>(reinterpret_cast<const std::uint16_t*>(&words) + b / 2);
                };
                const auto first = of(even[h][k]), second = of(odd[h][k]);
                auto* const to = sums + 2 * (k * lanes + b) + h * int4_block;
                for (std::size_t j = 0; j < half; ++j) {
                    to[2 * j] += first[j] - offset;
                    to[2 * j + 1] += second[j] - offset;
                }
            }
}

void gather_int4(const std::uint8_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                 std::int32_t* sums) {
    const std::size_t size = stride / 2;  // bytes
    const bool wide = size > narrow;
    const std::size_t most = wide ? rows_ahead : int4_most;
    for (std::size_t begin = 0; begin < count; begin += most) {
        const std::size_t n = count - begin < most ? count - begin : most;
        const std::size_t left = count - begin - n, ahead = !wide ? 0 : left < n ? left : n;
        std::size_t at = 0;
        each_size<int4_bytes>([&]<std::size_t bytes>() {
            for (; size - at >= bytes; at += bytes)
                gather_int4_block<bytes>(rows + at, size, ids + begin, n, ahead, sums + 2 * at);
        });
    }
}

// `bytes` of each row, from `rows` on; `stride` is in bytes.
template <std::size_t bytes>
inline __attribute__((always_inline)) void maximum_int4_block(const std::uint8_t* rows, std::size_t stride,
                                                              const std::uint32_t* ids, std::size_t count,
                                                              std::int32_t* best) {
    constexpr std::size_t lanes = bytes < sizeof(Block) ? bytes : sizeof(Block), parts = bytes / lanes;
    Vector<std::uint8_t, lanes> most[2][parts] = {};
    for (std::size_t i = 0; i < count; ++i) {
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * stride);
        for (std::size_t k = 0; k < parts; ++k) {
            const auto both = load<std::uint8_t, lanes>(rows + ids[i] * stride + k * lanes);
            const auto low = both & 15, high = both >> 4;
            most[0][k] = most[0][k] < low ? low : most[0][k];
            most[1][k] = most[1][k] < high ? high : most[1][k];
        }
    }
    for (std::size_t k = 0; k < parts; ++k)
        for (std::size_t h = 0; h < 2; ++h)
            for (std::size_t j = 0; j < lanes; ++j) {
                auto& one = best[2 * (k * lanes + j / int4_block * int4_block) + h * int4_block + j % int4_block];
                const std::int32_t number = most[h][k][j] - static_cast<std::int32_t>(int4_offset);
                one = one < number ? number : one;
            }
}

void maximum_int4(const std::uint8_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                  std::int32_t* best) {
    if (!count) return;
    const std::size_t size = stride / 2;  // bytes
    std::size_t at = 0;
    each_size<int4_bytes>([&]<std::size_t bytes>() {
        for (; size - at >= bytes; at += bytes) maximum_int4_block<bytes>(rows + at, size, ids, count, best + 2 * at);
    });
}

}  // namespace

}  // namespace sparsedistill
