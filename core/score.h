// Raw text -> logits: the finished classifier's whole work, in one pass over each text.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lookup.h"
#include "text.h"

namespace sparsedistill {

enum class RowType { int8, int16, float32 };

struct Dense {
    const float* weight;  // (in, out): the row of one input is contiguous, so that outputs vectorise
    const float* bias;    // (out)
    std::size_t in, out;
};

// A classifier: views into memory that somebody else owns (a mapped file).
struct Model {
    TextRules rules;
    unsigned max_n;
    Lookup lookup;
    RowType row_type;
    const void* rows;           // (V, width)
    std::size_t width;
    const float* scale;         // (width), integer rows only
    const float* bias;          // (width), added to the pooled vector
    bool relu_first;            // whether a ReLU stands between the pooled vector and the first dense layer
    std::vector<Dense> layers;  // a ReLU stands between each two of them

    std::size_t outputs() const { return layers.empty() ? width : layers.back().out; }
};

// logits[t * outputs()] ...: one row a text. The same bits for any number of threads, any batch and any processor:
// integer rows are summed exactly, float rows in bag order, dense layers input by input.
void score(const Model& model, std::span<const std::string_view> texts, float* logits, unsigned threads);

}  // namespace sparsedistill
