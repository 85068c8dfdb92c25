// Instruction sets chosen when the program starts: the compiler makes one copy of a kernel for each, from one source.
// Products and sums are never fused (-ffp-contract=off), so every copy gives the same bits.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define SPARSEDISTILL_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SPARSEDISTILL_CLONES
#endif
