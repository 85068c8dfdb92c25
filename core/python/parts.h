// Parts of texts, as Python names and gets them.
#pragma once

#include <cstdint>
#include <string>

#include "../excerpt.h"
#include "../segment.h"
#include "common.h"

namespace sparsedistill::python {

Parting parting(const std::string& kind, std::size_t size, std::size_t step);
Excerpt excerpt(const std::string& of, std::size_t bytes);

// (offsets (P, 2), number of parts of each text (n,)), in bytes, or with `characters` in code points.
std::pair<Made2<std::int64_t>, Made1<std::int64_t>> to_offsets(std::span<const std::string_view> texts, Parts parts, bool characters,
                                                               unsigned threads);

}  // namespace sparsedistill::python
