#include "lookup.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>

namespace sparsedistill {

void throw_damaged() {
    throw Damaged("the lookup table has no empty slot within 64 lines, or names a row that does not exist");
}

std::uint64_t ngram_hash(std::string_view ngram, const HashKey& key) {
    std::uint64_t hash = 0;
    std::string token;  // a copy, because the hash reads past the token's end
    if (ngram.starts_with(' ')) {
        const CharacterHashes hashes(key);
        token.assign(ngram.substr(1)).append(Tokens::slack, '\0');
        hash = hashes.start();
        for (std::size_t begin = 0, end; begin < ngram.size() - 1; begin = end) {
            end = begin + point_size(token.data() + begin, ngram.size() - 1 - begin);
            hash = extend_hash(hash, hashes({token.data() + begin, end - begin}));
        }
        return hash;
    }
    for (std::size_t begin = 0;;) {
        const std::size_t end = std::min(ngram.find(' ', begin), ngram.size());
        token.assign(ngram.substr(begin, end - begin));
        token.append(Tokens::slack, '\0');
        const std::uint64_t last = token_hash(token.data(), end - begin, key);
        hash = begin == 0 ? last : extend_hash(hash, last);
        if (end == ngram.size()) return hash;
        begin = end + 1;
    }
}

std::optional<Large<std::uint32_t>> build_table(NgramStrings ngrams, const std::int16_t* values,
                                                std::uint32_t columns, std::uint64_t seed, const Stop& stop) {
    constexpr std::size_t zeros = 1 << 18;
    const std::uint32_t slots = Lookup::slots_of(columns), first = Lines::lanes - slots;
    const std::uint64_t count = std::max<std::uint64_t>(2, (2 * ngrams.size() + slots - 1) / slots);
    Large<std::uint32_t> table(count * Lines::lanes);
    for (std::size_t i = 0; i < table.size(); i += std::min(zeros, table.size() - i), stop.poll())
        std::memset(table.data() + i, 0, std::min(zeros, table.size() - i) * sizeof(std::uint32_t));
    const HashKey key(seed);
    constexpr std::size_t at_once = 64;  // lines are fetched for
    std::uint64_t hashes[at_once];
    for (std::size_t row = 0; row < ngrams.size(); ++row) {
        if (row % 8192 == 8191) stop.poll();
        if (row % at_once == 0)
            for (std::size_t i = 0; i < at_once && row + i < ngrams.size(); ++i) {
                hashes[i] = ngram_hash(ngrams[row + i], key);
                __builtin_prefetch(table.data() + ((hashes[i] & 0xFFFFFFFF) * count >> 32) * Lines::lanes, 1);
            }
        const std::uint64_t hash = hashes[row % at_once];
        const auto high = static_cast<std::uint32_t>(hash >> 32);
        const std::uint32_t tag = high ? high : 1;
        std::uint64_t at = (hash & 0xFFFFFFFF) * count >> 32;
        for (std::uint64_t visited = 1;; ++visited, at = at + 1 == count ? 0 : at + 1) {
            if (visited > Lines::visited) return std::nullopt;
            std::uint32_t* const line = table.data() + at * Lines::lanes;
            std::uint32_t* const tags = line + first;
            std::uint32_t slot = 0;
            for (; slot < slots && tags[slot] != 0; ++slot)
                if (tags[slot] == tag) return std::nullopt;
            if (slot == slots) continue;
            tags[slot] = tag;
            if (columns == 0) line[slot] = static_cast<std::uint32_t>(row);
            else std::memcpy(reinterpret_cast<char*>(line) + 2 * columns * slot, values + row * columns, 2 * columns);
            break;
        }
    }
    return table;
}

void BagReader::hash_tokens(const Vocabulary& vocabulary) {
    const std::size_t count = token_end_.back();
    grow(count + Kernels::hashes_ahead, token_hash_, hash_, place_, where_);
    for (std::size_t i = 0; i < count; ++i) {
        const auto token = tokens_[i];
        token_hash_[i] = hash_[i] = token_hash(token.data(), token.size(), vocabulary.lookup.key());
        place_[i] = static_cast<std::uint32_t>(i);
        if (count <= at_once) vocabulary.lookup.prefetch(hash_[i]);
    }
}

std::uint64_t Forget::operator()(std::uint64_t number, std::uint64_t token) const {
    using namespace hash_detail;
    // As take_bags() does.
    const std::uint64_t once = mum(mum(seed ^ k0, (text + number) ^ k1) ^ k2, token ^ k3);
    if (mum(once ^ k0, k1) >> 32 >= share) return 0;
    return mum(once ^ k2, k3) | 1;
}

std::string_view mistyped(std::string_view token, std::uint64_t random, std::string& out) {
    std::array<std::uint32_t, MarkedWords::longest + 1> at;  // where code points begin, and where the last ends
    std::size_t count = 0;
    at[0] = 0;
    while (at[count] < token.size() && count < MarkedWords::longest) {
        at[count + 1] = at[count] + static_cast<std::uint32_t>(point_size(token.data() + at[count], token.size() - at[count]));
        ++count;
    }
    token = token.substr(0, at[count]);
    if (count < 3) return token;
    const auto draw = [&](std::size_t below) {
        const std::size_t drawn = (random >> 48) * below >> 16;
        random <<= 16;
        return drawn;
    };
    enum { swap, remove, insert, replace };
    const std::size_t edit = draw(4), other = draw(count), place = draw(count - (edit == swap) + (edit == insert));
    const auto point = [&](std::size_t i) { return token.substr(at[i], at[i + 1] - at[i]); };
    out.assign(token.substr(0, at[place]));
    if (edit == swap) out.append(point(place + 1)).append(point(place));
    if (edit == insert || edit == replace) out.append(point(other));
    return out.append(token.substr(at[place + (edit == swap) * 2 + (edit == remove || edit == replace)]));
}

void BagReader::leave_out(const Forget& forget, std::uint64_t before) {
    forgotten_.assign(token_end_.back(), 0);
    std::size_t kept = 0;
    for (std::size_t t = 0; t < token_end_.size(); ++t) {
        for (std::size_t i = start_[t]; i < token_end_[t]; ++i) {
            forgotten_[i] = forget(t, before + i - start_[t]);
            if (forgotten_[i] || i >= start_[t + 1]) continue;
            place_[kept] = static_cast<std::uint32_t>(i);
            hash_[kept++] = token_hash_[i];
        }
        from_[t + 1] = kept;
    }
}

void BagReader::note_unknown(std::size_t text, std::size_t begin, std::size_t hits) {
    constexpr std::size_t many = 16;  // of which mostly all are known
    const auto place = [&](std::size_t i) { return place_[begin + where_[i]]; };
    std::size_t next = start_[text];
    const auto until = [&](std::size_t end) {
        for (; next < end; ++next) chosen_.push_back(static_cast<std::uint32_t>(next));
    };
    for (std::size_t i = 0; i < hits;) {
        const std::size_t known = i + many <= hits && place(i + many - 1) == next + many - 1 ? many : 1;
        if (known == 1) until(place(i));
        next += known;
        i += known;
    }
    until(start_[text + 1]);
    chosen_from_.push_back(chosen_.size());
}

bool BagReader::hash_characters(const Vocabulary& vocabulary, bool mistype) {
    const std::size_t least = vocabulary.characters.least, most = vocabulary.characters.most;
    const CharacterHashes& hashes = vocabulary.hashes;
    if (vocabulary.characters.of == Characters::Of::all) {
        chosen_.resize(start_.back());
        std::iota(chosen_.begin(), chosen_.end(), 0);
        chosen_from_ = start_;
    }
    words_.clear();
    std::size_t count = 0, fetched = 0;
    const Lookup lookup = vocabulary.lookup;  // copies stay in registers
    for (std::size_t t = 0; t + 1 < chosen_from_.size(); ++t) {
        for (std::size_t c = chosen_from_[t]; c < chosen_from_[t + 1]; ++c) {
            const std::size_t first = words_.size();
            const auto token = tokens_[chosen_[c]];
            const std::uint64_t random = forgotten_.empty() ? 0 : forgotten_[chosen_[c]];
            words_.add(random && mistype ? mistyped(token, random, mistyped_) : token);
            const std::size_t last = words_.size();
            grow(last, point_hash_);
            for (std::size_t i = first; i < last; ++i) point_hash_[i] = hashes(words_.point(i));
            grow(count + (last - first) + Kernels::hashes_ahead, hash_, place_, where_);
            const std::uint64_t* const points = point_hash_.data();
            for (std::size_t i = first; i + least <= last; ++i) {
                const std::size_t end = std::min(i + most, words_.end(i));
                if (i + least > end) break;  // of a word no longer than that
                std::uint64_t hash = extend_hash(hashes.start(), points[i]);
                for (std::size_t k = i + 1; k < i + least; ++k) hash = extend_hash(hash, points[k]);
                hash_[count] = hash;
                place_[count++] = static_cast<std::uint32_t>(i);
                // Also those of the longer ones, which are mostly there as well: few are looked up at once.
                if (fetched >= at_once) continue;
                lookup.prefetch(hash);
                for (std::size_t k = i + least; k < end; ++k) lookup.prefetch(hash = extend_hash(hash, points[k]));
                fetched += end - i - least + 1;
            }
        }
        from_[t + 1] = count;
    }
    return fetched < at_once;
}

std::string BagReader::spelled(const Candidates& all, std::size_t i) const {
    const std::size_t at = all.places[i];
    if (all.of_characters) return std::string(1, ' ').append(words_.run(at, all.n));
    std::string ngram(tokens_[at]);
    for (std::size_t k = 1; k < all.n; ++k) ngram.append(1, ' ').append(tokens_[at + k]);
    return ngram;
}

std::vector<BagReader::Place> BagReader::places(const Candidates& all, std::size_t count) const {
    std::vector<Place> result;
    const auto starts = all.of_characters ? words_.starts() : std::vector<std::size_t>();
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = all.places[all.where[i]];
        if (!all.of_characters) {
            result.push_back({before_ + at, 0});
            continue;
        }
        const std::size_t word = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), at) - starts.begin()) - 1;
        result.push_back({before_ + chosen_[word], at - starts[word]});
    }
    return result;
}

std::size_t BagReader::capacity() const {
    return (token_hash_.capacity() + hash_.capacity() + point_hash_.capacity()) * sizeof(std::uint64_t) +
           forgotten_.capacity() * sizeof(std::uint64_t) + mistyped_.capacity() +
           (place_.capacity() + where_.capacity() + chosen_.capacity()) * sizeof(std::uint32_t) + words_.capacity();
}

// Finding the bags of many texts

namespace {

// Row ids one after the other, in parts: nothing is copied when more are found, and each part's memory goes when it was read.
class Ids {
public:
    // Room for `count` more, of which keep() then keeps the first ones.
    std::uint32_t* room(std::size_t count) {
        if (parts_.empty() || parts_.back().capacity() - parts_.back().size() < count) {
            Large<std::uint32_t> part;
            part.reserve(std::max(count, parts_.empty() ? least : std::min(2 * parts_.back().capacity(), most)));
            parts_.push_back(std::move(part));
        }
        auto& part = parts_.back();
        part.resize(part.size() + count);
        return part.data() + part.size() - count;
    }
    void keep(std::size_t kept, std::size_t count) { parts_.back().resize(parts_.back().size() - count + kept); }

    bool one_part() const { return parts_.size() == 1; }
    Large<std::uint32_t>& front() { return parts_.front(); }
    // Moves the next `count` to `to`.
    void read(std::size_t count, std::uint32_t* to) {
        while (count) {
            const auto& part = parts_.front();
            const std::size_t n = std::min(count, part.size() - read_);
            std::copy_n(part.data() + read_, n, to);
            to += n;
            count -= n;
            read_ += n;
            if (read_ == part.size()) {
                parts_.pop_front();
                read_ = 0;
            }
        }
    }

private:
    static constexpr std::size_t least = 1 << 12, most = 1 << 19;
    std::deque<Large<std::uint32_t>> parts_;
    std::size_t read_ = 0;
};

}  // namespace

FoundBags find_bags(const Vocabulary& vocabulary, std::span<const std::string_view> texts, unsigned threads, const Stop& stop,
                    const Forget& forget) {
    FoundBags result;
    result.offsets.assign(texts.size() + 1, 0);
    struct Piece {
        std::size_t begin, end;
        Ids* whose;
    };
    std::vector<Piece> pieces;
    std::deque<Ids> found;  // of each thread
    std::mutex mutex;
    parallel_texts(texts, 1, threads, stop, [&] {
        const std::lock_guard lock(mutex);
        return [&, &mine = found.emplace_back(), reader = BagReader()](std::size_t begin, std::size_t end) mutable {
            for (std::size_t i = begin; i < end; ++i, stop.poll()) {
                Forget of_text = forget;
                of_text.text += i;
                reader.walk(vocabulary, texts.subspan(i, 1), stop, [&](const BagReader::Candidates& all) {
                    // The kernel writes a place for each hash, hit or not.
                    const std::size_t hits = kernels().find(vocabulary.lookup.lines(), all.hashes, all.count,
                                                            mine.room(all.count), all.where, nullptr, 0);
                    if (hits == Kernels::damaged) return hits;
                    mine.keep(hits, all.count);
                    result.offsets[i + 1] += hits;
                    return hits;
                }, of_text);
            }
            const std::lock_guard lock(mutex);
            pieces.push_back({begin, end, &mine});
        };
    });
    for (std::size_t i = 0; i < texts.size(); ++i) result.offsets[i + 1] += result.offsets[i];
    if (found.size() == 1 && found.front().one_part()) {
        result.ids = std::move(found.front().front());
        return result;
    }
    std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
    result.ids.resize(result.offsets.back());
    for (const Piece& piece : pieces) {
        stop.poll();
        const std::uint64_t at = result.offsets[piece.begin];
        piece.whose->read(result.offsets[piece.end] - at, result.ids.data() + at);
    }
    return result;
}

Large<std::uint32_t> count_known(const Vocabulary& vocabulary, std::span<const std::string_view> texts, unsigned threads,
                                 const Stop& stop) {
    const std::size_t columns = 1 + vocabulary.max_n;
    Large<std::uint32_t> result;
    result.assign(texts.size() * columns, 0);
    parallel_texts(texts, 1, threads, stop, [&] {
        return [&, ids = Large<std::uint32_t>(), reader = BagReader()](std::size_t begin, std::size_t end) mutable {
            for (std::size_t i = begin; i < end; ++i, stop.poll()) {
                std::uint32_t* const of_text = result.data() + i * columns;
                reader.walk(vocabulary, texts.subspan(i, 1), stop, [&](const BagReader::Candidates& all) {
                    if (ids.size() < all.count) ids.resize(all.count);
                    const std::size_t hits = kernels().find(vocabulary.lookup.lines(), all.hashes, all.count, ids.data(),
                                                            all.where, nullptr, 0);
                    if (hits == Kernels::damaged || all.of_characters) return hits;
                    if (all.n == 1) of_text[0] += static_cast<std::uint32_t>(all.count);
                    of_text[all.n] += static_cast<std::uint32_t>(hits);
                    return hits;
                });
            }
        };
    });
    return result;
}

}  // namespace sparsedistill
