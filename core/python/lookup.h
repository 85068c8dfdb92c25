// Python's Lookup, which its Model holds.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "../kernels.h"
#include "../large.h"
#include "../lookup.h"
#include "common.h"
#include "python_texts.h"

namespace sparsedistill::python {

using LookupArray = nb::ndarray<const std::uint32_t, nb::numpy, nb::shape<-1, static_cast<nb::ssize_t>(Lines::lanes)>, nb::c_contig,
                          nb::device::cpu>;

// A vocabulary's lookup with the rules of its text.
class PyLookup {
public:
    PyLookup(LookupArray table, std::uint32_t rows, std::uint32_t columns, std::uint64_t seed, const std::string& tokenizer,
             bool lowercase, unsigned max_n, bool normalize, std::size_t block, bool deobfuscate)
        : table_(std::move(table)), vocabulary{rules(tokenizer, lowercase, normalize, deobfuscate), checked_n(max_n),
                                               Lookup({table_.data(), table_.size()}, rows, columns, seed), block} {
        if (block < 1 || block > Vocabulary::usual_block) throw nb::value_error("a block has 1 to 8,192 tokens");
    }

    auto bags(nb::handle source, unsigned threads) const {
        const PythonTexts texts(source);
        FoundBags found;
        {
            const Long work;
            found = find_bags(vocabulary, texts.views(), threads, work.stop);
        }
        return std::make_pair(to_numpy(std::move(found.ids)), to_numpy(std::move(found.offsets)));
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
                std::string ngram;
                for (std::uint32_t k = 0; k < all.n; ++k) {
                    if (k) ngram += ' ';
                    ngram += reader.tokens()[all.places[all.where[i]] + k];
                }
                result.append(nb::make_tuple(ngram, ids[i]));
            }
            return hits;
        });
        return result;
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
