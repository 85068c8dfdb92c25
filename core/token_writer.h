// What the ways of cutting text write their tokens with.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "kernels.h"
#include "large.h"
#include "tokenize.h"
#include "unicode.h"

namespace sparsedistill {

// Appends the tokens of one text.
class TokenWriter {
public:
    // Of tokens that are written code point by code point alone.
    explicit TokenWriter(Tokens& tokens) : tokens_(tokens), copy_(0) {}
    TokenWriter(Tokens& tokens, std::string_view text, bool lowercase) : tokens_(tokens) {
        const std::size_t size = text.size(), blocks = (size + 63) / 64;
        copy_ = tokens.used_;
        make_room(64 * blocks);
        grow(blocks, tokens.masks_);
        char* const copy = tokens.buffer_.data() + tokens.used_;
        const auto classify = kernels().classify;
        classify(text.data(), size / 64, lowercase, copy, tokens.masks_.data());
        if (const std::size_t rest = size % 64) {  // nothing is read past the text's end
            char last[64] = {};
            std::memcpy(last, text.data() + size - rest, rest);
            classify(last, 1, lowercase, copy + size - rest, tokens.masks_.data() + blocks - 1);
        }
        tokens.used_ += 64 * blocks;
    }

    std::span<const Masks> masks() const { return tokens_.masks_; }

    // Tokens written code point by code point, between begin() and end().
    char* out = nullptr;

    void begin(std::size_t bytes) {
        make_room(tokens_.open_ + growth * bytes);
        token_ = tokens_.buffer_.data() + tokens_.used_;
        out = token_ + tokens_.open_;
    }
    // What is open then goes on after the next begin().
    void end() {
        tokens_.used_ = static_cast<std::size_t>(token_ - tokens_.buffer_.data());
        tokens_.open_ = size();
    }
    bool open() const { return out != token_; }
    std::size_t size() const { return static_cast<std::size_t>(out - token_); }  // of what is open
    char* at(std::size_t size) const { return token_ + size; }
    void push() {
        make_spans(tokens_.count_ + 1);
        tokens_.spans_[tokens_.count_++] = {static_cast<std::size_t>(token_ - tokens_.buffer_.data()),
                                            static_cast<std::size_t>(out - token_)};
        token_ = out;
    }
    void push_if_open() {
        if (open()) push();
    }
    void drop() { out = token_; }

    // Tokens that are runs of ones in either mask of runs(block number, valid bits), over the ASCII bytes [first, last).
    // Those shorter than `least` are left out.
    template <class Runs>
    void push_runs(std::size_t first, std::size_t last, std::size_t least, Runs runs) {
        if (first == last) return;
        const std::size_t before = tokens_.count_;
        std::size_t begun = before, ended = before;
        std::uint64_t open1 = 0, open2 = 0;  // whether a run reaches into the block
        for (std::size_t block = first / 64; block <= (last - 1) / 64; ++block) {
            const std::size_t at = block * 64;
            std::uint64_t valid = ~std::uint64_t{0};
            if (at < first) valid &= ~std::uint64_t{0} << (first - at);
            if (at + 64 > last) valid &= ~std::uint64_t{0} >> (at + 64 - last);
            const auto [run1, run2] = runs(block, valid);
            make_spans(begun + 64);
            auto& spans = tokens_.spans_;
            const std::uint64_t shifted1 = run1 << 1 | open1, shifted2 = run2 << 1 | open2;
            for (std::uint64_t b = (run1 & ~shifted1) | (run2 & ~shifted2); b; b &= b - 1)
                spans[begun++].begin = copy_ + at + static_cast<unsigned>(std::countr_zero(b));
            for (std::uint64_t e = (~run1 & shifted1) | (~run2 & shifted2); e; e &= e - 1, ++ended)
                spans[ended].size = copy_ + at + static_cast<unsigned>(std::countr_zero(e)) - spans[ended].begin;
            open1 = run1 >> 63;
            open2 = run2 >> 63;
        }
        auto& spans = tokens_.spans_;
        if (begun != ended) spans[ended].size = copy_ + last - spans[ended].begin;
        tokens_.count_ = begun;
        if (least == 1) return;
        tokens_.count_ = before;
        for (std::size_t i = before; i < begun; ++i) {
            spans[tokens_.count_] = spans[i];
            tokens_.count_ += spans[i].size >= least;
        }
    }

private:
    void make_room(std::size_t bytes) {
        const std::size_t need = tokens_.used_ + bytes + Tokens::slack;
        // A token may be as long as the text, and then memory counts more than how often it is copied.
        if (tokens_.buffer_.size() < need) tokens_.buffer_.resize(need + need / (need < std::size_t{1} << 20 ? 2 : 8));
    }
    void make_spans(std::size_t count) {
        grow(count, tokens_.spans_);
    }

    Tokens& tokens_;
    std::size_t copy_;  // where the (lower-cased) copy of the text begins
    char* token_ = nullptr;
};

}  // namespace sparsedistill
