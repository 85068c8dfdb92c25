// Memory: for tables that are read at random, in huge pages where the system gives them, which saves most of the misses of
// address translation and of the page faults; and for scratch vectors that are kept from call to call.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "platform.h"

namespace sparsedistill {

template <class T>
struct LargeAllocator {
    using value_type = T;
    LargeAllocator() = default;
    template <class U>
    LargeAllocator(const LargeAllocator<U>&) {}

    static constexpr std::size_t page = std::size_t{1} << 21;
    // Whole cache lines, and whole pages where the page is worth it.
    static std::align_val_t alignment(std::size_t count) {
        return std::align_val_t{count * sizeof(T) < 2 * page ? std::size_t{64} : page};
    }

    T* allocate(std::size_t count) {
        if (count > ~std::size_t{0} / sizeof(T)) throw std::bad_array_new_length();
        void* const made = ::operator new(count * sizeof(T), alignment(count));
        if (count * sizeof(T) >= 2 * page) advise_huge_pages(made, count * sizeof(T));
        return static_cast<T*>(made);
    }
    void deallocate(T* p, std::size_t count) { ::operator delete(p, alignment(count)); }
    // resize() leaves numbers as they are: they are about to be written.
    template <class U>
    void construct(U* p) {
        ::new (static_cast<void*>(p)) U;
    }
    template <class U, class... Args>
    void construct(U* p, Args&&... args) {
        ::new (static_cast<void*>(p)) U(std::forward<Args>(args)...);
    }
    friend bool operator==(const LargeAllocator&, const LargeAllocator&) { return true; }
};

template <class T>
using Large = std::vector<T, LargeAllocator<T>>;

// Scratch memory past this many bytes is not kept for the next text. The C library keeps what was given back for its threads,
// unless it is told.
inline constexpr std::size_t most_kept = std::size_t{4} << 20;
inline void give_back() { trim_memory(); }

// Makes each of the vectors at least `size` long. Each is asked for its own size: after an allocation that failed, some of a
// group have grown and others have not, and none may vouch for another.
template <class... Vectors>
void grow(std::size_t size, Vectors&... vectors) {
    ((vectors.size() < size ? vectors.resize(size + size / 2) : void()), ...);
}

}  // namespace sparsedistill
