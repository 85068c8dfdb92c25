// The lookup of hashes, against one that reads slot by slot: at the borders of what is fetched ahead, around the table's end, in
// full lines, and in tables that no lookup may trust.
#include "lookup.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "check.h"

using namespace sparsedistill;

namespace {

// One hash, as docs/FORMAT.md says: the slot's place in the table, nothing where there is none, `damaged` where it must stop.
struct Found {
    bool damaged = false;
    std::optional<std::uint64_t> place;  // line * slots + slot
};
Found look(const Lines& table, std::uint64_t hash) {
    const auto tag = static_cast<std::uint32_t>(hash >> 32) ? static_cast<std::uint32_t>(hash >> 32) : 1;
    std::uint64_t at = (hash & 0xFFFFFFFF) * table.count >> 32;
    for (std::uint64_t visited = 0; visited < std::min<std::uint64_t>(table.count, Lines::visited); ++visited) {
        const std::uint32_t* const tags = table.data + at * Lines::lanes + Lines::lanes - table.slots;
        for (std::uint32_t slot = 0; slot < table.slots; ++slot)
            if (tags[slot] == tag) return {false, at * table.slots + slot};
        for (std::uint32_t slot = 0; slot < table.slots; ++slot)
            if (!tags[slot]) return {};
        at = (at + 1) % table.count;
    }
    return {true, {}};
}

const std::int16_t* values_at(const Lines& table, std::uint64_t place) {
    const auto* const line = reinterpret_cast<const char*>(table.data + place / table.slots * Lines::lanes);
    return reinterpret_cast<const std::int16_t*>(line + 2 * table.columns * (place % table.slots));
}

// `count` hashes, some of them of what is in the table, and behind them what find() may read: not a number more.
void compare(const std::string& about, const Lines& table, const std::vector<std::uint64_t>& hashes) {
    const std::size_t count = hashes.size();
    std::vector<std::uint64_t> given(hashes);
    given.resize(count + Kernels::hashes_ahead, count ? hashes[0] : 0);
    std::vector<std::uint32_t> rows, where;
    std::int32_t sums[4] = {};
    bool damaged = false;
    for (std::size_t i = 0; i < count && !damaged; ++i) {
        const Found found = look(table, hashes[i]);
        damaged = found.damaged;
        if (!found.place) continue;
        const auto place = *found.place;
        where.push_back(static_cast<std::uint32_t>(i));
        if (table.columns) {
            rows.push_back(static_cast<std::uint32_t>(place));
            for (std::uint32_t c = 0; c < table.columns; ++c) sums[c] += values_at(table, place)[c];
        } else {
            rows.push_back(table.data[place / table.slots * Lines::lanes + place % table.slots]);
            damaged |= rows.back() >= table.rows;
        }
    }
    for (const Kernels* const* set = all_kernels(); *set; ++set) {
        const std::string which = about + ", " + std::to_string(count) + " hashes, " + (*set)->name;
        std::vector<std::uint32_t> got_rows(count), got_where(count);
        const std::size_t hits = (*set)->find(table, given.data(), count, got_rows.data(), got_where.data(), nullptr, 0);
        CHECK_OF(which, (hits == Kernels::damaged) == damaged);
        if (!damaged && hits != Kernels::damaged) {
            got_rows.resize(hits), got_where.resize(hits);
            CHECK_OF(which, got_rows == rows && got_where == where);
        }
        if (!table.columns) continue;
        std::int32_t got_sums[4] = {};
        got_where.assign(count, 0);
        const std::size_t added = (*set)->find_values(table, given.data(), count, got_where.data(), got_sums);
        CHECK_OF(which, (added == Kernels::damaged) == damaged);
        if (damaged || added == Kernels::damaged) continue;
        got_where.resize(added);
        CHECK_OF(which, got_where == where);
        for (std::uint32_t c = 0; c < table.columns; ++c) CHECK_OF(which, got_sums[c] == sums[c]);
    }
}

// Lines filled as a writer does, each hash with the next row id or value. Full ones are followed by the next.
class Table {
public:
    Table(std::uint64_t lines, std::uint32_t columns)
        : columns_(columns), slots_(Lookup::slots_of(columns)), numbers_(lines * Lines::lanes) {}

    bool add(std::uint64_t hash) {
        const auto tag = static_cast<std::uint32_t>(hash >> 32) ? static_cast<std::uint32_t>(hash >> 32) : 1;
        const std::uint64_t count = numbers_.size() / Lines::lanes;
        std::uint64_t at = (hash & 0xFFFFFFFF) * count >> 32;
        for (std::uint64_t visited = 0; visited < std::min<std::uint64_t>(count, Lines::visited); ++visited) {
            std::uint32_t* const line = numbers_.data() + at * Lines::lanes;
            for (std::uint32_t slot = 0; slot < slots_; ++slot) {
                std::uint32_t& there = line[Lines::lanes - slots_ + slot];
                if (there) continue;
                there = tag;
                if (columns_)
                    for (std::uint32_t c = 0; c < columns_; ++c)
                        reinterpret_cast<std::int16_t*>(line)[columns_ * slot + c] =
                            static_cast<std::int16_t>(1000 * rows_ + 7 * c - 9000);
                else line[slot] = rows_;
                ++rows_;
                return true;
            }
            at = (at + 1) % count;
        }
        return false;
    }
    Lines lines() const { return {numbers_.data(), numbers_.size() / Lines::lanes, slots_, columns_, rows_}; }

private:
    std::uint32_t columns_, slots_, rows_ = 0;
    std::vector<std::uint32_t> numbers_;
};

void lookups() {
    std::mt19937_64 random(3);
    constexpr std::size_t ahead = Kernels::hashes_ahead;
    for (const std::uint32_t columns : {0u, 1u, 2u, 3u, 4u})
        for (const std::uint64_t lines : {1, 2, 3, 70, 1000})
            for (const unsigned share : {10u, 50u, 95u}) {  // percent of the slots that are used
                Table table(lines, columns);
                std::vector<std::uint64_t> known;
                for (std::uint64_t i = 0; i < lines * Lookup::slots_of(columns) * share / 100; ++i) {
                    std::uint64_t hash = random();
                    if (i % 5 == 1) hash |= 0xFFFFFFFF;                // at home in the last line, so that some go on in the first
                    if (i % 5 == 2) hash &= 0xFFFFFFFF;                // whose tag would mark an empty slot
                    if (table.add(hash)) known.push_back(hash);
                }
                const std::string about =
                    std::to_string(columns) + " columns, " + std::to_string(lines) + " lines, " + std::to_string(share) + " %";
                constexpr std::size_t counts[] = {0, 1, ahead - 1, ahead, ahead + 1, 2 * ahead, 511, 3000};
                for (const std::size_t count : counts) {
                    std::vector<std::uint64_t> hashes(count);
                    for (auto& hash : hashes) hash = known.empty() || random() % 3 == 0 ? random() : known[random() % known.size()];
                    compare(about, table.lines(), hashes);
                }
            }
}

void damage() {
    for (const std::uint64_t count : {1, 2, 63, 64, 65, 200}) {
        std::vector<std::uint32_t> full(count * Lines::lanes, 5);
        const Lines table{full.data(), count, 8, 0, 100};
        compare("all full", table, {0x0000000500000000, 0x000000057FFFFFFF});  // which are there
        compare("all full", table, {0x0000000600000000});
        compare("all full", table, {0x00000006FFFFFFFF, 0x0000000500000000});
        // An empty slot just before and just past what may be visited.
        for (const std::uint64_t empty : {std::uint64_t{62}, std::uint64_t{63}, std::uint64_t{64}})
            if (empty < count) {
                auto some = full;
                some[empty * Lines::lanes + 15] = 0;
                compare("empty in line " + std::to_string(empty), {some.data(), count, 8, 0, 100}, {0x0000000600000000});
            }
    }
    // A row id past the table, found and not found.
    std::vector<std::uint32_t> line(Lines::lanes);
    line[8] = 5, line[0] = 100;
    for (const std::uint32_t rows : {100u, 101u}) compare("row 100", {line.data(), 1, 8, 0, rows}, {0x0000000500000000, 9});
    compare("row 100 not asked for", {line.data(), 1, 8, 0, 100}, {0x0000000600000000});
    for (const std::size_t wrong : {std::size_t{0}, std::size_t{1}, std::size_t{15}}) {
        bool refused = false;
        try {
            (void)Lookup({line.data(), wrong}, 0, 0, 0);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        CHECK(refused);
    }
}

// The rows of a text, n-gram by n-gram.
std::vector<std::uint32_t> rows_of(const std::vector<std::string>& text, std::size_t block, const Lookup& lookup,
                                   const Characters& characters = {}, bool all_forgotten = false) {
    std::vector<std::uint32_t> rows;
    const auto find = [&](const std::string& ngram) {
        const auto place = look(lookup.lines(), ngram_hash(ngram, lookup.key())).place;
        if (place) rows.push_back(lookup.lines().data[*place / 8 * Lines::lanes + *place % 8]);
        return place.has_value();
    };
    for (std::size_t begin = 0; begin < text.size(); begin += block) {
        const std::size_t end = std::min(begin + block, text.size());
        std::vector<std::string> unknown;
        for (std::size_t n = 1; n <= 3 && !all_forgotten; ++n)
            for (std::size_t i = begin; i < end && i + n <= text.size(); ++i) {
                std::string ngram = text[i];
                for (std::size_t k = 1; k < n; ++k) ngram += " " + text[i + k];
                if (!find(ngram) && n == 1) unknown.push_back(ngram);
            }
        if (characters.of == Characters::Of::none) continue;
        const auto from = text.begin() + static_cast<std::ptrdiff_t>(begin), to = text.begin() + static_cast<std::ptrdiff_t>(end);
        if (all_forgotten || characters.of == Characters::Of::all) unknown.assign(from, to);
        for (std::size_t n = characters.least; n <= characters.most; ++n)
            for (const auto& word : unknown)
                for (std::size_t i = 0; i + n <= word.size() + 2; ++i)
                    if (n != word.size() + 2) find(" " + (" " + word + " ").substr(i, n));
    }
    return rows;
}

// Bags of texts whose numbers of n-grams stand around those at which lookups change their ways, against n-gram by n-gram.
void bags(Characters::Of of) {
    std::string bytes;
    std::vector<std::uint64_t> offsets{0};
    std::vector<std::string> ngrams;
    for (int i = 0; i < 40; ++i) ngrams.push_back("w" + std::to_string(i));
    for (int i = 0; i < 90; ++i) ngrams.push_back(ngrams[i / 9] + " " + ngrams[i % 9]);
    for (int i = 0; i < 60; ++i) ngrams.push_back(ngrams[40 + i] + " w1");
    const Characters characters{of, 2, 4};
    for (int i = 1; i < 4; ++i) {  // of the words from w10 to w39, and so of some from w40 on
        const std::string tens = std::to_string(i);
        for (const auto& run : std::initializer_list<std::string>{" w", " w" + tens, "w" + tens, tens + "0", "0 ", tens + "0 "})
            if (std::find(ngrams.begin(), ngrams.end(), " " + run) == ngrams.end()) ngrams.push_back(" " + run);
    }
    for (const auto& ngram : ngrams) offsets.push_back((bytes += ngram).size());
    const auto table = *build_table({bytes, offsets}, nullptr, 0, 11);
    const Lookup lookup({table.data(), table.size()}, static_cast<std::uint32_t>(ngrams.size()), 0, 11);
    std::mt19937 random(7);
    for (const std::size_t block : {std::size_t{1}, std::size_t{20}, std::size_t{300}, Vocabulary::usual_block})
        for (const std::size_t tokens : {0, 1, 2, 19, 20, 21, 299, 300, 301, 511, 512, 513, 600, 8192, 8193, 9000}) {
            std::vector<std::string> text(tokens);
            std::string joined;
            for (auto& token : text) joined += (token = "w" + std::to_string(random() % 45)) + " ";
            const Vocabulary vocabulary{{Tokenizer::words, true, true}, 3, lookup, block, characters};
            const std::string_view view = joined;
            const auto found = find_bags(vocabulary, {&view, 1}, 1);
            const auto expected = rows_of(text, block, lookup, characters);
            const std::string about = std::to_string(tokens) + " tokens, blocks of " + std::to_string(block);
            CHECK_OF(about, std::vector<std::uint32_t>(found.ids.begin(), found.ids.end()) == expected);
            CHECK_OF(about, found.offsets.size() == 2 && found.offsets[1] == expected.size());
            if (of != Characters::Of::unknown) continue;
            const auto forgotten = find_bags(vocabulary, {&view, 1}, 1, Stop(), {std::uint64_t{1} << 32, 3});
            const auto left = rows_of(text, block, lookup, characters, true);
            CHECK_OF(about, std::vector<std::uint32_t>(forgotten.ids.begin(), forgotten.ids.end()) == left);
        }
    // Several texts looked up together, as scoring does: no n-gram goes from one into the next.
    const Vocabulary vocabulary{{Tokenizer::words, true, true}, 3, lookup, Vocabulary::usual_block, characters};
    for (int tries = 0; tries < 50; ++tries) {
        std::vector<std::vector<std::string>> texts(2 + random() % 9);
        std::vector<std::string> joined;
        for (auto& text : texts) {
            text.resize(random() % 5);
            joined.emplace_back();
            // Of few tokens, whose n-grams are all known: the next text would go on with one.
            for (auto& token : text) joined.back() += (token = ngrams[random() % 9]) + " ";
        }
        const std::vector<std::string_view> views(joined.begin(), joined.end());
        std::vector<std::vector<std::uint32_t>> found(texts.size());
        BagReader reader;
        reader.walk(vocabulary, views, Stop(), [&](const BagReader::Candidates& all) {
            std::vector<std::uint32_t> rows(all.count);
            const std::size_t hits = kernels().find(lookup.lines(), all.hashes, all.count, rows.data(), all.where, nullptr, 0);
            found[all.text].insert(found[all.text].end(), rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(hits));
            return hits;
        });
        for (std::size_t i = 0; i < texts.size(); ++i) CHECK(found[i] == rows_of(texts[i], 1 << 13, lookup, characters));
    }
}

}  // namespace

int main() {
    lookups();
    damage();
    for (const auto of : {Characters::Of::none, Characters::Of::unknown, Characters::Of::all}) bags(of);
    return checks::finish();
}
