// Lookup of hashes in a table. Part of kernels.cpp, whose rules hold here too.
#pragma once

#include "vectors.h"

namespace sparsedistill {

namespace {

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

}  // namespace

}  // namespace sparsedistill
