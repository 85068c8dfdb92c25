// The counter where it goes to disk, and the file it goes to.
#include "count.h"

#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "check.h"
#include "hash.h"
#include "spill_file.h"

using namespace sparsedistill;

namespace {

void spill_file() {
    SpillFile file("/tmp");
    CHECK(file.size() == 0);
    std::string whole;
    std::mt19937 random(1);
    for (const std::size_t size : {std::size_t{1}, std::size_t{0}, std::size_t{4095}, std::size_t{4097}, std::size_t{3} << 20}) {
        std::string part(size, ' ');
        for (char& c : part) c = static_cast<char>(random());
        CHECK(file.append(part.data(), size) == whole.size());
        whole += part;
        CHECK(file.size() == whole.size());
    }
    std::string back(whole.size(), ' ');
    file.read(0, back.data(), back.size());
    CHECK(back == whole);
    file.read(4000, back.data(), 500);
    CHECK(back.compare(0, 500, whole, 4000, 500) == 0);
    const auto fails = [](auto work, const char* named) {
        try {
            work();
        } catch (const std::system_error& error) {
            return std::string(error.what()).find(named) != std::string::npos;
        }
        return false;
    };
    CHECK(fails([&] { file.read(whole.size() - 3, back.data(), 4); }, "/tmp"));  // past the end
    SpillFile nowhere("/tmp/there is no such folder");
    CHECK(fails([&] { nowhere.append("a", 1); }, "/tmp/there is no such folder"));
    CHECK(nowhere.size() == 0);
}

std::vector<std::string> some_texts() {
    std::mt19937 random(2);
    std::vector<std::string> texts;
    for (int i = 0; i < 400; ++i) {
        std::string text;
        for (unsigned n = random() % 60; n--;) text += "w" + std::to_string(random() % 50 * (random() % 50)) + " ";
        texts.push_back(text);
    }
    texts.push_back(std::string(200'000, 'y'));  // longer than the texts that memory is looked at between
    std::string many;
    for (int i = 0; i < 20'000; ++i) many += "w" + std::to_string(i % 777) + " ";
    texts.push_back(many);
    return texts;
}

struct Counted {
    std::map<std::string, std::uint64_t> counts;
    std::vector<std::string> order;
    std::uint64_t distinct, spilled;
};

std::string ngram(const Counter::Ngrams& ngrams, std::size_t i) {
    return {reinterpret_cast<const char*>(ngrams.bytes.data()) + ngrams.offsets[i], ngrams.offsets[i + 1] - ngrams.offsets[i]};
}

Counted counted(const std::vector<std::string>& texts, std::uint64_t memory, unsigned threads, std::uint32_t weight,
                std::uint64_t size) {
    Counter counter({Tokenizer::words, true, true}, 3, memory, "/tmp", 5);
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    // In some calls, so that what is in memory is added up and spilled more than once.
    constexpr std::size_t parts = 7;
    for (std::size_t p = 0; p < parts; ++p) {
        const std::size_t begin = views.size() * p / parts, end = views.size() * (p + 1) / parts;
        counter.add(std::span(views).subspan(begin, end - begin), weight, threads);
    }
    Counted result;
    result.distinct = counter.choose(size, 1, threads);
    result.spilled = counter.spilled();
    counter.spell(views, false, threads);
    const auto top = counter.top(threads);
    for (std::size_t i = 0; i < top.counts.size(); ++i) {
        result.order.push_back(ngram(top, i));
        result.counts[result.order.back()] = top.counts[i];
    }
    return result;
}

void counting() {
    const auto texts = some_texts();
    std::map<std::string, std::uint64_t> expected;
    for (const auto& text : texts) {
        std::vector<std::string> tokens;
        for (std::size_t begin = 0, end; begin < text.size(); begin = end + 1) {
            end = std::min(text.find(' ', begin), text.size());
            tokens.push_back(text.substr(begin, end - begin));
        }
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            std::string ngram;
            for (std::size_t n = 0; n < 3 && i + n < tokens.size(); ++n) expected[ngram += (n ? " " : "") + tokens[i + n]] += 1;
        }
    }
    const auto in_memory = counted(texts, std::uint64_t{1} << 30, 1, 1, 1 << 20);
    CHECK(in_memory.spilled == 0);
    CHECK(in_memory.distinct == expected.size());
    CHECK(in_memory.counts == expected);
    for (const std::uint64_t memory : {std::uint64_t{0}, std::uint64_t{1} << 16, std::uint64_t{1} << 20})
        for (const unsigned threads : {1u, 3u}) {
            const auto through_disk = counted(texts, memory, threads, 1, 1 << 20);
            const std::string about = std::to_string(memory) + " bytes, threads " + std::to_string(threads);
            CHECK_OF(about, through_disk.spilled > 0 && through_disk.spilled % 16 == 0);
            CHECK_OF(about, through_disk.counts == expected);
            CHECK_OF(about, through_disk.order == in_memory.order);
            CHECK_OF(about, through_disk.distinct == in_memory.distinct);
            const auto few = counted(texts, memory, threads, 1, 100);
            CHECK_OF(about, few.order == std::vector(in_memory.order.begin(), in_memory.order.begin() + 100));
        }
}

// All n-grams in one of the partitions that keys fall into, so that what comes back from disk is read, and added up, in parts.
void one_partition() {
    constexpr std::uint64_t seed = 5;
    constexpr std::size_t distinct = 40'000;
    std::vector<std::string> tokens, texts;
    const HashKey key(seed);
    for (std::uint64_t i = 0; tokens.size() < distinct; ++i) {
        char name[32] = {};
        const int size = std::snprintf(name, sizeof name, "w%llu", static_cast<unsigned long long>(i));
        if (token_hash(name, static_cast<std::size_t>(size), key) >> 55 == 3) tokens.emplace_back(name);
    }
    for (std::size_t round = 0; round < 3; ++round)
        for (std::size_t i = round * 100; i < distinct; i += 10) {
            texts.emplace_back();
            for (std::size_t k = i; k < std::min(i + 10, distinct); ++k) texts.back() += tokens[k] + " ";
        }
    Counter counter({Tokenizer::words, true, true}, 1, 1 << 20, "/tmp", seed);
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    counter.add(views, 1, 2);
    CHECK(counter.choose(distinct, 1, 2) == distinct);
    CHECK(counter.spilled() > 0);
    counter.spell(views, false, 2);
    const auto top = counter.top(2);
    CHECK(top.counts.size() == distinct);
    for (std::size_t i = 0; i < top.counts.size(); ++i)
        CHECK_OF(ngram(top, i), top.counts[i] == (i < distinct - 200 ? 3 : i < distinct - 100 ? 2 : 1));
}

// Counts have 40 bits, and stay at the highest: in a thread's cache, in the sums of memory, and in those of what comes from disk.
void highest_counts() {
    constexpr std::uint64_t most = (std::uint64_t{1} << 40) - 1;
    const std::vector<std::string> texts(300, "a b");
    for (const std::uint64_t memory : {std::uint64_t{0}, std::uint64_t{1} << 26}) {
        const auto found = counted(texts, memory, 1, 0xFFFFFFFF, 10);
        CHECK((found.counts == std::map<std::string, std::uint64_t>{{"a", most}, {"b", most}, {"a b", most}}));
        CHECK((found.order == std::vector<std::string>{"a", "a b", "b"}));
    }
    const auto below = counted(std::vector<std::string>(200, "a"), 0, 1, 0xFFFFFFFF, 10);
    CHECK(below.counts.at("a") == 200 * std::uint64_t{0xFFFFFFFF});
}

}  // namespace

int main() {
    spill_file();
    counting();
    one_partition();
    highest_counts();
    return checks::finish();
}
