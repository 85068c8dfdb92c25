// Python's Lookup, which its Model holds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "../kernels.h"
#include "../large.h"
#include "../lookup.h"
#include "../origins.h"
#include "common.h"
#include "python_texts.h"

namespace sparsedistill::python {

using LookupArray = nb::ndarray<const std::uint32_t, nb::numpy, nb::shape<-1, static_cast<nb::ssize_t>(Lines::lanes)>, nb::c_contig,
                          nb::device::cpu>;

// A vocabulary's lookup with the rules of its text.
class PyLookup {
public:
    PyLookup(LookupArray table, std::uint32_t rows, std::uint32_t columns, std::uint64_t seed, const std::string& tokenizer,
             bool lowercase, unsigned max_n, bool normalize, std::size_t block, bool deobfuscate,
             const std::string& of, unsigned least, unsigned most)
        : table_(std::move(table)), vocabulary{rules(tokenizer, lowercase, normalize, deobfuscate), checked_n(max_n),
                                               Lookup({table_.data(), table_.size()}, rows, columns, seed), block,
                                               characters(of, least, most)} {
        if (block < 1 || block > Vocabulary::usual_block) throw nb::value_error("a block has 1 to 8,192 tokens");
        if (!vocabulary.lookup.lines().count && vocabulary.characters.of == Characters::Of::unknown)
            throw nb::value_error("without a table no word is unknown: characters must be none or all");
    }

    auto bags(nb::handle source, unsigned threads, double forget, std::uint64_t seed, bool mistype) const {
        if (!(forget >= 0 && forget <= 1)) throw nb::value_error("the share that is forgotten must be 0 to 1");
        if (forget != 0 && vocabulary.characters.of != Characters::Of::unknown)
            throw nb::value_error("words are forgotten for their characters: these must be those of unknown words");
        const PythonTexts texts(source);
        FoundBags found;
        {
            const Long work;
            found = find_bags(vocabulary, texts.views(), threads, work.stop,
                              {static_cast<std::uint64_t>(forget * 4294967296.0), seed, mistype});
        }
        return std::make_pair(to_numpy(std::move(found.ids)), to_numpy(std::move(found.offsets)));
    }

    // Without those of characters, and of no more than `longest` tokens.
    auto known(nb::handle source, unsigned longest, unsigned threads, bool nulls_are_empty) const {
        if (longest < 1 || longest > vocabulary.max_n) throw nb::value_error("the vocabulary has no n-grams as long as that");
        const PythonTexts texts(source, nulls_are_empty);
        const Vocabulary words{vocabulary.rules, longest, vocabulary.lookup, vocabulary.block};
        Large<std::uint32_t> counts;
        {
            const Long work;
            counts = count_known(words, texts.views(), threads, work.stop);
        }
        return to_numpy(std::move(counts), std::size_t{1} + longest);
    }

    // [(n-gram, row)] of one text, in the order of its bag.
    nb::list ngrams(nb::handle text) const {
        const PythonTexts texts(nb::make_tuple(text));
        BagReader reader;
        Large<std::uint32_t> ids;
        nb::list result;
        reader.walk(vocabulary, texts.views(), Stop(check_signals), [&](const BagReader::Candidates& all) {
            ids.clear();
            const std::size_t hits = find(all, ids);
            for (std::size_t i = 0; i < ids.size(); ++i) {
                const std::string ngram = reader.spelled(all, all.where[i]);
                result.append(nb::make_tuple(ngram, ids[i]));
            }
            return hits;
        });
        return result;
    }

    // Where they stand in the text: int64 (n, 2), bytes of its UTF-8, in the order of ngrams().
    auto spans(nb::handle text) const {
        const PythonTexts texts(nb::make_tuple(text));
        std::vector<std::int64_t> result;
        {
            const Long work;
            const Origins origins(texts.views()[0], vocabulary.rules, work.stop);
            BagReader reader;
            Large<std::uint32_t> ids;
            reader.walk(vocabulary, texts.views(), work.stop, [&](const BagReader::Candidates& all) {
                ids.clear();
                const std::size_t hits = find(all, ids);
                if (hits == Kernels::damaged) return hits;
                for (const auto [token, point] : reader.places(all, ids.size())) {
                    Part part;
                    if (all.of_characters) {  // a blank around the word is the code point beside it
                        const std::size_t points = origins.points(token), first = std::min(point - (point > 0), points - 1);
                        const std::size_t last = std::clamp(point + all.n - 1, first + 1, points);
                        part = origins.part(token, first, last);
                    } else {
                        part = origins.part(token, all.n);
                    }
                    result.push_back(static_cast<std::int64_t>(part.begin));
                    result.push_back(static_cast<std::int64_t>(part.end));
                }
                return hits;
            });
        }
        return to_numpy(std::move(result), std::size_t{2});
    }

private:
    LookupArray table_;

    // Appends the rows found to `ids`.
    std::size_t find(const BagReader::Candidates& all, Large<std::uint32_t>& ids) const {
        const std::size_t before = ids.size();
        ids.resize(before + all.count);  // the kernel writes a place for each hash, hit or not
        const std::size_t hits = kernels().find(vocabulary.lookup.lines(), all.hashes, all.count, ids.data() + before,
                                                all.where, nullptr, 0);
        if (hits != Kernels::damaged) ids.resize(before + hits);
        return hits;
    }

public:
    Vocabulary vocabulary;
};

}  // namespace sparsedistill::python
