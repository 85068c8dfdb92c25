// Counting n-grams exactly, in bounded memory, over two readings of the texts.
//
// The first counts keys: 88 bits of hash of each n-gram. Keys are partitioned by their highest bits; when memory runs
// out each partition adds up what it has, and goes to disk if that does not help. The second reading spells the keys
// that were chosen. So no string is kept but those of the result, and disk holds 16 bytes a distinct n-gram.
//
// Two n-grams of a billion are taken for one with a chance of 2e-9.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "characters.h"
#include "hash.h"
#include "large.h"
#include "parallel.h"
#include "spill_file.h"
#include "text_rules.h"

namespace sparsedistill {

class Counter {
public:
    // `memory`: bytes to be used at most, but for some MB a thread and for the result; what goes to disk goes to
    // `directory`. Nothing that is counted depends on `seed`, which should be known to nobody who writes the texts: they
    // could make n-grams that take all the time there is. With `characters` those n-grams of all tokens are counted instead.
    Counter(TextRules rules, unsigned max_n, std::uint64_t memory, std::string directory, std::uint64_t seed,
            std::optional<Characters> characters = {});
    ~Counter();

    // A call of add(), choose() or spell() that throws leaves half of its work done: all later calls but that of spilled()
    // then throw std::logic_error.

    // First reading: each occurrence of an n-gram counts `weight` times. All members but this one and
    // `spell` are for one thread at a time.
    void add(std::span<const std::string_view> texts, std::uint32_t weight, unsigned threads, const Stop& stop = Stop());

    // Ends the first reading and chooses the `size` most frequent n-grams seen at least `min_count` times, and with them
    // all that are as frequent as the last of them or, past 65,535 occurrences, nearly. Returns how many different
    // n-grams there were.
    std::uint64_t choose(std::uint64_t size, std::uint64_t min_count, unsigned threads, const Stop& stop = Stop());

    // Second reading, of the same texts. `tally`: count the chosen n-grams in these texts.
    void spell(std::span<const std::string_view> texts, bool tally, unsigned threads, const Stop& stop = Stop());

    struct Ngrams {
        Large<std::uint8_t> bytes;           // the n-grams' strings (lookup.h), end to end
        std::vector<std::uint64_t> offsets;  // (V + 1) where each begins
        std::vector<std::uint64_t> counts;   // (V), weighted
        std::vector<std::uint64_t> tallies;  // (V), of the texts that were tallied
    };
    // The `size` most frequent: count descending, then bytes ascending. In this order a prefix precedes its extensions,
    // so the list is prefix-closed wherever it is cut. Errors: std::logic_error when the second reading lacked a chosen
    // n-gram.
    Ngrams top(unsigned threads, const Stop& stop = Stop()) const;

    std::uint64_t spilled() const { return file_.size(); }  // bytes

private:
    struct Record {
        static constexpr std::uint64_t most = (std::uint64_t{1} << 40) - 1;
        std::uint64_t key;
        std::uint64_t more : 24, count : 40;  // counts stay at their highest value

        bool same(const Record& other) const { return key == other.key && more == other.more; }
        void add(std::uint64_t n) { count = n < most - count ? count + n : most; }
    };
    static_assert(sizeof(Record) == 16);

    static constexpr unsigned partition_bits = 9;
    static constexpr std::size_t partitions = std::size_t{1} << partition_bits, chunk = 256;
    static std::size_t partition_of(std::uint64_t key) { return key >> (64 - partition_bits); }

    struct Extent {
        std::uint64_t at, records;
    };
    struct Partition {
        std::mutex mutex;
        std::vector<Record*> chunks;  // all full but the last
        std::size_t used = 0;         // records
        std::vector<Extent> extents;  // on disk
    };
    class Writer;
    class Sum;

    void check_whole() const;
    void begin_change();  // whole_ is for the change's end to set

    Record* new_chunk();
    void append(Partition& partition, const Record* records, std::size_t count);
    void free_chunks(Partition& partition);
    void compact(unsigned threads, const Stop& stop);
    void spill(const Stop& stop);

    // An n-gram that was chosen.
    struct Slot {
        std::uint64_t key;
        std::uint32_t more, index;
    };
    static constexpr std::uint32_t none = 0xFFFFFFFF;
    std::uint32_t find(std::uint64_t key, std::uint32_t more) const;

    TextRules rules_;
    unsigned max_n_;
    std::optional<Characters> characters_;
    std::uint64_t memory_;
    CharacterHashes hashes_[2];  // of the two families
    SpillFile file_;
    bool whole_ = true;

    std::vector<std::unique_ptr<Writer>> writers_;  // one a thread
    std::unique_ptr<Partition[]> partitions_;
    std::mutex chunks_mutex_;
    std::vector<std::unique_ptr<Record[]>> slabs_;
    std::vector<Record*> free_;
    std::atomic<std::size_t> held_{0};  // chunks in partitions

    std::uint64_t size_ = 0;  // asked of choose()
    Large<Record> chosen_;
    Large<Slot> slots_;
    std::unique_ptr<std::atomic<std::uint64_t>[]> tallies_;
    std::unique_ptr<std::atomic<bool>[]> is_spelled_;
    struct Spelled {
        std::uint64_t begin;  // in the strings of that speller
        std::uint32_t speller, size;
    };
    Large<Spelled> spelled_;
    class Speller;
    std::vector<std::unique_ptr<Speller>> spellers_;  // one a thread
};

}  // namespace sparsedistill
