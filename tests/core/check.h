// All that these tests need of a framework: CHECK() counts and prints what does not hold, finish() is the exit status.
#pragma once

#include <cstdio>

namespace checks {

inline int wrong = 0;

// At most a few lines: the first ones say what is wrong.
inline void check(bool holds, const char* text, const char* file, int line, const char* about) {
    if (holds || ++wrong > 20) return;
    std::printf("%s:%d: does not hold: %s%s%s\n", file, line, text, *about ? ", of " : "", about);
}

inline int finish() {
    std::puts(wrong ? "wrong" : "all right");
    return wrong != 0;
}

}  // namespace checks

#define CHECK(condition) checks::check((condition), #condition, __FILE__, __LINE__, "")
// With a few words on which of many cases this is.
#define CHECK_OF(about, condition) checks::check((condition), #condition, __FILE__, __LINE__, std::string(about).c_str())
