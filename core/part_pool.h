// The numbers of a text's parts -> those of the text. The plain twin in Python is in tests/reference.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "parallel.h"

namespace sparsedistill {

// Each column by itself. mean and max: of all parts; top: the mean of the `number` largest, or of all where there are fewer;
// share: how many of the parts have `number` or more, over how many there are.
enum class PartPooling { mean, max, top, share };

// "mean", "max", "top" or "share"; nothing for another name.
std::optional<PartPooling> part_pooling_named(std::string_view name);

// values (parts, columns): those of all texts end to end, counts[t] of them text t's. out (texts, columns): zeros for a text
// without parts. top: number is 1 or more. Sums are in the order of the parts, those of top from the largest on.
void pool_parts(std::span<const double> values, std::size_t columns, std::span<const std::int64_t> counts, PartPooling how,
                double number, double* out, const Stop& stop = Stop());

}  // namespace sparsedistill
