#include "spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace sparsedistill {

SpillFile::~SpillFile() {
    if (file_ >= 0) ::close(file_);
}

void SpillFile::fail(const char* what) const {
    throw std::system_error(errno, std::generic_category(), std::string(what) + " in " + directory_);
}

std::uint64_t SpillFile::append(const void* data, std::size_t size) {
    if (file_ < 0) {
        std::string path = directory_ + "/.counting.XXXXXX";
        file_ = ::mkstemp(path.data());
        if (file_ < 0) fail("cannot make a temporary file");
        ::unlink(path.c_str());
    }
    const std::uint64_t at = size_;
    for (std::size_t done = 0; done < size;) {
        const auto wrote = ::pwrite(file_, static_cast<const char*>(data) + done, size - done, static_cast<off_t>(at + done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) fail("cannot write n-grams to a temporary file");
        done += static_cast<std::size_t>(wrote);
    }
    size_ += size;
    return at;
}

void SpillFile::read(std::uint64_t at, void* data, std::size_t size) const {
    for (std::size_t done = 0; done < size;) {
        const auto got = ::pread(file_, static_cast<char*>(data) + done, size - done, static_cast<off_t>(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail("cannot read n-grams back from a temporary file");
        done += static_cast<std::size_t>(got);
    }
}

}  // namespace sparsedistill
