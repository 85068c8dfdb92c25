// All that is asked of the operating system and the processor beyond what C++ has: on POSIX, and on Windows, where it has been
// written and not yet run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace sparsedistill {

// A file in memory, read-only: nothing is copied, and processes share its pages. It must stay as it is meanwhile: where it is
// cut short in place, reading it ends the process.
class MappedFile {
public:
    MappedFile() = default;
    // Errors: std::system_error naming the file.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    std::span<const std::byte> bytes() const { return {data_, size_}; }

private:
    const std::byte* data_ = nullptr;  // of an empty file
    std::size_t size_ = 0;
};

// A file without a name, which is gone when it is closed, or when the process dies.
class TemporaryFile {
public:
    TemporaryFile() = default;
    ~TemporaryFile();
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    bool is_open() const { return file_ != closed; }
    // Errors of these: std::system_error that begins with `what`.
    void open(const std::string& directory, const std::string& what);
    void write(std::uint64_t at, const void* data, std::size_t size, const std::string& what);
    void read(std::uint64_t at, void* data, std::size_t size, const std::string& what) const;

private:
    static constexpr std::intptr_t closed = -1;
    std::intptr_t file_ = closed;
};

// Wishes, of which nothing is lost where they are refused: huge pages for this memory; the C library's unused memory goes back.
void advise_huge_pages(void* memory, std::size_t size);
void trim_memory();

// Has `work` called in every child that the process forks, where there is such a thing.
void call_after_fork(void (*work)());

// What core/dispatch.cpp chooses by; all that CMakeLists.txt has the compiler use for these kernels.
struct Processor {
    bool avx2, avx512;
};
Processor processor();

}  // namespace sparsedistill
