// Compiled once for each instruction set with SPARSEDISTILL_KERNELS naming the result. Nothing with a linker's name of
// its own may be instantiated here (no templates of the standard library, no inline functions of other headers): the
// linker keeps one copy of each, and that could be one that other processors cannot run.
#include "kernels.h"

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

// Text

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

// Lookup

// Rows up to this many bytes are fetched when they are found, wider ones when those before them are read.
constexpr std::size_t narrow = 128;

// Which of the last `count` numbers of a line, 16 or 8, equal `value`.
template <std::size_t count>
inline std::uint32_t equal(const std::uint32_t* line, std::uint32_t value) {
    static_assert(count == Lines::lanes || count == Lines::lanes / 2);
    const std::uint32_t* const from = line + Lines::lanes - count;
#if defined(__AVX512F__)
    if constexpr (count == 16)
        return _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(from), _mm512_set1_epi32(static_cast<int>(value)));
    else
        return _mm256_cmpeq_epi32_mask(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
                                       _mm256_set1_epi32(static_cast<int>(value)));
#elif defined(__AVX2__)
    const __m256i wanted = _mm256_set1_epi32(static_cast<int>(value));
    std::uint32_t result = 0;
    for (std::size_t i = 0; i < count; i += 8) {
        const __m256i there = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
        const __m256 same = _mm256_castsi256_ps(_mm256_cmpeq_epi32(there, wanted));
        result |= static_cast<std::uint32_t>(_mm256_movemask_ps(same)) << i;
    }
    return result;
#elif defined(__SSE2__)
    const __m128i wanted = _mm_set1_epi32(static_cast<int>(value));
    std::uint32_t result = 0;
    for (std::size_t i = 0; i < count; i += 4) {
        const __m128i there = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
        const __m128 same = _mm_castsi128_ps(_mm_cmpeq_epi32(there, wanted));
        result |= static_cast<std::uint32_t>(_mm_movemask_ps(same)) << i;
    }
    return result;
#else
    std::uint32_t result = 0;
    for (unsigned i = 0; i < count; ++i) result |= std::uint32_t{from[i] == value} << i;
    return result;
#endif
}

// Calls hit(index, line, line number, slot, there) for each hash: `there` is 1 or 0, and for 0 the slot is one past the
// last, whose place in the line may be read. Whether an n-gram is there is anyone's guess, so nothing may branch on it:
// a wrong guess costs more than the whole lookup. `compared`: the numbers at a line's end among which its tags stand.
// False: a table in which an n-gram is too far from its home.
template <std::size_t compared, class Hit>
inline __attribute__((always_inline)) bool look_up(const Lines& given, const std::uint64_t* hashes, std::size_t count,
                                                   Hit hit) {
    const Lines table = given;  // a copy stays in registers: what hit() writes could be the original
    const auto first = static_cast<std::uint32_t>(compared) - table.slots;  // of those compared, the first tag
    const std::uint32_t tags = (1u << compared) - (1u << first);
    const std::uint64_t most = table.count < Lines::visited ? table.count : Lines::visited;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t ahead = (hashes[i + Kernels::hashes_ahead] & 0xFFFFFFFF) * table.count >> 32;
        __builtin_prefetch(table.data + ahead * Lines::lanes);
        const std::uint64_t hash = hashes[i];
        const auto high = static_cast<std::uint32_t>(hash >> 32);
        const std::uint32_t tag = high ? high : 1;  // 0 marks an empty slot
        std::uint64_t at = (hash & 0xFFFFFFFF) * table.count >> 32;
        const std::uint32_t* line = table.data + at * Lines::lanes;
        std::uint32_t match = equal<compared>(line, tag) & tags, empty = equal<compared>(line, 0) & tags;
        if (__builtin_expect(!(match | empty), 0)) {
            for (std::uint64_t more = 1; !(match | empty); ++more) {
                if (more == most) return false;
                if (++at == table.count) at = 0;
                line = table.data + at * Lines::lanes;
                match = equal<compared>(line, tag) & tags;
                empty = equal<compared>(line, 0) & tags;
            }
        }
        hit(i, line, at, static_cast<std::uint32_t>(__builtin_ctz(match | 1u << compared)) - first,
            std::uint32_t{match != 0});
    }
    return true;
}

std::size_t find(const Lines& table, const std::uint64_t* hashes, std::size_t count, std::uint32_t* rows,
                 std::uint32_t* where, const void* base, std::size_t stride) {
    const bool fetched = stride <= narrow, both = fetched && stride > 64;  // one line or two: a loop would cost more
    const auto fetch = [&](std::uint32_t row) {
        const char* const begin = static_cast<const char*>(base) + row * stride;
        if (fetched) __builtin_prefetch(begin);
        if (both) __builtin_prefetch(begin + 64);
    };
    if (!table.count) {
        for (std::size_t i = 0; i < count; ++i) {
            rows[i] = static_cast<std::uint32_t>((hashes[i] >> 32) * table.rows >> 32);
            where[i] = static_cast<std::uint32_t>(i);
            fetch(rows[i]);
        }
        return count;
    }
    std::size_t hits = 0;
    std::uint32_t highest = 0;
    const auto keep = [&](std::size_t i, std::uint32_t row, std::uint32_t there) {
        rows[hits] = row;
        where[hits] = static_cast<std::uint32_t>(i);
        hits += there;
        const std::uint32_t known = row & -there;  // the first row, which is always at hand, for one not there
        highest = known > highest ? known : highest;
        fetch(known);
    };
    if (table.columns)
        return look_up<16>(table, hashes, count, [&](std::size_t i, const std::uint32_t*, std::uint64_t at,
                                                     std::uint32_t slot, std::uint32_t there) {
            keep(i, static_cast<std::uint32_t>(at * table.slots) + slot, there);
        }) ? hits : Kernels::damaged;
    const bool whole = look_up<8>(table, hashes, count, [&](std::size_t i, const std::uint32_t* line, std::uint64_t,
                                                            std::uint32_t slot, std::uint32_t there) {
        keep(i, line[slot], there);
    });
    return whole && (hits == 0 || highest < table.rows) ? hits : Kernels::damaged;
}

std::size_t find_values(const Lines& table, const std::uint64_t* hashes, std::size_t count, std::uint32_t* where,
                        std::int32_t* sums) {
    std::size_t hits = 0;
    Vector<std::int32_t, 4> total = load<std::int32_t, 4>(sums);
    const bool whole = look_up<16>(table, hashes, count, [&](std::size_t i, const std::uint32_t* line, std::uint64_t,
                                                             std::uint32_t slot, std::uint32_t there) {
        // Values stand before the tags, so that eight bytes from any of them are inside the line.
        const auto values = load<std::int16_t, 4>(reinterpret_cast<const char*>(line) + 2 * table.columns * slot);
        total += __builtin_convertvector(values, Vector<std::int32_t, 4>) & -static_cast<std::int32_t>(there);
        where[hits] = static_cast<std::uint32_t>(i);
        hits += there;
    });
    *reinterpret_cast<Vector<std::int32_t, 4>*>(sums) = total;
    return whole ? hits : Kernels::damaged;
}

// Gather

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

// Training

// Nothing here may depend on how many numbers a register holds: each column is its own, and sums over columns are taken
// in sixteen parts.

inline float from_bfloat16(std::uint16_t x) { return __builtin_bit_cast(float, std::uint32_t{x} << 16); }

// Up with a chance of what is cut off, which sixteen random bits decide.
inline std::uint16_t to_bfloat16(float x, std::uint32_t noise, std::uint32_t column) {
    std::uint32_t random = noise + column * Kernels::noise_column;  // mixed as by lowbias32 (Wellons 2018)
    random = (random ^ random >> 16) * 0x7FEB352Du;
    random = (random ^ random >> 15) * 0x846CA68Bu;
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
    const std::uint32_t finite = (bits & 0x7F800000u) != 0x7F800000u ? 0xFFFFu : 0u;
    return static_cast<std::uint16_t>((bits + (random >> 16 & finite)) >> 16);
}

inline float adam(const AdamStep& step, float g, float* m, float* v) {
    *m += (g - *m) * (1.0f - step.beta1);
    *v += (g * g - *v) * (1.0f - step.beta2);
    return step.size * *m / (__builtin_sqrtf(*v) + step.epsilon);
}

void adam_float32(const AdamStep& given, const float* __restrict gradient, std::size_t width, float* __restrict row,
                  float* __restrict moment1, float* __restrict moment2) {
    const AdamStep step = given;
    for (std::size_t j = 0; j < width; ++j) row[j] -= adam(step, gradient[j], moment1 + j, moment2 + j);
}

void adam_bfloat16(const AdamStep& given, const float* __restrict gradient, std::size_t width,
                   std::uint16_t* __restrict row, float* __restrict moment1, float* __restrict moment2,
                   std::uint32_t noise) {
    const AdamStep step = given;
    for (std::size_t j = 0; j < width; ++j)
        row[j] = to_bfloat16(from_bfloat16(row[j]) - adam(step, gradient[j], moment1 + j, moment2 + j), noise,
                             static_cast<std::uint32_t>(j));
}

// How far a row goes against its gradient.
float adagrad(const AdagradStep& step, const float* gradient, std::size_t width, float* state) {
    constexpr std::size_t lanes = 16;
    float part[lanes] = {};
    std::size_t j = 0;
    for (; j + lanes <= width; j += lanes)
        for (std::size_t i = 0; i < lanes; ++i) part[i] += gradient[j + i] * gradient[j + i];
    for (std::size_t i = 0; j < width; ++i, ++j) part[i] += gradient[j] * gradient[j];
    for (std::size_t half = lanes / 2; half; half /= 2)
        for (std::size_t i = 0; i < half; ++i) part[i] += part[i + half];
    *state += part[0] / static_cast<float>(width);
    return step.learning_rate / (__builtin_sqrtf(*state) + step.epsilon);
}

void adagrad_float32(const AdagradStep& step, const float* __restrict gradient, std::size_t width,
                     float* __restrict row, float* state) {
    const float size = adagrad(step, gradient, width, state);
    for (std::size_t j = 0; j < width; ++j) row[j] -= size * gradient[j];
}

void adagrad_bfloat16(const AdagradStep& step, const float* __restrict gradient, std::size_t width,
                      std::uint16_t* __restrict row, float* state, std::uint32_t noise) {
    const float size = adagrad(step, gradient, width, state);
    for (std::size_t j = 0; j < width; ++j)
        row[j] = to_bfloat16(from_bfloat16(row[j]) - size * gradient[j], noise, static_cast<std::uint32_t>(j));
}

inline float number(const float* p) { return *p; }
inline float number(const std::uint16_t* p) { return from_bfloat16(*p); }

template <class Row>
void winners(const Row* rows, std::size_t width, const std::uint32_t* ids, std::size_t count, float* __restrict best,
             std::uint32_t* __restrict winner) {
    for (std::size_t i = 0; i < count; ++i) {
        const Row* const row = rows + ids[i] * width;
        const std::uint32_t id = ids[i];
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * width);
        for (std::size_t j = 0; j < width; ++j) {
            const float value = number(row + j);
            const bool more = value > best[j];
            best[j] = more ? value : best[j];
            winner[j] = more ? id : winner[j];
        }
    }
}

void add_won(const float* __restrict gradient, const std::uint32_t* __restrict winner, std::uint32_t id,
             std::size_t width, float* __restrict sums) {
    for (std::size_t j = 0; j < width; ++j) sums[j] += winner[j] == id ? gradient[j] : 0.0f;
}

template <class Row>
void products(const Row* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
              const float* __restrict with, float* __restrict out) {
    constexpr std::size_t lanes = 16;
    for (std::size_t i = 0; i < count; ++i) {
        const Row* const row = rows + ids[i] * width;
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * width);
        float part[lanes] = {};
        std::size_t j = 0;
        for (; j + lanes <= width; j += lanes)
            for (std::size_t k = 0; k < lanes; ++k) part[k] += number(row + j + k) * with[j + k];
        for (std::size_t k = 0; j < width; ++k, ++j) part[k] += number(row + j) * with[j];
        for (std::size_t half = lanes / 2; half; half /= 2)
            for (std::size_t k = 0; k < half; ++k) part[k] += part[k + half];
        out[i] = part[0];
    }
}

template <class Row>
void weigh(const Row* rows, std::size_t width, const std::uint32_t* ids, std::size_t count, const float* weights,
           float* __restrict sums) {
    for (std::size_t i = 0; i < count; ++i) {
        const Row* const row = rows + ids[i] * width;
        const float weight = weights[i];
        if (i + 2 < count) __builtin_prefetch(rows + ids[i + 2] * width);
        for (std::size_t j = 0; j < width; ++j) sums[j] += weight * number(row + j);
    }
}

// Dense layers

template <std::size_t outputs>
inline __attribute__((always_inline)) void dot(const float* weight, const float* bias, std::size_t in, const float* x,
                                               float* y) {
    constexpr std::size_t lanes = Kernels::dense_lanes, wide = sizeof(Block) / sizeof(float), parts = lanes / wide;
    Vector<float, wide> total[outputs][parts] = {};
    for (std::size_t i = 0; i < in; i += lanes)
        for (std::size_t p = 0; p < parts; ++p) {
            const auto some = load<float, wide>(x + i + p * wide);
            for (std::size_t o = 0; o < outputs; ++o)
                total[o][p] += load<float, wide>(weight + o * in + i + p * wide) * some;
        }
    for (std::size_t o = 0; o < outputs; ++o) {
        float lane[lanes];
        __builtin_memcpy(lane, &total[o], sizeof lane);
        for (std::size_t half = lanes / 2; half; half /= 2)
            for (std::size_t i = 0; i < half; ++i) lane[i] += lane[i + half];
        y[o] = bias[o] + lane[0];
    }
}

void dense(const float* weight, const float* bias, std::size_t in, std::size_t out, const float* x, float* y) {
    std::size_t o = 0;
    for (; o + 4 <= out; o += 4) dot<4>(weight + o * in, bias + o, in, x, y + o);
    for (; o < out; ++o) dot<1>(weight + o * in, bias + o, in, x, y + o);
}

}  // namespace

#define SPARSEDISTILL_TEXT(name) #name
#define SPARSEDISTILL_NAME(name) SPARSEDISTILL_TEXT(name)
extern const Kernels SPARSEDISTILL_KERNELS;
const Kernels SPARSEDISTILL_KERNELS = {
    SPARSEDISTILL_NAME(SPARSEDISTILL_KERNELS), classify, find, find_values, gather<Int8>, gather<Int16>, gather<Float16>,
    gather<Float32>, maximum<Int8>, maximum<Int16>, maximum<Float16>, maximum<Float32>, gather<BFloat16>,
    winners<float>, winners<std::uint16_t>, products<float>, products<std::uint16_t>, weigh<float>,
    weigh<std::uint16_t>, add_won, adam_float32, adam_bfloat16, adagrad_float32, adagrad_bfloat16, dense,
};

}  // namespace sparsedistill
