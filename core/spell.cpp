// The counter's second reading, and what it gives.
#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "count.h"
#include "count_chain.h"
#include "hash.h"
#include "parallel.h"

namespace sparsedistill {

std::uint32_t Counter::find(std::uint64_t key, std::uint32_t more) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = key & mask;; at = (at + 1) & mask) {
        const Slot& slot = slots_[at];
        if (slot.index == none || (slot.key == key && slot.more == more)) return slot.index;
    }
}

void Counter::Speller::spell_block(std::size_t starts, bool tally) {
    const std::size_t mask = counter_.slots_.size() - 1;
    places_.clear();
    for (std::size_t i = 0; i < starts; ++i)
        if (chain_.has(i, chain_.least)) places_.push_back(static_cast<std::uint32_t>(i));
    // An n-gram is never more frequent than its prefix: what is not chosen need not be extended.
    for (unsigned n = chain_.least; n <= chain_.most && !places_.empty(); ++n) {
        const std::size_t last = places_.size() - 1;
        for (std::size_t p = 0; p < std::min(ahead, last); ++p)
            __builtin_prefetch(&counter_.slots_[chain_[places_[p]].key & mask]);
        std::size_t kept = 0;
        for (std::size_t p = 0; p <= last; ++p) {
            __builtin_prefetch(&counter_.slots_[chain_[places_[std::min(p + ahead, last)]].key & mask]);
            const auto i = places_[p];
            const auto index = counter_.find(chain_[i].key, chain_[i].more());
            if (index == none) continue;
            if (tally) counter_.tallies_[index].fetch_add(1, std::memory_order_relaxed);
            auto& is_spelled = counter_.is_spelled_[index];
            if (!is_spelled.load(std::memory_order_relaxed) && !is_spelled.exchange(true)) {
                const std::uint64_t begin = bytes_.size();
                chain_.spell(i, n, bytes_);
                counter_.spelled_[index] = {begin, number_, static_cast<std::uint32_t>(bytes_.size() - begin)};
            }
            if (!chain_.has(i, n + 1)) continue;
            chain_[i] = chain_.extended(i, i + n);
            places_[kept++] = i;
        }
        places_.resize(kept);
    }
}

void Counter::spell(std::span<const std::string_view> texts, bool tally, unsigned threads, const Stop& stop) {
    if (slots_.empty()) throw std::logic_error("n-grams can be spelled once they are chosen");
    begin_change();
    while (spellers_.size() < threads) spellers_.push_back(std::make_unique<Speller>(*this, spellers_.size()));
    std::atomic<std::size_t> next{0};
    parallel_texts(texts, 1, threads, stop, [&] {
        return [&, speller = spellers_[next++].get()](std::size_t begin, std::size_t end) {
            for (std::size_t t = begin; t < end; ++t, stop.poll()) speller->spell(texts[t], tally, stop);
        };
    });
    whole_ = true;
}

Counter::Ngrams Counter::top(unsigned threads, const Stop& stop) const {
    struct Entry {
        std::uint64_t count, first, second;  // and the first sixteen bytes, in the order of strings
        std::uint32_t index;
    };
    if (slots_.empty()) throw std::logic_error("n-grams are at hand once they are chosen and spelled");
    check_whole();
    const auto text = [&](std::uint32_t i) { return (*spellers_[spelled_[i].speller])[spelled_[i]]; };
    Large<Entry> entries(chosen_.size());
    parallel_for(entries.size(), 1 << 14, threads, stop, [&] {
        return [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                if (!is_spelled_[i]) throw std::logic_error("the second reading lacks n-grams of the first: did the texts change?");
                const std::size_t soon = std::min(i + ahead, end - 1);
                if (is_spelled_[soon]) __builtin_prefetch(text(static_cast<std::uint32_t>(soon)).data());
                const auto string = text(static_cast<std::uint32_t>(i));
                char start[16] = {};
                std::memcpy(start, string.data(), std::min(string.size(), sizeof start));
                entries[i] = {chosen_[i].count, __builtin_bswap64(hash_detail::load(start)),
                              __builtin_bswap64(hash_detail::load(start + 8)), static_cast<std::uint32_t>(i)};
            }
        };
    });
    const auto order = [&](const Entry& a, const Entry& b) {
        if (a.count != b.count) return a.count > b.count;
        if (a.first != b.first) return a.first < b.first;
        if (a.second != b.second) return a.second < b.second;
        return text(a.index) < text(b.index);
    };
    // The same, now and then asking whether to go on.
    const auto polled = [&](unsigned& compared) {
        return [&](const Entry& a, const Entry& b) {
            if (++compared % at_once == 0) stop.poll();
            return order(a, b);
        };
    };
    unsigned compared = 0;
    const auto before = polled(compared);
    if (entries.size() > size_) {
        std::nth_element(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(size_), entries.end(), before);
        entries.resize(size_);
    }
    // Parts of which all of one come before all of the next, then each part by itself.
    const std::size_t parts = std::bit_ceil(std::size_t{threads}), size = entries.size();
    const auto at = [&](std::size_t part) { return entries.begin() + static_cast<std::ptrdiff_t>(size * part / parts); };
    for (std::size_t step = parts; step > 1; step /= 2)
        for (std::size_t part = 0; part < parts; part += step)
            if (at(part + step / 2) != at(part + step)) std::nth_element(at(part), at(part + step / 2), at(part + step), before);
    parallel_for(parts, 1, threads, stop, [&] {
        return [&, compared = 0u](std::size_t part, std::size_t) mutable { std::sort(at(part), at(part + 1), polled(compared)); };
    });

    Ngrams result;
    result.offsets.push_back(0);
    for (std::size_t i = 0; i < size; ++i) {
        if (i % at_once == at_once - 1) stop.poll();
        const auto index = entries[i].index;
        __builtin_prefetch(&spelled_[entries[std::min(i + 2 * ahead, size - 1)].index]);
        __builtin_prefetch(&tallies_[entries[std::min(i + 2 * ahead, size - 1)].index]);
        __builtin_prefetch(text(entries[std::min(i + ahead, size - 1)].index).data());
        const auto ngram = text(index);
        result.bytes.insert(result.bytes.end(), ngram.begin(), ngram.end());
        result.offsets.push_back(result.bytes.size());
        result.counts.push_back(entries[i].count);
        result.tallies.push_back(tallies_[index]);
    }
    return result;
}

}  // namespace sparsedistill
