#include "platform.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <initializer_list>
#include <system_error>
#include <utility>

#ifdef _WIN32
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <intrin.h>
#include <windows.h>
#else
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace sparsedistill {

namespace {

[[noreturn]] void fail(const std::string& what) {
#ifdef _WIN32
    throw std::system_error(static_cast<int>(::GetLastError()), std::system_category(), what);
#else
    throw std::system_error(errno, std::generic_category(), what);
#endif
}

#ifdef _WIN32
// Closes a handle at the end of a scope.
struct Handle {
    HANDLE value;
    bool good() const { return value && value != INVALID_HANDLE_VALUE; }
    ~Handle() {
        if (good()) ::CloseHandle(value);
    }
};

OVERLAPPED place(std::uint64_t at) {
    OVERLAPPED result{};
    result.Offset = static_cast<DWORD>(at);
    result.OffsetHigh = static_cast<DWORD>(at >> 32);
    return result;
}

DWORD at_once(std::size_t size) { return static_cast<DWORD>(std::min<std::size_t>(size, 1 << 30)); }
#endif

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
#ifdef _WIN32
    const Handle file{::CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING, 0,
                                    nullptr)};
    LARGE_INTEGER size;
    if (!file.good() || !::GetFileSizeEx(file.value, &size)) fail(path.string());
    if (!size.QuadPart) return;
    const Handle mapping{::CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr)};
    if (!mapping.good()) fail(path.string());
    const void* const made = ::MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0);
    if (!made) fail(path.string());
    size_ = static_cast<std::size_t>(size.QuadPart);
    data_ = static_cast<const std::byte*>(made);
#else
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) fail(path.string());
    struct stat status;
    void* made = MAP_FAILED;
    bool good = ::fstat(file, &status) == 0;
    if (good && S_ISDIR(status.st_mode)) good = false, errno = EISDIR;
    if (good && status.st_size) {
        made = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_SHARED, file, 0);
        good = made != MAP_FAILED;
    }
    const int error = errno;
    ::close(file);
    errno = error;
    if (!good) fail(path.string());
    if (made == MAP_FAILED) return;  // it is empty
    data_ = static_cast<const std::byte*>(made);
    size_ = static_cast<std::size_t>(status.st_size);
#endif
}

MappedFile::~MappedFile() {
    if (!data_) return;
#ifdef _WIN32
    ::UnmapViewOfFile(data_);
#else
    ::munmap(const_cast<std::byte*>(data_), size_);
#endif
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

TemporaryFile::~TemporaryFile() {
    if (!is_open()) return;
#ifdef _WIN32
    ::CloseHandle(reinterpret_cast<HANDLE>(file_));
#else
    ::close(static_cast<int>(file_));
#endif
}

void TemporaryFile::open(const std::string& directory, const std::string& what) {
#ifdef _WIN32
    wchar_t name[MAX_PATH];
    if (!::GetTempFileNameW(std::filesystem::path(directory).c_str(), L"cnt", 0, name)) fail(what);
    const HANDLE made = ::CreateFileW(name, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                      FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, nullptr);
    if (made == INVALID_HANDLE_VALUE) fail(what);
    file_ = reinterpret_cast<std::intptr_t>(made);
#else
    std::string path = directory + "/.counting.XXXXXX";
    const int made = ::mkstemp(path.data());
    if (made < 0) fail(what);
    ::unlink(path.c_str());
    file_ = made;
#endif
}

void TemporaryFile::write(std::uint64_t at, const void* data, std::size_t size, const std::string& what) {
    for (std::size_t done = 0; done < size;) {
        const auto* const from = static_cast<const char*>(data) + done;
#ifdef _WIN32
        OVERLAPPED to = place(at + done);
        DWORD wrote = 0;
        if (!::WriteFile(reinterpret_cast<HANDLE>(file_), from, at_once(size - done), &wrote, &to)) fail(what);
#else
        const auto wrote = ::pwrite(static_cast<int>(file_), from, size - done, static_cast<off_t>(at + done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) fail(what);
#endif
        done += static_cast<std::size_t>(wrote);
    }
}

void TemporaryFile::read(std::uint64_t at, void* data, std::size_t size, const std::string& what) const {
    for (std::size_t done = 0; done < size;) {
        auto* const to = static_cast<char*>(data) + done;
#ifdef _WIN32
        OVERLAPPED from = place(at + done);
        DWORD got = 0;
        if (!::ReadFile(reinterpret_cast<HANDLE>(file_), to, at_once(size - done), &got, &from) || !got) fail(what);
#else
        const auto got = ::pread(static_cast<int>(file_), to, size - done, static_cast<off_t>(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail(what);
#endif
        done += static_cast<std::size_t>(got);
    }
}

void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t size) {
#ifdef MADV_HUGEPAGE
    ::madvise(memory, size, MADV_HUGEPAGE);
#endif
}

void trim_memory() {
#ifdef __GLIBC__
    ::malloc_trim(0);
#endif
}

void call_after_fork([[maybe_unused]] void (*work)()) {
#ifndef _WIN32
    ::pthread_atfork(nullptr, nullptr, work);
#endif
}

Processor processor() {
    Processor found{};
#if defined(_WIN32) && defined(_M_X64)
    int leaf1[4], leaf7[4];
    __cpuid(leaf1, 0);
    if (leaf1[0] < 7) return found;
    __cpuid(leaf1, 1);
    __cpuidex(leaf7, 7, 0);
    const auto has = [](int word, std::initializer_list<int> bits) {
        return std::all_of(bits.begin(), bits.end(), [&](int bit) { return word >> bit & 1; });
    };
    if (!has(leaf1[2], {23, 27})) return found;  // popcnt; and that the system says which registers it saves:
    const auto saved = ::_xgetbv(0);
    found.avx2 = (saved & 0x06) == 0x06 && has(leaf7[1], {3, 5, 8});  // bmi, avx2, bmi2
    found.avx512 = found.avx2 && (saved & 0xE6) == 0xE6 && has(leaf7[1], {16, 17, 30, 31});  // f, dq, bw, vl
#elif defined(__x86_64__)
    __builtin_cpu_init();
    found.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                 __builtin_cpu_supports("popcnt");
    found.avx512 = found.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return found;
}

}  // namespace sparsedistill
