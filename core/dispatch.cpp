#include <atomic>

#include "kernels.h"
#include "platform.h"

namespace sparsedistill {

#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels x86_64, avx2, avx512;
#else
extern const Kernels plain;
#endif

const Kernels* const* all_kernels() {
#if defined(__x86_64__) || defined(_M_X64)
    static const Kernels* const* const list = [] {
        static const Kernels* found[4] = {&x86_64};
        unsigned count = 1;
        const Processor has = processor();
        if (has.avx2) found[count++] = &avx2;
        if (has.avx512) found[count++] = &avx512;
        return found;
    }();
#else
    static const Kernels* const list[] = {&plain, nullptr};
#endif
    return list;
}

namespace {

std::atomic<const Kernels*>& current() {
    static std::atomic<const Kernels*> chosen = [] {
        const Kernels* const* last = all_kernels();
        while (last[1]) ++last;
        return *last;
    }();
    return chosen;
}

}  // namespace

const Kernels& kernels() { return *current().load(std::memory_order_relaxed); }
void use_kernels(const Kernels& which) { current() = &which; }

}  // namespace sparsedistill
