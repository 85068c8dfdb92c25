// Documents over threads: the caller's thread works too, and no thread outlives the call (so forking is safe), however it
// ends.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sparsedistill {

// Calls work(begin, end) for consecutive pieces of [0, count), `grain` long, on up to `threads` threads. The first
// exception is thrown again here, after all threads have stopped. `make` is called once a thread and returns `work`,
// so that scratch memory can live in it.
template <class Make>
void parallel_for(std::size_t count, std::size_t grain, unsigned threads, Make make) {
    const std::size_t pieces = (count + grain - 1) / grain;
    threads = static_cast<unsigned>(std::clamp<std::size_t>(pieces, 1, std::max(threads, 1u)));
    std::atomic<std::size_t> next{0};
    std::exception_ptr error;
    std::mutex error_mutex;
    const auto run = [&] {
        try {
            auto work = make();
            for (std::size_t piece; (piece = next.fetch_add(1)) < pieces;)
                work(piece * grain, std::min((piece + 1) * grain, count));
        } catch (...) {
            next = pieces;
            const std::lock_guard lock(error_mutex);
            if (!error) error = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    try {
        others.reserve(threads - 1);
        for (unsigned i = 1; i < threads; ++i) others.emplace_back(run);
    } catch (const std::exception&) {
        // No more threads, or no memory for them: those that started, and this one, do the work.
    }
    run();
    for (auto& other : others) other.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace sparsedistill
