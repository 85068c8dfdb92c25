// Memory for tables that are read at random: in huge pages where the system gives them, which saves most of the misses of
// address translation and of the page faults.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace sparsedistill {

template <class T>
struct LargeAllocator {
    using value_type = T;
    LargeAllocator() = default;
    template <class U>
    LargeAllocator(const LargeAllocator<U>&) {}

    T* allocate(std::size_t count) {
        constexpr std::size_t page = std::size_t{1} << 21;
        const std::size_t bytes = count * sizeof(T);
        if (bytes < 2 * page) return static_cast<T*>(::operator new(bytes));
        void* const made = std::aligned_alloc(page, (bytes + page - 1) / page * page);
        if (!made) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        ::madvise(made, bytes, MADV_HUGEPAGE);  // a wish: nothing is lost where it is refused
#endif
        return static_cast<T*>(made);
    }
    void deallocate(T* p, std::size_t count) {
        if (count * sizeof(T) < std::size_t{2} << 21) ::operator delete(p);
        else std::free(p);
    }
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

}  // namespace sparsedistill
