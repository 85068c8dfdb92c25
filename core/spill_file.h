// A temporary file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace sparsedistill {

// An unnamed file that is gone when it is closed, or when the process dies.
class SpillFile {
public:
    explicit SpillFile(std::string directory) : directory_(std::move(directory)) {}
    ~SpillFile();
    SpillFile(const SpillFile&) = delete;
    SpillFile& operator=(const SpillFile&) = delete;

    // Appends, and returns where. Errors: std::system_error naming the directory.
    std::uint64_t append(const void* data, std::size_t size);
    void read(std::uint64_t at, void* data, std::size_t size) const;
    std::uint64_t size() const { return size_; }

private:
    [[noreturn]] void fail(const char* what) const;

    std::string directory_;
    int file_ = -1;
    std::uint64_t size_ = 0;
};

}  // namespace sparsedistill
