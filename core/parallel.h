// Work over threads: the caller's thread works too, and no thread outlives the call (so forking is safe), however it ends.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "floats.h"

namespace sparsedistill {

// The way out of a long call, polled between parts of its work. `check` is called on the caller's thread alone, every 50 ms,
// and throws where the call is to end; other threads end when one has thrown.
class Stop {
public:
    using Check = void (*)();
    static constexpr std::chrono::milliseconds every{50};

    explicit Stop(Check check = nullptr) : check_(check) {}

    void poll() const {
        if (ended_.load(std::memory_order_relaxed)) throw Ended();
        if (!check_ || std::this_thread::get_id() != caller_) return;
        const auto now = std::chrono::steady_clock::now();
        if (now < next_) return;
        const bool first = next_ == decltype(next_){};
        next_ = now + every;
        if (!first) check_();
    }
    void end() const { ended_ = true; }
    bool checks() const { return check_; }

private:
    struct Ended : std::exception {};

    Check check_;
    std::thread::id caller_ = std::this_thread::get_id();
    mutable std::chrono::steady_clock::time_point next_{};
    mutable std::atomic<bool> ended_{false};
};

// Calls work(begin, end) for the pieces that take() gives, nothing at the end, on up to `threads` threads. `make` is called
// once a thread and returns `work`, so that scratch memory can live in it. The first exception is thrown again here, after all
// threads have stopped.
template <class Take, class Make>
void share_out(unsigned threads, const Stop& stop, Take take, Make make) {
    using Piece = std::optional<std::pair<std::size_t, std::size_t>>;
    const auto run = [&] {
        const FloatRules rules;
        auto work = make();
        for (Piece piece = take(); piece;) {
            work(piece->first, piece->second);
            if ((piece = take())) stop.poll();
        }
    };
    if (threads <= 1) return run();

    std::mutex mutex;
    std::condition_variable done;
    std::exception_ptr error;
    std::size_t finished = 0;
    const auto guarded = [&](const auto& part) {
        try {
            part();
        } catch (...) {
            const std::lock_guard lock(mutex);
            if (!error) error = std::current_exception();
            stop.end();
        }
    };
    std::vector<std::thread> others;
    try {
        others.reserve(threads - 1);
        for (unsigned i = 1; i < threads; ++i)
            others.emplace_back([&] {
                guarded(run);
                const std::lock_guard lock(mutex);
                ++finished;
                done.notify_one();
            });
    } catch (const std::exception&) {
        // No more threads, or no memory for them: those that started, and this one, do the work.
    }
    guarded(run);
    // What the others still do may take long.
    if (stop.checks())
        for (std::unique_lock lock(mutex); !error && finished < others.size();)
            if (done.wait_for(lock, Stop::every) == std::cv_status::timeout) {
                lock.unlock();
                guarded([&] { stop.poll(); });
                lock.lock();
            }
    for (auto& other : others) other.join();
    if (error) std::rethrow_exception(error);
}

// The pieces are consecutive ones of [0, count), `grain` long.
template <class Make>
void parallel_for(std::size_t count, std::size_t grain, unsigned threads, const Stop& stop, Make make) {
    const std::size_t pieces = (count + grain - 1) / grain;
    std::atomic<std::size_t> next{0};
    share_out(static_cast<unsigned>(std::min<std::size_t>(threads, pieces)), stop,
              [&]() -> std::optional<std::pair<std::size_t, std::size_t>> {
                  const std::size_t piece = next.fetch_add(1);
                  if (piece >= pieces) return {};
                  return std::pair{piece * grain, std::min((piece + 1) * grain, count)};
              },
              make);
}

// The pieces are of about equal bytes, for texts differ in length by any factor; of `each` texts that belong together none is cut.
template <class Make>
void parallel_texts(std::span<const std::string_view> texts, std::size_t each, unsigned threads, const Stop& stop, Make make) {
    constexpr std::size_t most_texts = 256, most_bytes = 1 << 16;
    const auto end_of = [&](std::size_t begin) {
        std::size_t end = begin;
        for (std::size_t bytes = 0; end < texts.size() && end - begin < most_texts && bytes < most_bytes;)
            for (std::size_t i = 0; i < each && end < texts.size(); ++i) bytes += texts[end++].size();
        return end;
    };
    unsigned pieces = 0;
    if (threads > 1)
        for (std::size_t at = 0; at < texts.size() && pieces < threads; at = end_of(at)) ++pieces;
    std::size_t next = 0;
    std::mutex mutex;
    share_out(pieces, stop,
              [&]() -> std::optional<std::pair<std::size_t, std::size_t>> {
                  std::unique_lock lock(mutex, std::defer_lock);
                  if (pieces > 1) lock.lock();
                  if (next == texts.size()) return {};
                  const std::size_t begin = std::exchange(next, end_of(next));
                  return std::pair{begin, next};
              },
              make);
}

}  // namespace sparsedistill
