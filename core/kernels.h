// The inner loops that gain from wide registers: compiled once for each instruction set, chosen when the program runs.
// All of them give the same bits: integer sums, or one fixed order of separate products and sums.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparsedistill {

// What the bytes of 64 characters are, a bit each.
struct Masks {
    std::uint64_t word;   // [A-Za-z0-9_]
    std::uint64_t quote;  // '
    std::uint64_t space;  // ASCII of str.isspace
    std::uint64_t gap;    // ASCII that separates `words`: up to the blank, and DEL
    std::uint64_t high;   // not ASCII
};

// The lookup table (lookup.h says what is in it), a cache line at a time.
struct Lines {
    static constexpr std::size_t lanes = 16;     // 32-bit numbers a line
    static constexpr std::uint64_t visited = 64;  // by one lookup at most: a table that makes it longer is damaged
    const std::uint32_t* data;
    std::uint64_t count;    // of lines; none: every n-gram has a row, which its hash names
    std::uint32_t slots;    // a line
    std::uint32_t columns;  // int16 values a slot; 0: a slot holds a row id
    std::uint32_t rows;     // row ids must stay below
};

struct AdamStep {
    float size, beta1, beta2, epsilon;  // size: the learning rate, corrected for the moments' start at zero
};

struct AdagradStep {
    float learning_rate, epsilon;
};

struct Kernels {
    static constexpr std::size_t damaged = ~std::size_t{0};
    // A classifier's rows begin and end at multiples of this, its dense layers are padded with zeros to it.
    static constexpr std::size_t row_bytes = 16, dense_lanes = 16;
    // The noise of a column is the row's, and this for each column before it.
    static constexpr std::uint32_t noise_column = 0x9E3779B9;
    // find() fetches the lines of as many hashes after those it is given as it looks up: this far there must be some.
    static constexpr std::size_t hashes_ahead = 20;

    const char* name;

    // Copies 64 * blocks bytes, A-Z lowered where asked, and says what they are.
    void (*classify)(const char* in, std::size_t blocks, bool lowercase, char* out, Masks* masks);

    // Looks `count` hashes up. The hits, in order: their rows go to `rows`, their indices to `where`; the number of hits
    // is returned, `damaged` for a table that cannot be right. Narrow rows that are found (in a table at `base`, `stride`
    // bytes a row) are fetched.
    std::size_t (*find)(const Lines&, const std::uint64_t* hashes, std::size_t count, std::uint32_t* rows,
                        std::uint32_t* where, const void* base, std::size_t stride);
    // The same where values stand in the slots: adds those of the hits to sums[0..4). count < 2^16.
    std::size_t (*find_values)(const Lines&, const std::uint64_t* hashes, std::size_t count, std::uint32_t* where,
                               std::int32_t* sums);

    // sums[j] += rows[ids[i]][j] for i in order and all j < stride (in numbers), rows of a multiple of 16 bytes.
    // Integer sums must not overflow: at most 2^16 ids. Two numbers of int4 are a byte (docs/FORMAT.md says where).
    void (*gather_int4)(const std::uint8_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                        std::int32_t* sums);
    void (*gather_int8)(const std::int8_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                        std::int32_t* sums);
    void (*gather_int16)(const std::int16_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                         std::int32_t* sums);
    void (*gather_float16)(const std::uint16_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                           float* sums);
    void (*gather_float32)(const float* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                           float* sums);

    // The same with the larger of best[j] and the rows' numbers.
    void (*maximum_int4)(const std::uint8_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                         std::int32_t* best);
    void (*maximum_int8)(const std::int8_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                         std::int32_t* best);
    void (*maximum_int16)(const std::int16_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                          std::int32_t* best);
    void (*maximum_float16)(const std::uint16_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                            float* best);
    void (*maximum_float32)(const float* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                            float* best);

    // For training: rows of any width (stride == width).
    void (*gather_bfloat16)(const std::uint16_t* rows, std::size_t stride, const std::uint32_t* ids, std::size_t count,
                            float* sums);

    // Where a row's number is above best[j], it and the row's id take the place of best[j] and winner[j].
    void (*winners_float32)(const float* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                            float* best, std::uint32_t* winner);
    void (*winners_bfloat16)(const std::uint16_t* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                             float* best, std::uint32_t* winner);
    // out[i] = sum of row ids[i] times `with`, in sixteen parts.
    void (*products_float32)(const float* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                             const float* with, float* out);
    void (*products_bfloat16)(const std::uint16_t* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                              const float* with, float* out);
    // sums[j] += weights[i] * rows[ids[i]][j] for i in order.
    void (*weigh_float32)(const float* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                          const float* weights, float* sums);
    void (*weigh_bfloat16)(const std::uint16_t* rows, std::size_t width, const std::uint32_t* ids, std::size_t count,
                           const float* weights, float* sums);
    // sums[j] += gradient[j] where winner[j] is `id`.
    void (*add_won)(const float* gradient, const std::uint32_t* winner, std::uint32_t id, std::size_t width, float* sums);

    // A step of Adam on one row, in place. bfloat16 rows are rounded up or down at random, so that what is too small to
    // show in one step is not lost in all of them; `noise` is what that chance is a function of.
    void (*adam_float32)(const AdamStep&, const float* gradient, std::size_t width, float* row, float* moment1,
                         float* moment2);
    void (*adam_bfloat16)(const AdamStep&, const float* gradient, std::size_t width, std::uint16_t* row, float* moment1,
                          float* moment2, std::uint32_t noise);
    // A step of row-wise Adagrad: `state` is one number a row.
    void (*adagrad_float32)(const AdagradStep&, const float* gradient, std::size_t width, float* row, float* state);
    void (*adagrad_bfloat16)(const AdagradStep&, const float* gradient, std::size_t width, std::uint16_t* row,
                             float* state, std::uint32_t noise);
    // A step of plain gradient descent, of this size.
    void (*sgd_float32)(float size, const float* gradient, std::size_t width, float* row);
    void (*sgd_bfloat16)(float size, const float* gradient, std::size_t width, std::uint16_t* row, std::uint32_t noise);

    // y[o] = bias[o] + sum of weight[o][i] * x[i]: sixteen partial sums over i modulo 16, then halves added to halves.
    void (*dense)(const float* weight, const float* bias, std::size_t in, std::size_t out, const float* x, float* y);
    // The same sums with weight (in, out), row by row, and `out` a multiple of `dense_lanes`: faster where outputs are many.
    void (*dense_columns)(const float* weight, const float* bias, std::size_t in, std::size_t out, const float* x, float* y);
    // x[j] = sums[j] * (scale[j] / divisor) + bias[j].
    void (*scale_sums)(const std::int32_t* sums, const float* scale, float divisor, const float* bias, std::size_t width, float* x);
    // x[j] = finite(x[j]), as of score.h, and with `relu` what is not positive becomes 0.
    void (*make_finite)(float* x, std::size_t width, bool relu);
};

// Those of the widest instruction set that this processor has.
const Kernels& kernels();
// For tests: all that this processor can run, the plainest first, null at the end; and the choice of one.
const Kernels* const* all_kernels();
void use_kernels(const Kernels&);

}  // namespace sparsedistill
