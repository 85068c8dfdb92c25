// Texts and models to try things with.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bag.h"
#include "large.h"
#include "lookup.h"
#include "score.h"

namespace sparsedistill {

inline std::string words(std::size_t count, unsigned seed, const char* between = " ") {
    std::mt19937 random(seed);
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += (i ? between : "") + ("w" + std::to_string(random() % 60));
    return text;
}

struct Toy {
    static constexpr std::size_t v = 100, width = 48;
    std::string bytes;
    std::vector<std::uint64_t> offsets{0};
    Large<std::uint32_t> table;
    std::vector<std::int16_t> values, rows16;
    std::vector<std::int8_t> rows8;
    std::vector<std::uint8_t> rows4;  // of 32 bytes
    std::vector<std::uint16_t> half;
    std::vector<float> full, scale, bias, weight, weight_bias;

    Toy() {
        std::mt19937 random(5);
        const auto add = [&](const std::string& ngram) {
            bytes += ngram;
            offsets.push_back(bytes.size());
        };
        for (int i = 0; i < 50; ++i) add("w" + std::to_string(i));
        for (int i = 0; i < 50; ++i) add("w" + std::to_string(i % 10) + " w" + std::to_string(i / 10 * 7 % 50 + i / 10));
        for (std::size_t i = 0; i < v * width; ++i) {
            rows8.push_back(static_cast<std::int8_t>(random()));
            rows16.push_back(static_cast<std::int16_t>(random()));
            half.push_back(static_cast<std::uint16_t>(0x2C00 + random() % 0x1000));
            full.push_back(static_cast<float>(random() % 1000 + 1) / 1000);
        }
        for (std::size_t i = 0; i < v * 32; ++i) rows4.push_back(static_cast<std::uint8_t>(random()));
        for (std::size_t i = 0; i < v * 3; ++i) values.push_back(static_cast<std::int16_t>(random()));
        for (std::size_t i = 0; i < 4 * 2 * width; ++i) {
            scale.push_back(0.1f + static_cast<float>(i % 7));
            bias.push_back(static_cast<float>(i % 5) - 2);
        }
        for (std::size_t i = 0; i < 8 * width * 100; ++i) weight.push_back(static_cast<float>(random() % 200) / 100 - 1);
        weight_bias.assign(100, 0.5f);
        table = *build_table(ngrams(), nullptr, 0, 0);
    }
    NgramStrings ngrams() const { return {{bytes.data(), bytes.size()}, offsets}; }

    Model model(RowType type, Pooling pooling, bool pairs, bool hashed) const {
        const void* const rows[] = {rows4.data(), rows8.data(), rows16.data(), half.data(), full.data()};
        const Lookup lookup = hashed ? Lookup({}, v, 0, 7) : Lookup({table.data(), table.size()}, v, 0, 0);
        Model made{Vocabulary{{Tokenizer::words, true, true}, 3, lookup}, type, rows[static_cast<int>(type)], width, type == RowType::int4 ? 64 : width,
                   scale.data(), pooling, bias.data(), pairs, true, {}};
        made.layers.emplace_back(weight.data(), weight_bias.data(), made.combined(), 20);
        made.layers.emplace_back(weight.data(), weight_bias.data(), 20, 3);
        return made;
    }
    Model in_slots(const Large<std::uint32_t>& with_values) const {
        return Model{Vocabulary{{Tokenizer::sklearn, true, false}, 2, Lookup({with_values.data(), with_values.size()}, 0, 3, 0)},
                     RowType::int16, nullptr, 3, 3, scale.data(), Pooling::mean, bias.data(), false, false, {}};
    }
};

}  // namespace sparsedistill
