// The kernels of every instruction set that this processor has: those of scoring against plain loops, all of them against
// the plainest set, to the bit, at sizes that are no multiple of anything.
#include "kernels.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "check.h"

using namespace sparsedistill;

namespace {

std::mt19937 generator(1);

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || !std::memcmp(a.data(), b.data(), a.size() * sizeof(T)));
}

// Calls use(kernels, result) for each set with a copy of `start`, and compares what it becomes with `expected`, or with what
// the plainest set makes of it where that is empty.
template <class T, class Use>
void each_set(const std::string& about, const std::vector<T>& start, std::vector<T> expected, Use use) {
    for (const Kernels* const* set = all_kernels(); *set; ++set) {
        std::vector<T> result = start;
        use(**set, result);
        if (expected.empty()) expected = result;
        else CHECK_OF(about + " of " + (*set)->name, same(result, expected));
    }
}

void classifying() {
    for (const std::size_t blocks : {0, 1, 2, 3, 7})
        for (const bool lowercase : {false, true}) {
            std::string text(64 * blocks, ' ');
            for (char& c : text) c = static_cast<char>(generator());
            for (const Kernels* const* set = all_kernels(); *set; ++set) {
                std::string out(text.size(), '?');
                std::vector<Masks> masks(blocks);
                (*set)->classify(text.data(), blocks, lowercase, out.data(), masks.data());
                for (std::size_t i = 0; i < text.size(); ++i) {
                    const auto c = static_cast<unsigned char>(text[i]);
                    const bool upper = c >= 'A' && c <= 'Z', ascii = c < 0x80;
                    const auto bit = [&](std::uint64_t mask) { return static_cast<bool>(mask >> i % 64 & 1); };
                    const Masks& m = masks[i / 64];
                    CHECK(static_cast<unsigned char>(out[i]) == (upper && lowercase ? c + 32 : c));
                    CHECK(bit(m.word) == (ascii && (std::isalnum(c) || c == '_')));
                    CHECK(bit(m.quote) == (c == '\''));
                    CHECK(bit(m.space) == ((c >= 9 && c <= 13) || (c >= 28 && c <= 32)));
                    CHECK(bit(m.gap) == (c <= 32 || c == 127));
                    CHECK(bit(m.high) == !ascii);
                }
            }
        }
}

// A row's number, as docs/FORMAT.md has it: the largest exponent of 16 bits is one like the others.
float half_value(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float value = exponent ? std::ldexp(1.0f + static_cast<float>(mantissa) / 1024, exponent - 15)
                                 : std::ldexp(static_cast<float>(mantissa), -24);
    return bits & 0x8000 ? -value : value;
}
float bfloat_value(std::uint16_t bits) {
    const std::uint32_t wide = std::uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

template <class Row>
std::vector<Row> random_rows(std::size_t count) {
    std::vector<Row> rows(count);
    for (Row& one : rows)
        if constexpr (std::is_same_v<Row, float>) one = static_cast<float>(static_cast<std::int32_t>(generator())) / 65536;
        else one = static_cast<Row>(generator());
    return rows;
}

std::vector<std::uint32_t> random_ids(std::size_t count, std::size_t rows) {
    std::vector<std::uint32_t> ids(count);
    for (auto& id : ids) id = static_cast<std::uint32_t>(generator() % rows);
    return ids;
}

// What rows are added up or compared in: value() turns a number into that.
template <class Row, class Sum, class Value, class Gather, class Maximum>
void rows_of(const std::string& name, Value value, Gather gather, Maximum maximum, const std::vector<std::size_t>& strides) {
    constexpr std::size_t count = 300;
    for (const std::size_t stride : strides) {
        auto rows = random_rows<Row>(count * stride);
        // A column of nothing but the lowest number, whose sums are the first to overflow.
        if constexpr (std::is_signed_v<Row> && sizeof(Row) < 4)
            for (std::size_t i = 0; i < count; ++i) rows[i * stride + 1] = std::numeric_limits<Row>::min();
        for (const std::size_t ids : {0, 1, 2, 3, 15, 16, 17, 33, 127, 128, 129, 257, 1000}) {
            const auto bag = random_ids(ids, count);
            std::vector<Sum> start(stride), sums, best;
            for (auto& one : start) one = static_cast<Sum>(static_cast<std::int32_t>(generator() % 2000) - 1000);
            sums = best = start;
            for (const auto id : bag)
                for (std::size_t j = 0; j < stride; ++j) {
                    const Sum number = value(rows[id * stride + j]);
                    sums[j] += number;
                    if (best[j] < number) best[j] = number;
                }
            const std::string about = name + ", " + std::to_string(ids) + " rows of " + std::to_string(stride);
            each_set(about + ", sum", start, sums, [&](const Kernels& kernel, std::vector<Sum>& out) {
                (kernel.*gather)(rows.data(), stride, bag.data(), ids, out.data());
            });
            if constexpr (!std::is_null_pointer_v<Maximum>)
                each_set(about + ", maximum", start, best, [&](const Kernels& kernel, std::vector<Sum>& out) {
                    (kernel.*maximum)(rows.data(), stride, bag.data(), ids, out.data());
                });
        }
    }
}

// Two numbers a byte, those of column j and j + 16 of each 32.
void gathering_int4() {
    constexpr std::size_t count = 300;
    for (const std::size_t stride : {32, 64, 96, 128, 160, 224, 256, 288, 480, 512, 544, 1056}) {
        auto rows = random_rows<std::uint8_t>(count * stride / 2);
        // Columns of nothing but the highest and the lowest number, whose sums are the first to overflow.
        for (std::size_t i = 0; i < count; ++i) rows[i * stride / 2] = 0xF0, rows[i * stride / 2 + 1] = 0x0F;
        const auto number = [&](std::size_t row, std::size_t j) {
            const unsigned both = rows[row * stride / 2 + j / 32 * 16 + j % 16];
            return static_cast<std::int32_t>(j % 32 < 16 ? both & 15 : both >> 4) - 8;
        };
        for (const std::size_t ids : {0, 1, 2, 3, 15, 16, 17, 33, 127, 128, 129, 257, 1000, 4096, 4097, 9000}) {
            const auto bag = random_ids(ids, count);
            std::vector<std::int32_t> start(stride), sums, best;
            for (auto& one : start) one = static_cast<std::int32_t>(generator() % 20) - 10;
            sums = best = start;
            for (const auto id : bag)
                for (std::size_t j = 0; j < stride; ++j) {
                    sums[j] += number(id, j);
                    best[j] = std::max(best[j], number(id, j));
                }
            const std::string about = "int4, " + std::to_string(ids) + " rows of " + std::to_string(stride);
            const auto each = [&](const std::string& what, auto expected, auto kernel) {
                each_set(about + what, start, expected, [&](const Kernels& kernels, std::vector<std::int32_t>& out) {
                    (kernels.*kernel)(rows.data(), stride, bag.data(), ids, out.data());
                });
            };
            each(", sum", sums, &Kernels::gather_int4);
            each(", maximum", best, &Kernels::maximum_int4);
        }
    }
}

void gathering() {
    const auto integer = [](auto x) { return static_cast<std::int32_t>(x); };
    const auto real = [](float x) { return x; };
    // Multiples of 16 bytes, around each size that registers and blocks of them have.
    rows_of<std::int8_t, std::int32_t>("int8", integer, &Kernels::gather_int8, &Kernels::maximum_int8,
                                       {16, 32, 48, 64, 80, 112, 128, 144, 240, 256, 272, 528});
    rows_of<std::int16_t, std::int32_t>("int16", integer, &Kernels::gather_int16, &Kernels::maximum_int16,
                                        {8, 16, 24, 32, 40, 56, 64, 72, 120, 136, 264});
    rows_of<std::uint16_t, float>("float16", half_value, &Kernels::gather_float16, &Kernels::maximum_float16,
                                  {8, 16, 24, 32, 40, 56, 64, 72, 120, 136, 264});
    rows_of<float, float>("float32", real, &Kernels::gather_float32, &Kernels::maximum_float32,
                          {4, 8, 12, 16, 20, 28, 32, 36, 60, 68, 132});
    // In training rows are of any width.
    rows_of<float, float>("float32 of any width", real, &Kernels::gather_float32, nullptr, {1, 2, 3, 5, 7, 17, 33, 65, 127});
    // Bits of anything, but for what is no number: that has no one pattern of bits.
    const auto bfloat = [](std::uint16_t bits) { return bfloat_value(bits); };
    constexpr std::size_t count = 50;
    for (const std::size_t width : {1, 2, 3, 7, 8, 9, 31, 33, 100}) {
        auto rows = random_rows<std::uint16_t>(count * width);
        for (auto& one : rows) one = static_cast<std::uint16_t>((one & 0x8FFF) | 0x3000);
        const auto bag = random_ids(77, count);
        std::vector<float> start(width, 0.5f), sums = start;
        for (const auto id : bag)
            for (std::size_t j = 0; j < width; ++j) sums[j] += bfloat(rows[id * width + j]);
        each_set("bfloat16, rows of " + std::to_string(width), start, sums, [&](const Kernels& kernel, std::vector<float>& out) {
            kernel.gather_bfloat16(rows.data(), width, bag.data(), bag.size(), out.data());
        });
    }
}

// What a layer gives; weight(i, o) is that of input i and output o.
template <class Weight>
std::vector<float> layer(std::size_t in, const std::vector<float>& bias, const std::vector<float>& x, Weight weight) {
    std::vector<float> y(bias.size());
    for (std::size_t o = 0; o < y.size(); ++o) {
        float lanes[16] = {};
        for (std::size_t i = 0; i < in; ++i) lanes[i % 16] += weight(i, o) * x[i];
        for (std::size_t half = 8; half; half /= 2)
            for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
        y[o] = bias[o] + lanes[0];
    }
    return y;
}

void dense() {
    for (const std::size_t in : {16, 32, 48, 112})
        for (const std::size_t out : {1, 2, 3, 4, 5, 7, 8, 9}) {
            const auto weight = random_rows<float>(in * out), bias = random_rows<float>(out), x = random_rows<float>(in);
            const auto expected = layer(in, bias, x, [&](std::size_t i, std::size_t o) { return weight[o * in + i]; });
            each_set("dense " + std::to_string(in) + " x " + std::to_string(out), std::vector<float>(out), expected,
                     [&](const Kernels& kernel, std::vector<float>& y) {
                         kernel.dense(weight.data(), bias.data(), in, out, x.data(), y.data());
                     });
        }
}

void dense_columns() {
    for (const std::size_t in : {1, 3, 4, 5, 12, 15, 16, 17, 31, 32, 100})
        for (const std::size_t out : {16, 32, 48}) {
            const auto weight = random_rows<float>(in * out), bias = random_rows<float>(out), x = random_rows<float>(in);
            const auto expected = layer(in, bias, x, [&](std::size_t i, std::size_t o) { return weight[i * out + o]; });
            each_set("dense columns " + std::to_string(in) + " x " + std::to_string(out), std::vector<float>(out), expected,
                     [&](const Kernels& kernel, std::vector<float>& y) {
                         kernel.dense_columns(weight.data(), bias.data(), in, out, x.data(), y.data());
                     });
        }
}

// All against the plainest set.
void training() {
    constexpr std::size_t count = 40;
    for (const std::size_t width : {1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 65, 130}) {
        const std::string about = ", rows of " + std::to_string(width);
        const auto rows = random_rows<float>(count * width), with = random_rows<float>(width), weights = random_rows<float>(70);
        auto halves = random_rows<std::uint16_t>(count * width);
        for (auto& one : halves) one = static_cast<std::uint16_t>((one & 0x8FFF) | 0x3000);
        const auto bag = random_ids(weights.size(), count);
        const auto size = bag.size();
        using Floats = std::vector<float>;
        const auto over = [&](const std::string& name, std::size_t n, auto use) {
            each_set(name + about, Floats(n, -1.0f), {}, use);
        };
        const auto winners = [&](auto function, const auto* table) {
            return [&, function, table](const Kernels& kernel, Floats& best) {
                std::vector<std::uint32_t> winner(width, 7);
                (kernel.*function)(table, width, bag.data(), size, best.data(), winner.data());
                for (const auto id : winner) best.push_back(static_cast<float>(id));
            };
        };
        over("winners", width, winners(&Kernels::winners_float32, rows.data()));
        over("winners, bfloat16", width, winners(&Kernels::winners_bfloat16, halves.data()));
        over("products", size, [&](const Kernels& kernel, Floats& out) {
            kernel.products_float32(rows.data(), width, bag.data(), size, with.data(), out.data());
        });
        over("products, bfloat16", size, [&](const Kernels& kernel, Floats& out) {
            kernel.products_bfloat16(halves.data(), width, bag.data(), size, with.data(), out.data());
        });
        over("weigh", width, [&](const Kernels& kernel, Floats& sums) {
            kernel.weigh_float32(rows.data(), width, bag.data(), size, weights.data(), sums.data());
        });
        over("weigh, bfloat16", width, [&](const Kernels& kernel, Floats& sums) {
            kernel.weigh_bfloat16(halves.data(), width, bag.data(), size, weights.data(), sums.data());
        });
        const auto winner = random_ids(width, 3);
        over("add_won", width, [&](const Kernels& kernel, Floats& sums) {
            kernel.add_won(with.data(), winner.data(), 1, width, sums.data());
        });
        // A row with its state behind it.
        const auto stepped = [&](const std::string& name, const auto& row, std::size_t states, auto step) {
            std::vector<std::uint8_t> start(row.size() * sizeof row[0] + states * sizeof(float));
            std::memcpy(start.data(), row.data(), row.size() * sizeof row[0]);
            each_set(name + about, start, {}, [&](const Kernels& kernel, std::vector<std::uint8_t>& out) {
                auto mine = row;
                Floats state(states, 0.25f);
                for (int i = 0; i < 3; ++i) step(kernel, mine.data(), state.data());
                std::memcpy(out.data(), mine.data(), mine.size() * sizeof mine[0]);
                if (states) std::memcpy(out.data() + mine.size() * sizeof mine[0], state.data(), states * sizeof(float));
            });
        };
        const AdamStep adam{0.1f, 0.9f, 0.98f, 1e-6f};
        const AdagradStep adagrad{0.1f, 1e-6f};
        const Floats row(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(width));
        const std::vector<std::uint16_t> half(halves.begin(), halves.begin() + static_cast<std::ptrdiff_t>(width));
        stepped("adam", row, 2 * width, [&](const Kernels& kernel, float* at, float* state) {
            kernel.adam_float32(adam, with.data(), width, at, state, state + width);
        });
        stepped("adam, bfloat16", half, 2 * width, [&](const Kernels& kernel, std::uint16_t* at, float* state) {
            kernel.adam_bfloat16(adam, with.data(), width, at, state, state + width, 12345);
        });
        stepped("adagrad", row, 1, [&](const Kernels& kernel, float* at, float* state) {
            kernel.adagrad_float32(adagrad, with.data(), width, at, state);
        });
        stepped("adagrad, bfloat16", half, 1, [&](const Kernels& kernel, std::uint16_t* at, float* state) {
            kernel.adagrad_bfloat16(adagrad, with.data(), width, at, state, 12345);
        });
        stepped("sgd", row, 0, [&](const Kernels& kernel, float* at, float*) { kernel.sgd_float32(0.1f, with.data(), width, at); });
        stepped("sgd, bfloat16", half, 0, [&](const Kernels& kernel, std::uint16_t* at, float*) {
            kernel.sgd_bfloat16(0.1f, with.data(), width, at, 12345);
        });
    }
}

// The choice of a set, and that all are of the list.
void choosing() {
    const Kernels* const* const list = all_kernels();
    CHECK(list[0] != nullptr);
    for (const Kernels* const* set = list; *set; ++set) {
        use_kernels(**set);
        CHECK(&kernels() == *set);
    }
}

}  // namespace

int main() {
    classifying();
    gathering();
    gathering_int4();
    dense();
    dense_columns();
    training();
    choosing();
    return checks::finish();
}
