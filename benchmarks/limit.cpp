// What memory alone would allow: a reader that touches the bytes of the texts, the lines of the lookup table and the rows
// that a classifier touches for these texts, in the same order, with all addresses known in advance. It computes nothing but
// a sum that keeps the compiler honest. limit.py compiles it with the core's sources and calls it.
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "../core/lookup.h"

using namespace sparsedistill;

namespace {

constexpr std::size_t group_bytes = 2048, group_texts = 32;  // as score.cpp groups its texts
constexpr std::size_t lines_ahead = 32, rows_ahead = 24, bytes_ahead = 2048;

struct Group {
    const char* text;
    std::size_t bytes;
    std::vector<std::uint32_t> lines, rows;
};

struct Plan {
    std::vector<Group> groups;
    const char *table, *rows;
    std::size_t stride;
};

using Sum = __m512i;

inline void add(Sum& sum, const char* at, std::size_t bytes) {
    std::size_t i = 0;
    for (; i + 64 <= bytes; i += 64) sum = _mm512_add_epi64(sum, _mm512_loadu_si512(at + i));
    for (; i + 16 <= bytes; i += 16) sum = _mm512_add_epi64(sum, _mm512_zextsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i))));
}

inline void gather(Sum& sum, const char* base, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                   std::size_t ahead) {
    const auto fetch = [&](std::size_t i) {
        for (std::size_t b = 0; b < stride; b += 64) __builtin_prefetch(base + ids[i] * stride + b);
    };
    for (std::size_t i = 0; i < std::min(ahead, count); ++i) fetch(i);
    for (std::size_t i = 0; i < count; ++i) {
        if (i + ahead < count) fetch(i + ahead);
        add(sum, base + ids[i] * stride, stride);
    }
}

// Wide rows are many lines each: fewer of them are under way.
std::size_t ahead_of(std::size_t stride) { return stride <= 64 ? rows_ahead : std::max<std::size_t>(4, 1024 / stride); }

}  // namespace

extern "C" {

// `rows` may be null where the values stand in the table.
Plan* limit_plan(const char* text, const std::uint64_t* offsets, std::size_t texts, const std::uint32_t* table,
                 std::uint64_t lines, std::uint32_t columns, std::uint32_t row_count, std::uint64_t seed, int tokenizer,
                 int lowercase, int normalize, unsigned max_n, const char* rows, std::size_t stride) {
    auto* const plan = new Plan{{}, reinterpret_cast<const char*>(table), rows, stride};
    const Vocabulary vocabulary{{static_cast<Tokenizer>(tokenizer), lowercase != 0, normalize != 0},
                                max_n,
                                Lookup({table, lines * Lines::lanes}, row_count, columns, seed)};
    BagReader reader;
    std::vector<std::uint32_t> found;
    for (std::size_t begin = 0; begin < texts;) {
        std::vector<std::string_view> views;
        std::size_t bytes = 0;
        for (; begin < texts && views.size() < group_texts && bytes < group_bytes; ++begin) {
            views.emplace_back(text + offsets[begin], offsets[begin + 1] - offsets[begin]);
            bytes += views.back().size();
        }
        Group group{views.front().data(), bytes, {}, {}};
        reader.walk(vocabulary, views, Stop(), [&](const BagReader::Candidates& all) {
            for (std::size_t i = 0; i < all.count; ++i)
                group.lines.push_back(static_cast<std::uint32_t>((all.hashes[i] & 0xFFFFFFFF) * lines >> 32));
            found.resize(std::max(found.size(), all.count));
            const std::size_t hits = kernels().find(vocabulary.lookup.lines(), all.hashes, all.count, found.data(), all.where, nullptr, 0);
            if (rows && hits != Kernels::damaged) group.rows.insert(group.rows.end(), found.begin(), found.begin() + static_cast<std::ptrdiff_t>(hits));
            return hits;
        });
        plan->groups.push_back(std::move(group));
    }
    return plan;
}

void limit_close(Plan* plan) { delete plan; }

std::size_t limit_rows(const Plan* plan) {
    std::size_t total = 0;
    for (const auto& group : plan->groups) total += group.rows.size();
    return total;
}

// Gives every row touched another id, at random: what is left is the order of the work.
void limit_scatter(Plan* plan, std::uint32_t row_count) {
    std::uint64_t state = 1;
    for (auto& group : plan->groups)
        for (auto& row : group.rows) row = static_cast<std::uint32_t>(((state = state * 6364136223846793005 + 1442695040888963407) >> 33) % row_count);
}

std::uint64_t limit_read(const Plan* plan, int text, int table, int rows) {
    Sum sum = _mm512_setzero_si512();
    for (const auto& group : plan->groups) {
        if (text) {
            __builtin_prefetch(group.text + bytes_ahead);
            add(sum, group.text, group.bytes);
        }
        if (table) gather(sum, plan->table, 64, group.lines.data(), group.lines.size(), lines_ahead);
        if (rows) gather(sum, plan->rows, plan->stride, group.rows.data(), group.rows.size(), ahead_of(plan->stride));
    }
    return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sum));
}

// A bare loop over all ids at once.
std::uint64_t limit_gather(const char* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count) {
    Sum sum = _mm512_setzero_si512();
    gather(sum, rows, stride, ids, count, ahead_of(stride));
    return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sum));
}
}
