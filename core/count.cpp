#include "count.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <system_error>

#include "hash.h"
#include "parallel.h"

namespace sparsedistill {

// Spilling

SpillFile::~SpillFile() {
    if (file_ >= 0) ::close(file_);
}

void SpillFile::fail(const char* what) const {
    throw std::system_error(errno, std::generic_category(), std::string(what) + " in " + directory_);
}

std::uint64_t SpillFile::append(const void* data, std::size_t size) {
    if (file_ < 0) {
        std::string path = directory_ + "/.counting.XXXXXX";
        file_ = ::mkstemp(path.data());
        if (file_ < 0) fail("cannot make a temporary file");
        ::unlink(path.c_str());
    }
    const std::uint64_t at = size_;
    for (std::size_t done = 0; done < size;) {
        const auto wrote = ::pwrite(file_, static_cast<const char*>(data) + done, size - done, static_cast<off_t>(at + done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) fail("cannot write n-grams to a temporary file");
        done += static_cast<std::size_t>(wrote);
    }
    size_ += size;
    return at;
}

void SpillFile::read(std::uint64_t at, void* data, std::size_t size) const {
    for (std::size_t done = 0; done < size;) {
        const auto got = ::pread(file_, static_cast<char*>(data) + done, size - done, static_cast<off_t>(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail("cannot read n-grams back from a temporary file");
        done += static_cast<std::size_t>(got);
    }
}

// The n-grams of one text

namespace {

// Hashes of the n-grams of a text, n = 1, 2, ...: two families, so that together they can stand for the n-gram.
class Chain {
public:
    // Calls use(starts, count) for each block of the text, as for_blocks() does.
    template <class Use>
    void read(std::string_view text, TextRules rules, unsigned max_n, const HashKey (&keys)[2], const Stop& stop, Use use) {
        for_blocks(text, rules, max_n, block, tokens_, stop, [&](std::size_t starts, std::size_t count) {
            grow(count, token_, hash_);
            for (std::size_t i = 0; i < count; ++i) {
                const auto token = tokens_[i];
                token_[i] = hash_[i] = {token_hash(token.data(), token.size(), keys[0]),
                                        token_hash(token.data(), token.size(), keys[1])};
            }
            use(starts, count);
        });
    }

    struct Key {
        std::uint64_t key, other;
        std::uint32_t more() const { return static_cast<std::uint32_t>(other) & 0xFFFFFF; }
    };
    const Tokens& tokens() const { return tokens_; }
    Key& operator[](std::size_t i) { return hash_[i]; }
    Key extended(std::size_t from, std::size_t token) const {
        return {extend_hash(hash_[from].key, token_[token].key), extend_hash(hash_[from].other, token_[token].other)};
    }

private:
    static constexpr std::size_t block = 1 << 13;  // of tokens

    Tokens tokens_;
    std::vector<Key> token_, hash_;
};

constexpr std::size_t ahead = Kernels::hashes_ahead, at_once = 1 << 13;  // numbers worked on between two polls

}  // namespace

// First reading

// What one thread has counted and not handed over yet: a cache in which frequent n-grams are added up, and a buffer a
// partition, so that few locks are taken.
class Counter::Writer {
public:
    explicit Writer(Counter& counter) : counter_(counter), cache_(cache_size), buffers_(partitions * room), fill_(partitions, 0) {}

    // after() is called between parts of a long text.
    template <class After>
    void add(std::string_view text, std::uint32_t weight, const Stop& stop, After after) {
        chain_.read(text, counter_.rules_, counter_.max_n_, counter_.keys_, stop, [&](std::size_t starts, std::size_t count) {
            for (unsigned n = 1; n <= counter_.max_n_ && n <= count; ++n)
                for (std::size_t i = 0, end = std::min(starts, count - n + 1); i < end; ++i) {
                    if (n > 1) chain_[i] = chain_.extended(i, i + n - 1);
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

Counter::Counter(TextRules rules, unsigned max_n, std::uint64_t memory, std::string directory, std::uint64_t seed)
    : rules_(rules), max_n_(max_n), memory_(memory), keys_{HashKey(seed), HashKey(~seed)}, file_(std::move(directory)),
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
    // Texts read before memory is looked at: a byte gives at most max_n records. In a text of more bytes it is looked at
    // between blocks.
    const std::uint64_t most_bytes = memory_ / 8 / (sizeof(Record) * max_n_), long_text = std::max<std::uint64_t>(most_bytes, 1 << 16);
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

// Second reading

std::uint32_t Counter::find(std::uint64_t key, std::uint32_t more) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = key & mask;; at = (at + 1) & mask) {
        const Slot& slot = slots_[at];
        if (slot.index == none || (slot.key == key && slot.more == more)) return slot.index;
    }
}

// One thread's strings of n-grams, each claimed by the thread that first came across it.
class Counter::Speller {
public:
    Speller(Counter& counter, std::size_t number) : counter_(counter), number_(static_cast<std::uint32_t>(number)) {}

    std::string_view operator[](const Spelled& one) const { return {bytes_.data() + one.begin, one.size}; }

    void spell(std::string_view text, bool tally, const Stop& stop) {
        chain_.read(text, counter_.rules_, counter_.max_n_, counter_.keys_, stop,
                    [&](std::size_t starts, std::size_t count) { spell_block(starts, count, tally); });
    }

private:
    void spell_block(std::size_t starts, std::size_t count, bool tally) {
        const std::size_t mask = counter_.slots_.size() - 1;
        places_.resize(starts);
        for (std::size_t i = 0; i < starts; ++i) places_[i] = static_cast<std::uint32_t>(i);
        // An n-gram is never more frequent than its prefix: what is not chosen need not be extended.
        for (unsigned n = 1; n <= counter_.max_n_ && !places_.empty(); ++n) {
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
                if (!is_spelled.load(std::memory_order_relaxed) && !is_spelled.exchange(true)) keep(index, i, n);
                if (i + n >= count) continue;
                chain_[i] = chain_.extended(i, i + n);
                places_[kept++] = i;
            }
            places_.resize(kept);
        }
    }

    void keep(std::uint32_t index, std::size_t first, unsigned n) {
        const Tokens& tokens = chain_.tokens();
        const std::uint64_t begin = bytes_.size();
        for (unsigned k = 0; k < n; ++k) {
            if (k) bytes_.push_back(' ');
            bytes_.insert(bytes_.end(), tokens[first + k].begin(), tokens[first + k].end());
        }
        counter_.spelled_[index] = {begin, number_, static_cast<std::uint32_t>(bytes_.size() - begin)};
    }

    Counter& counter_;
    const std::uint32_t number_;
    Chain chain_;
    std::vector<std::uint32_t> places_;
    Large<char> bytes_;
};

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
