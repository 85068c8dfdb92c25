// Files of arrays in the safetensors layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace sparsedistill {

enum class NumberType : std::uint8_t { u8, i8, i16, u32, i64, u64, f16, bf16, f32 };

// An array inside a file; it may begin at any byte.
struct Tensor {
    std::string name;
    NumberType type;
    std::vector<std::uint64_t> shape;
    std::span<const std::byte> bytes;
};

// The type's name in the file, and the bytes of a number.
std::string_view name_of(NumberType type);
std::size_t size_of(NumberType type);

// The arrays of a file that is in memory, in its order, without its padding. Each lies inside the file, has the bytes that its
// shape asks for, and as many numbers as memory can hold, were it not for a size of 0. Errors: FormatError naming `file`.
std::vector<Tensor> read_tensors(std::span<const std::byte> content, const std::string& file);

}  // namespace sparsedistill
