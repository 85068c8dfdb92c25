// Arithmetic that gives the same bits everywhere, whatever the program around has set and whichever C library it has.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace sparsedistill {

// While it lives, this thread rounds to nearest and neither flushes subnormal results to zero nor reads subnormal numbers as
// zero, as IEEE 754 has it; then it does again what it did before. Libraries built with -ffast-math change that for a process.
class FloatRules {
public:
#if defined(__SSE2__)
    FloatRules() : before_(_mm_getcsr()) {
        if (before_ & rules) set(before_ & ~rules);
    }
    ~FloatRules() {
        if (before_ & rules) set(before_);
    }

private:
    static constexpr std::uint32_t rules = 0x8000 | 0x6000 | 0x0040;  // flush to zero, rounding, subnormals are zero
    using Register = std::uint32_t;
    static void set(Register value) {
        __asm__ volatile("" ::: "memory");  // no load or store, and so no arithmetic on what is loaded, is moved across
        _mm_setcsr(value);
        __asm__ volatile("" ::: "memory");
    }
#elif defined(__aarch64__)
    FloatRules() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(before_)::"memory");
        constexpr std::uint64_t flush = 3, flush16 = 1 << 19, rounding = 3 << 22, zero = 1 << 24;
        set(before_ & ~(flush | flush16 | rounding | zero));
    }
    ~FloatRules() { set(before_); }

private:
    using Register = std::uint64_t;
    static void set(Register value) { __asm__ volatile("msr fpcr, %0" ::"r"(value) : "memory"); }
#else
    FloatRules() {}

private:
    using Register = int;
#endif
    FloatRules(const FloatRules&) = delete;
    FloatRules& operator=(const FloatRules&) = delete;
    [[maybe_unused]] Register before_{};
};

namespace floats_detail {
inline constexpr double per_ln2 = 0x1.71547652b82fep0, ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 0x1.ef35793c76730p-45;
inline double power_of_two(double k) {
    return std::bit_cast<double>(static_cast<std::uint64_t>(static_cast<std::int64_t>(k) + 1023) << 52);
}
}  // namespace floats_detail

// e^x for x <= 0: the Taylor series around the nearest multiple of ln 2, to one unit in the last place.
inline double exponential(double x) {
    using namespace floats_detail;
    if (!(x >= -700.0)) return x < 0.0 ? 0.0 : x;  // what is no number stays none
    const double k = std::floor(x * per_ln2 + 0.5);
    const double r = (x - k * ln2_high) - k * ln2_low;
    double sum = 1.0;
    for (int i = 13; i > 0; --i) sum = 1.0 + r * sum / i;
    return sum * power_of_two(k);
}

// The same for a float, in fewer terms.
inline float exponential(float x) {
    using namespace floats_detail;
    if (!(x >= -104.0f)) return x < 0.0f ? 0.0f : x;
    constexpr double terms[] = {1.0,       1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,
                                1.0 / 120, 1.0 / 720,   1.0 / 5040,   1.0 / 40320,   1.0 / 362880};
    const double k = std::floor(x * per_ln2 + 0.5);
    const double r = (x - k * ln2_high) - k * ln2_low;
    double sum = 0.0;
    for (int i = 9; i >= 0; --i) sum = sum * r + terms[i];
    return static_cast<float>(sum * power_of_two(k));
}

// base^exponent, by squaring.
inline double power(double base, std::uint64_t exponent) {
    double result = 1.0;
    for (; exponent; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

}  // namespace sparsedistill
