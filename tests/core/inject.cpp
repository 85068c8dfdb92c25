// Fails every allocation of every kind of call in turn, then makes ordinary calls on the same threads and objects: these
// must give what they always give. Run alone it prints a line a scenario; the tests also build it with sanitizers.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bag.h"
#include "count.h"
#include "lookup.h"
#include "parallel.h"
#include "score.h"
#include "comparable.h"
#include "tokenize.h"
#include "toy.h"

using namespace sparsedistill;

namespace {

constexpr long never = -1;
std::atomic<long> left{never};             // allocations until one fails
std::atomic<bool> and_all_after{false};    // as under a limit of memory
std::atomic<std::size_t> least{0};         // smaller ones succeed
std::atomic<long> failed{0};

bool fails(std::size_t size) {
    if (left.load() == never || size < least.load()) return false;
    const long before = left.fetch_sub(1);
    if (before > 0) return false;
    if (before < 0 && !and_all_after.load()) {
        left = -1000;  // one is enough
        return false;
    }
    left = and_all_after.load() ? 0 : -1000;
    ++failed;
    return true;
}

void* allocate(std::size_t size, std::size_t alignment) {
    if (fails(size)) throw std::bad_alloc();
    void* const made = alignment <= alignof(std::max_align_t) ? std::malloc(size ? size : 1)
                                                              : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (!made) throw std::bad_alloc();
    return made;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) { return allocate(size, static_cast<std::size_t>(alignment)); }
// Not inline, or the compiler takes what is freed for another allocator's.
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

using Bytes = std::string;  // a result, to be compared

template <class T>
void append(Bytes& to, const T* values, std::size_t count) {
    if (count) to.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

[[noreturn]] void give_up(const std::string& name, const std::string& why) {
    std::printf("%s: %s\n", name.c_str(), why.c_str());
    std::fflush(stdout);
    std::_Exit(1);
}

// `call` is made with each of its allocations failing in turn, and after each time `ordinary` is. All in a thread of its
// own, whose memory `before` alone has made: what has grown already has nothing left to fail.
void scenario(const std::string& name, const std::function<void()>& before, const std::function<void()>& call,
              const std::function<Bytes()>& ordinary) {
    before();
    const Bytes expected = ordinary();
    const auto in_thread = [](const auto& work) { std::thread(work).join(); };
    long tried = 0;
    for (const bool all : {false, true})
        for (const std::size_t size : {std::size_t{0}, std::size_t{1} << 16})
            for (long k = 0;; ++k) {
                and_all_after = all;
                least = size;
                failed = 0;
                left = never;
                in_thread([&] {
                    before();
                    left = k;
                    try {
                        call();
                        left = never;
                    } catch (const std::bad_alloc&) {
                        left = never;
                        if (!failed) give_up(name, "bad_alloc though no allocation failed");
                    } catch (const std::exception& error) {
                        left = never;
                        give_up(name, error.what());
                    }
                    if (ordinary() != expected) give_up(name, "after allocation " + std::to_string(k) + " failed, an ordinary call gives another result");
                });
                if (!failed) break;
                ++tried;
                if (k > 40) k += k / 5;  // of thousands of small ones not all are tried
            }
    if (!tried) give_up(name, "nothing was allocated, so nothing was tried");
    std::printf("%s: %ld failures\n", name.c_str(), tried);
    std::fflush(stdout);
}

struct Data {
    std::string small = "w1 w2 W3", middle = words(3000, 1), accents = words(700, 2, "é ") + " 漢字 😀 don't", big = words(120'000, 3),
                unspaced = words(60'000, 4, "é."), giant = std::string(500'000, 'x');
    std::vector<std::string> many;
    Data() {
        for (unsigned i = 0; i < 120; ++i) many.push_back(words(i % 90, i));
    }
    std::vector<std::string_view> ordinary() const { return {small, middle, accents}; }
    std::vector<std::string_view> large() const { return {big, unspaced, giant}; }
    std::vector<std::string_view> several() const { return {many.begin(), many.end()}; }
};

void scoring(const Data& data, const Toy& toy) {
    const auto large = data.large(), several = data.several();
    const auto with = [&](const std::string& name, const Model& model, unsigned threads) {
        const std::size_t each = model.pairs ? 2 : 1;
        auto texts = data.ordinary();
        texts.push_back(data.small);
        std::vector<float> logits(several.size() * 3), out(several.size() * 3);
        const auto score_all = [&](std::vector<std::string_view> given) {
            if (given.size() % each) given.pop_back();
            score(model, given, logits.data(), threads);
            return given.size() / each * model.outputs();
        };
        const std::vector<std::string_view> small{data.small, data.small};
        scenario("score " + name + ", threads " + std::to_string(threads), [&] { score_all(small); },
                 [&] {
                     score_all(large);
                     score_all(several);
                 },
                 [&] {
                     Bytes result;
                     append(result, logits.data(), score_all(texts));
                     append(result, logits.data(), score_all(several));
                     return result;
                 });
    };
    const std::pair<Pooling, const char*> poolings[] = {
        {Pooling::mean, "mean"}, {Pooling::sum, "sum"}, {Pooling::max, "max"}, {Pooling::mean_max, "mean+max"}};
    const char* const types[] = {"int4", "int8", "int16", "float16", "float32"};
    for (int type = 0; type < 5; ++type)
        for (const auto& [pooling, name] : poolings)
            with(std::string(types[type]) + " " + name, toy.model(static_cast<RowType>(type), pooling, false, false), 1);
    with("float32 attentive", toy.model(RowType::float32, Pooling::attentive, false, false), 1);
    with("pairs", toy.model(RowType::int8, Pooling::mean, true, false), 1);
    with("pairs of float16 mean+max", toy.model(RowType::float16, Pooling::mean_max, true, false), 1);
    with("hashed", toy.model(RowType::int8, Pooling::mean, false, true), 1);
    with("int8 mean", toy.model(RowType::int8, Pooling::mean, false, false), 3);
    const auto table = build_table(toy.ngrams(), toy.values.data(), 3, 0);
    with("values in slots", toy.in_slots(*table), 1);
}

void lookups(const Data& data, const Toy& toy) {
    scenario("build_table", [] {}, [&] { (void)build_table(toy.ngrams(), toy.values.data(), 2, 3); },
             [&] {
                 const auto table = *build_table(toy.ngrams(), toy.values.data(), 2, 3);
                 Bytes result;
                 append(result, table.data(), table.size());
                 return result;
             });
    const Vocabulary vocabulary{{Tokenizer::words, true, true}, 3, Lookup({toy.table.data(), toy.table.size()}, Toy::v, 0, 0)};
    std::optional<BagReader> reader;
    std::vector<std::uint32_t> rows;
    const auto bag = [&](std::string_view text) {
        rows.clear();
        reader->walk(vocabulary, {&text, 1}, Stop(), [&](const BagReader::Candidates& all) {
            const std::size_t before = rows.size();
            rows.resize(before + all.count);
            const auto hits = kernels().find(vocabulary.lookup.lines(), all.hashes, all.count, rows.data() + before, all.where, nullptr, 0);
            rows.resize(before + hits);
            return hits;
        });
    };
    for (const unsigned threads : {1u, 3u})
        scenario("bags of many, threads " + std::to_string(threads), [] {}, [&] { (void)find_bags(vocabulary, data.several(), threads); },
                 [&] {
                     const auto found = find_bags(vocabulary, data.several(), threads);
                     Bytes result;
                     append(result, found.ids.data(), found.ids.size());
                     append(result, found.offsets.data(), found.offsets.size());
                     return result;
                 });
    Vocabulary spelled = vocabulary;
    spelled.characters = {Characters::Of::unknown, 2, 4};
    const Forget forget{std::uint64_t{1} << 31, 4, true};
    scenario("bags with typos", [] {}, [&] { (void)find_bags(spelled, data.several(), 1, Stop(), forget); },
             [&] {
                 const auto found = find_bags(spelled, data.several(), 1, Stop(), forget);
                 Bytes result;
                 append(result, found.ids.data(), found.ids.size());
                 return result;
             });
    scenario("bags", [&] { reader.emplace(), bag(data.small); }, [&] { for (const auto text : data.large()) bag(text); },
             [&] {
                 Bytes result;
                 for (const auto text : data.ordinary()) {
                     bag(text);
                     append(result, rows.data(), rows.size());
                 }
                 return result;
             });
}

void texts(const Data& data) {
    for (const TextRules& rules : {TextRules{Tokenizer::sklearn, true, true}, TextRules{Tokenizer::words, true, true},
                                   TextRules{Tokenizer::whitespace, true, true}, TextRules{Tokenizer::words, true, true, true}}) {
        Tokens tokens;
        scenario("tokenize " + std::to_string(static_cast<int>(rules.tokenizer)) + (rules.deobfuscate ? " deobfuscated" : ""),
                 [&] {
                     tokens = Tokens();
                     tokenize(data.small, rules, tokens);
                 },
                 [&] {
                     tokens.clear();
                     for (const auto text : data.large()) tokenize(text, rules, tokens);
                 },
                 [&] {
                     Bytes result;
                     for (const auto text : data.ordinary()) {
                         tokens.clear();
                         tokenize(text, rules, tokens);
                         for (std::size_t i = 0; i < tokens.size(); ++i) result.append(tokens[i]) += '\n';
                     }
                     return result;
                 });
    }
    std::string kept;
    scenario("fingerprints", [&] { kept = {}; }, [&] { for (const auto text : data.large()) comparable(text, kept); },
             [&] {
                 Bytes result;
                 for (const auto text : data.ordinary()) {
                     comparable(text, kept);
                     result += kept;
                 }
                 return result;
             });
}

// Counting: a counter whose call failed must refuse all others; a new one counts right.
void counting(const Data& data) {
    const auto large = data.large(), several = data.several();
    const auto whole = [&](std::uint64_t memory, unsigned threads) {
        Counter counter({Tokenizer::words, true, true}, 3, memory, "/tmp", 0);
        counter.add(several, 1, threads);
        counter.add(data.ordinary(), 2, threads);
        counter.choose(2000, 1, threads);
        counter.spell(several, true, threads);
        counter.spell(data.ordinary(), false, threads);
        const auto top = counter.top(threads);
        Bytes result;
        append(result, top.bytes.data(), top.bytes.size());
        append(result, top.offsets.data(), top.offsets.size());
        append(result, top.counts.data(), top.counts.size());
        append(result, top.tallies.data(), top.tallies.size());
        return result;
    };
    for (const std::uint64_t memory : {std::uint64_t{0}, std::uint64_t{1} << 26})
        for (const unsigned threads : {1u, 3u}) {
            scenario("count with " + std::to_string(memory) + " bytes, threads " + std::to_string(threads), [] {},
                     [&] { (void)whole(memory, threads); }, [&] { return whole(1 << 24, 2); });
            // Each step for itself, and what may be done with the counter then.
            for (int step = 0; step < 3; ++step) {
                std::unique_ptr<Counter> counter;
                const auto make = [&] {
                    counter = std::make_unique<Counter>(TextRules{Tokenizer::words, true, true}, 2, memory, "/tmp", 0);
                    if (step > 0) counter->add(several, 1, threads);
                    if (step > 1) counter->choose(500, 1, threads);
                };
                scenario("step " + std::to_string(step) + " of counting with " + std::to_string(memory) + " bytes, threads " + std::to_string(threads),
                         make,
                         [&] {
                             try {
                                 if (step == 0) counter->add(several, 1, threads);
                                 if (step == 1) counter->choose(500, 1, threads);
                                 if (step == 2) counter->spell(several, true, threads);
                             } catch (const std::bad_alloc&) {
                                 left = never;
                                 int refused = 0;
                                 const auto refuses = [&](auto call) {
                                     try {
                                         call();
                                     } catch (const std::logic_error&) {
                                         ++refused;
                                     }
                                 };
                                 refuses([&] { counter->add(several, 1, 1); });
                                 refuses([&] { counter->choose(10, 1, 1); });
                                 refuses([&] { counter->spell(several, true, 1); });
                                 refuses([&] { (void)counter->top(1); });
                                 if (refused != 4) give_up("counting", "a counter that is not whole was used");
                                 throw;
                             }
                         },
                         [&] { return whole(1 << 24, 1); });
            }
        }
    // What top() gives is made from what is whole: it may fail and be asked again.
    Counter counter({Tokenizer::words, true, true}, 2, 1 << 24, "/tmp", 0);
    counter.add(several, 1, 1);
    counter.choose(500, 1, 1);
    counter.spell(several, true, 1);
    scenario("top", [] {}, [&] { (void)counter.top(2); }, [&] {
        const auto top = counter.top(1);
        Bytes result;
        append(result, top.bytes.data(), top.bytes.size());
        append(result, top.counts.data(), top.counts.size());
        return result;
    });
}

// Training: a step that fails leaves the table as it was.
void training(const Toy& toy) {
    std::mt19937 random(11);
    std::vector<std::uint32_t> ids;
    std::vector<std::uint64_t> offsets{0};
    for (int b = 0; b < 300; ++b) {
        for (unsigned i = random() % 20; i--;) ids.push_back(static_cast<std::uint32_t>(random() % Toy::v));
        offsets.push_back(ids.size());
    }
    const Bags bags{ids, offsets};
    constexpr std::size_t width = Toy::width;
    for (const auto how : {Pooling::mean, Pooling::sum, Pooling::max, Pooling::mean_max, Pooling::attentive})
        for (const unsigned threads : {1u, 3u})
            for (const bool adam : {true, false}) {
                std::vector<float> table(toy.full), moment1(table.size()), moment2(table.size()), state(Toy::v);
                const Table rows{table.data(), width, false};
                Pool pool{how, std::vector<float>(how == Pooling::attentive ? width : 0, 0.1f)};
                std::vector<float> out(bags.size() * pool.pooled(width)), grad(out.size()), query(width);
                for (std::size_t i = 0; i < grad.size(); ++i) grad[i] = static_cast<float>(i % 13) - 6;
                const auto pooled = [&] {
                    bag_pool(rows, bags, pool, out.data(), threads);
                    if (how == Pooling::attentive) bag_attend(rows, bags, pool, out.data(), grad.data(), query.data(), threads);
                };
                const auto step = [&] {
                    if (adam) bag_step(rows, bags, grad.data(), pool, Adam{0.1f, 0.9f, 0.98f, 1e-6f, 1, moment1.data(), moment2.data()}, 3, threads);
                    else bag_step(rows, bags, grad.data(), pool, Adagrad{0.1f, 1e-6f, 1, state.data()}, 3, threads);
                };
                const auto reset = [&] {
                    table = toy.full;
                    std::fill(moment1.begin(), moment1.end(), 0.0f);
                    std::fill(moment2.begin(), moment2.end(), 0.0f);
                    std::fill(state.begin(), state.end(), 0.0f);
                };
                const std::string name = "training " + std::to_string(static_cast<int>(how)) + (adam ? " adam" : " adagrad") + ", threads " + std::to_string(threads);
                scenario(name, reset,
                         [&] {
                             try {
                                 pooled();
                                 step();
                             } catch (const std::bad_alloc&) {
                                 if (table != toy.full) give_up(name, "half a step was made");
                                 throw;
                             }
                         },
                         [&] {
                             reset();
                             pooled();
                             step();
                             Bytes result;
                             append(result, out.data(), out.size());
                             append(result, table.data(), table.size());
                             append(result, query.data(), query.size());
                             return result;
                         });
            }
    std::vector<std::int64_t> which{5, 3, 7, 200};
    scenario("take_bags", [] {},
             [&] {
                 std::vector<std::uint32_t> taken;
                 std::vector<std::uint64_t> ends{0};
                 take_bags(bags, which, 1000, 1, 1, 0, taken, ends);
             },
             [&] {
                 std::vector<std::uint32_t> taken;
                 std::vector<std::uint64_t> ends{0};
                 take_bags(bags, which, 1000, 1, 1, 0, taken, ends);
                 Bytes result;
                 append(result, taken.data(), taken.size());
                 return result;
             });
}

// Threads of which the first already run when there is no memory for the next.
void threads() {
    const auto sum = [] {
        std::atomic<std::size_t> total{0};
        parallel_for(1000, 1, 8, Stop(), [&] { return [&](std::size_t begin, std::size_t) { total += begin; }; });
        return std::to_string(total);
    };
    scenario("threads", [] {}, [&] { (void)sum(); }, sum);
}

}  // namespace

int main() {
    const Data data;
    const Toy toy;
    threads();
    texts(data);
    lookups(data, toy);
    scoring(data, toy);
    counting(data);
    training(toy);
    std::puts("all right");
}
