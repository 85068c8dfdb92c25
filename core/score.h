// Raw text -> logits: the finished classifier's whole work, in one pass over each text.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "bag.h"
#include "lookup.h"
#include "parallel.h"

namespace sparsedistill {

enum class RowType { int4, int8, int16, float16, float32 };

// Copies of a dense layer's weights, as its kernels want them, padded with zeros: (out, in), or (in, out) where there are
// as many outputs as a vector has.
class Dense {
public:
    // weight: (in, out); bias: (out).
    Dense(const float* weight, const float* bias, std::size_t in, std::size_t out);

    std::size_t in() const { return in_; }
    std::size_t out() const { return out_; }
    // x and y have room for so many numbers as fill whole vectors; x has zeros there.
    void operator()(const float* x, float* y) const;

private:
    std::size_t in_, out_;
    bool columns_;
    std::vector<float> weight_, bias_;
};

// A classifier: views into memory that somebody else owns (a mapped file).
struct Model {
    Vocabulary vocabulary;
    RowType row_type;
    const void* rows;           // (V, stride); nothing where the values stand in the lookup table
    std::size_t width, stride;  // numbers of a row that count, and from one row to the next; two of int4 are a byte
    const float* scale;         // (width), integer rows only
    Pooling pooling;            // attentive: a row's last number is its weight, the others are multiplied by it; float rows
    const float* bias;          // (pooled()), added to the pooled vector; pairs: (combined()), to the combined one
    bool pairs;                 // whether two texts make one vector: [a, b, a * b, |a - b|] of their pooled ones
    bool relu_first;            // whether a ReLU stands between the pooled vector and the first dense layer
    std::vector<Dense> layers;  // a ReLU stands between each two of them

    std::size_t row_bytes() const {
        constexpr std::size_t halves[] = {1, 2, 4, 4, 8};  // half bytes a number
        return stride * halves[static_cast<int>(row_type)] / 2;
    }
    std::size_t pooled() const {
        return pooling == Pooling::mean_max ? 2 * width : pooling == Pooling::attentive ? width - 1 : width;
    }
    std::size_t combined() const { return pairs ? 4 * pooled() : pooled(); }
    std::size_t outputs() const { return layers.empty() ? combined() : layers.back().out(); }
};

// logits[t * outputs()] ...: one row a text, or one for each two of them. The same bits for any number of threads, any batch and any processor:
// integer rows are summed exactly, float rows in bag order, dense layers in a fixed order.
// `slices`: so many views after one another make one text, in which no n-gram goes from one of them to the next; pairs have 1.
void score(const Model& model, std::span<const std::string_view> texts, float* logits, unsigned threads, const Stop& stop = Stop(),
           std::size_t slices = 1);

// What a number beyond binary32 counts as, in every pooled vector and after every layer (docs/FORMAT.md): what is not a number
// as 0, an infinite one as the largest of its sign. So whatever a model holds, its logits are finite and can be compared.
inline float finite(float x) {
    constexpr float most = std::numeric_limits<float>::max();
    return x != x ? 0.0f : x > most ? most : x < -most ? -most : x;
}

// Softmax of each row of `classes` logits, or with `independent` the sigmoid of each logit, with an exponential of our own:
// those of C libraries differ in their last bits. Logits count as finite() says.
void probabilities(std::span<const float> logits, std::size_t classes, bool independent, double* out, const Stop& stop = Stop());

}  // namespace sparsedistill
