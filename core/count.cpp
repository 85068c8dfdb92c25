// The first reading, and the choice after it.
#include "count.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <stdexcept>

#include "count_chain.h"
#include "parallel.h"

namespace sparsedistill {

// What one thread has counted and not handed over yet: a cache in which frequent n-grams are added up, and a buffer a
// partition, so that few locks are taken.
class Counter::Writer {
public:
    explicit Writer(Counter& counter)
        : counter_(counter), chain_(counter.rules_, counter.max_n_, counter.characters_, counter.hashes_), cache_(cache_size),
          buffers_(partitions * room), fill_(partitions, 0) {}

    // after() is called between parts of a long text.
    template <class After>
    void add(std::string_view text, std::uint32_t weight, const Stop& stop, After after) {
        chain_.read(text, stop, [&](std::size_t starts) {
            for (unsigned n = chain_.least; n <= chain_.most; ++n)
                for (std::size_t i = 0; i < starts; ++i) {
                    if (!chain_.has(i, n)) continue;
                    if (n > chain_.least) chain_[i] = chain_.extended(i, i + n - 1);
                    const Record record{chain_[i].key, chain_[i].more(), weight};
                    Record& cached = cache_[record.key & (cache_size - 1)];
                    if (cached.same(record)) {
                        cached.add(weight);
                    } else {
                        if (cached.count) put(cached);
                        cached = record;
                    }
                }
            after();
        });
    }

    void flush() {
        for (Record& cached : cache_) {
            if (cached.count) put(cached);
            cached = {};
        }
        for (std::size_t p = 0; p < partitions; ++p) {
            counter_.append(counter_.partitions_[p], buffers_.data() + p * room, fill_[p]);
            fill_[p] = 0;
        }
    }

private:
    static constexpr std::size_t cache_size = 1 << 14, room = 16;

    void put(const Record& record) {
        const std::size_t p = partition_of(record.key);
        buffers_[p * room + fill_[p]++] = record;
        if (fill_[p] == room) {
            counter_.append(counter_.partitions_[p], buffers_.data() + p * room, room);
            fill_[p] = 0;
        }
    }

    Counter& counter_;
    Chain chain_;
    std::vector<Record> cache_, buffers_;
    std::vector<std::uint8_t> fill_;
};

// Adds records up by their keys.
class Counter::Sum {
public:
    void begin(std::size_t most) {
        used_ = 0;
        table_.assign(std::bit_ceil(std::max<std::size_t>(most / 2, 64)), Record{});
    }

    void add(const Record& record) {
        Record& found = place(record);
        if (found.count) {
            found.add(record.count);
        } else {
            found = record;
            if (++used_ * 2 > table_.size()) grow();
        }
    }

    std::size_t size() const { return used_; }
    const Large<Record>& table() const { return table_; }  // those with a count

private:
    Record& place(const Record& record) {
        const std::size_t mask = table_.size() - 1;
        std::size_t at = record.key & mask;
        while (table_[at].count && !table_[at].same(record)) at = (at + 1) & mask;
        return table_[at];
    }
    void grow() {
        Large<Record> old(2 * table_.size(), Record{});
        old.swap(table_);
        for (const Record& record : old)
            if (record.count) place(record) = record;
    }

    Large<Record> table_;
    std::size_t used_ = 0;
};

Counter::Counter(TextRules rules, unsigned max_n, std::uint64_t memory, std::string directory, std::uint64_t seed,
                 std::optional<Characters> characters)
    : rules_(rules), max_n_(max_n), characters_(characters), memory_(memory),
      hashes_{CharacterHashes(HashKey(seed)), CharacterHashes(HashKey(~seed))}, file_(std::move(directory)),
      partitions_(std::make_unique<Partition[]>(partitions)) {}

Counter::~Counter() = default;

void Counter::check_whole() const {
    if (!whole_)
        throw std::logic_error("a call on this counter failed or was interrupted, so what it holds is not whole: count again with a new one");
}

void Counter::begin_change() {
    check_whole();
    whole_ = false;
}

Counter::Record* Counter::new_chunk() {
    constexpr std::size_t slab = 256;  // chunks
    const std::lock_guard lock(chunks_mutex_);
    if (free_.empty()) {
        slabs_.push_back(std::make_unique_for_overwrite<Record[]>(slab * chunk));
        for (std::size_t i = slab; i-- > 0;) free_.push_back(slabs_.back().get() + i * chunk);
    }
    Record* const result = free_.back();
    free_.pop_back();
    ++held_;
    return result;
}

void Counter::append(Partition& partition, const Record* records, std::size_t count) {
    const std::lock_guard lock(partition.mutex);
    while (count) {
        const std::size_t within = partition.used % chunk;
        if (within == 0) partition.chunks.push_back(new_chunk());
        const std::size_t n = std::min(count, chunk - within);
        std::memcpy(partition.chunks.back() + within, records, n * sizeof(Record));
        partition.used += n;
        records += n;
        count -= n;
    }
}

void Counter::free_chunks(Partition& partition) {
    const std::lock_guard lock(chunks_mutex_);
    held_ -= partition.chunks.size();
    free_.insert(free_.end(), partition.chunks.begin(), partition.chunks.end());
    partition.chunks.clear();
    partition.used = 0;
}

void Counter::add(std::span<const std::string_view> texts, std::uint32_t weight, unsigned threads, const Stop& stop) {
    if (!slots_.empty()) throw std::logic_error("counting has ended: n-grams were chosen");
    begin_change();
    const std::uint64_t most = memory_ / 2 / (chunk * sizeof(Record));  // chunks
    // Texts read before memory is looked at: so many records a byte gives at most. In a text of more bytes it is looked at
    // between blocks.
    const std::uint64_t records = characters_ ? characters_->rows_a_byte() : max_n_;
    const std::uint64_t most_bytes = memory_ / 8 / (sizeof(Record) * records), long_text = std::max<std::uint64_t>(most_bytes, 1 << 16);
    const auto make_room = [&] {
        if (held_ <= most) return;
        compact(threads, stop);
        if (held_ > most / 2) spill(stop);
    };
    threads = std::max(threads, 1u);
    for (std::size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
        while (writers_.size() < threads) writers_.push_back(std::make_unique<Writer>(*this));
        if (texts[begin].size() > long_text) {
            writers_[0]->add(texts[end++], weight, stop, make_room);
            continue;
        }
        for (std::uint64_t bytes = 0; end < texts.size() && (end == begin || bytes < most_bytes) && texts[end].size() <= long_text; ++end)
            bytes += texts[end].size();
        std::atomic<std::size_t> next{0};
        parallel_texts(texts.subspan(begin, end - begin), 1, threads, stop, [&] {
            Writer& writer = *writers_[next++];
            return [&, begin](std::size_t first, std::size_t last) {
                for (std::size_t i = first; i < last; ++i, stop.poll()) writer.add(texts[begin + i], weight, stop, [] {});
            };
        });
        make_room();
    }
    whole_ = true;
}

void Counter::compact(unsigned threads, const Stop& stop) {
    parallel_for(partitions, 1, threads, stop, [&] {
        return [&, sum = Sum()](std::size_t p, std::size_t) mutable {
            Partition& partition = partitions_[p];
            sum.begin(partition.used);
            for (std::size_t i = 0; i < partition.used; ++i) sum.add(partition.chunks[i / chunk][i % chunk]);
            free_chunks(partition);
            for (const Record& record : sum.table())
                if (record.count) append(partition, &record, 1);
        };
    });
}

void Counter::spill(const Stop& stop) {
    std::vector<Record> records;
    for (std::size_t p = 0; p < partitions; ++p) {
        Partition& partition = partitions_[p];
        if (!partition.used) continue;
        stop.poll();
        records.resize(partition.used);
        for (std::size_t i = 0; i < partition.used; i += chunk)
            std::memcpy(records.data() + i, partition.chunks[i / chunk],
                        std::min(chunk, partition.used - i) * sizeof(Record));
        partition.extents.push_back({file_.append(records.data(), records.size() * sizeof(Record)), records.size()});
        free_chunks(partition);
    }
}

// Between the readings

std::uint64_t Counter::choose(std::uint64_t size, std::uint64_t min_count, unsigned threads, const Stop& stop) {
    if (!slots_.empty()) throw std::logic_error("counting has ended: n-grams were chosen");
    begin_change();
    for (const auto& writer : writers_) writer->flush();
    writers_.clear();
    size_ = size;
    std::atomic<std::uint64_t> distinct{0}, least{std::max<std::uint64_t>(min_count, 1)};
    // How many n-grams were seen how often (beyond the last: as often or more), and how many not below `least`. Those below
    // are not wanted: enough are more frequent, or they are too rare.
    std::vector<std::uint64_t> frequencies(1 << 16, 0);
    const std::uint64_t last = frequencies.size() - 1;
    std::uint64_t above = 0;
    std::mutex mutex;
    const auto tell = [&](const Large<Record>& found, std::size_t from) {
        const std::lock_guard lock(mutex);
        std::uint64_t floor = least;
        for (std::size_t i = from; i < found.size(); ++i) {
            ++frequencies[std::min<std::uint64_t>(found[i].count, last)];
            above += found[i].count >= floor;
        }
        for (; floor < last && above - frequencies[floor] >= size; ++floor) above -= frequencies[floor];
        least = floor;
    };
    const auto drop = [&](Large<Record>& found) {
        const std::uint64_t floor = least;
        std::erase_if(found, [&](const Record& r) { return r.count < floor; });
    };

    std::deque<Large<Record>> parts;
    const std::uint64_t room = std::max<std::uint64_t>(memory_ / 8 / threads, 1 << 16);  // bytes of one sum
    parallel_for(partitions, 1, threads, stop, [&] {
        const std::lock_guard lock(mutex);
        return [&, &found = parts.emplace_back(), most = std::size_t{1} << 16, sum = Sum(),
                read = std::vector<Record>(1 << 14)](std::size_t p, std::size_t) mutable {
            Partition& partition = partitions_[p];
            std::uint64_t records = partition.used;
            for (const auto& extent : partition.extents) records += extent.records;
            const std::uint64_t slices = 1 + records * 2 * sizeof(Record) / room;
            for (std::uint64_t slice = 0; slice < slices; ++slice) {
                stop.poll();
                sum.begin(records / slices);
                const auto add = [&](const Record& record) {
                    if (slices == 1 || (record.key >> 32) % slices == slice) sum.add(record);
                };
                for (std::size_t i = 0; i < partition.used; ++i) add(partition.chunks[i / chunk][i % chunk]);
                for (const auto& extent : partition.extents)
                    for (std::uint64_t done = 0; done < extent.records;) {
                        const std::size_t n = std::min<std::uint64_t>(read.size(), extent.records - done);
                        file_.read(extent.at + done * sizeof(Record), read.data(), n * sizeof(Record));
                        for (std::size_t i = 0; i < n; ++i) add(read[i]);
                        done += n;
                        stop.poll();
                    }
                distinct += sum.size();
                const std::uint64_t floor = least;
                const std::size_t before = found.size();
                for (const Record& record : sum.table())
                    if (record.count && record.count >= floor) found.push_back(record);
                tell(found, before);
                if (found.size() > most) {
                    drop(found);
                    most = 2 * found.size() + (1 << 16);
                }
            }
            free_chunks(partition);
        };
    });
    for (auto& part : parts) {
        drop(part);
        if (chosen_.empty()) chosen_.swap(part);
        else chosen_.insert(chosen_.end(), part.begin(), part.end());
        part = {};
    }
    partitions_.reset();
    free_.clear();
    slabs_.clear();
    if (chosen_.size() >= none) throw std::length_error("more than 2^32 - 2 n-grams are as frequent as asked: raise min_count");

    const std::size_t count = chosen_.size();
    slots_.resize(std::bit_ceil(2 * count + 1));
    for (std::size_t i = 0; i < slots_.size(); i += std::min(at_once, slots_.size() - i), stop.poll())
        std::fill_n(slots_.begin() + static_cast<std::ptrdiff_t>(i), std::min(at_once, slots_.size() - i), Slot{0, 0, none});
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = 0; i < count; ++i) {
        __builtin_prefetch(&slots_[chosen_[std::min(i + ahead, count - 1)].key & mask], 1);
        std::size_t at = chosen_[i].key & mask;
        while (slots_[at].index != none) at = (at + 1) & mask;
        slots_[at] = {chosen_[i].key, static_cast<std::uint32_t>(chosen_[i].more), static_cast<std::uint32_t>(i)};
        if (i % at_once == 0) stop.poll();
    }
    tallies_ = std::make_unique<std::atomic<std::uint64_t>[]>(count);
    is_spelled_ = std::make_unique<std::atomic<bool>[]>(count);
    spelled_.resize(count);
    whole_ = true;
    return distinct;
}

}  // namespace sparsedistill
