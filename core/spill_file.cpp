#include "spill_file.h"

namespace sparsedistill {

std::uint64_t SpillFile::append(const void* data, std::size_t size) {
    if (!file_.is_open()) file_.open(directory_, "cannot make a temporary file in " + directory_);
    const std::uint64_t at = size_;
    file_.write(at, data, size, "cannot write n-grams to a temporary file in " + directory_);
    size_ += size;
    return at;
}

void SpillFile::read(std::uint64_t at, void* data, std::size_t size) const {
    file_.read(at, data, size, "cannot read n-grams back from a temporary file in " + directory_);
}

}  // namespace sparsedistill
