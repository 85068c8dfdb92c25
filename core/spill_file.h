// A temporary file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "platform.h"

namespace sparsedistill {

// An unnamed file that is gone when it is closed, or when the process dies; made when it is first written to.
class SpillFile {
public:
    explicit SpillFile(std::string directory) : directory_(std::move(directory)) {}

    // Appends, and returns where. Errors: std::system_error naming the directory.
    std::uint64_t append(const void* data, std::size_t size);
    void read(std::uint64_t at, void* data, std::size_t size) const;
    std::uint64_t size() const { return size_; }

private:
    std::string directory_;
    TemporaryFile file_;
    std::uint64_t size_ = 0;
};

}  // namespace sparsedistill
