#include "origins.h"

#include <algorithm>
#include <string>

#include "deobfuscate.h"
#include "tokenize.h"
#include "unicode.h"

namespace sparsedistill {

namespace {

// Without invisible code points at either end, which `words` leaves out.
Part visible(std::string_view text, Part part) {
    const auto* const begin = reinterpret_cast<const unsigned char*>(text.data());
    const auto is_ignored = [](std::uint32_t code) { return Point(code).kind() == ignored; };
    for (const unsigned char* p = begin + part.begin; part.begin < part.end;) {
        if (!is_ignored(decode(p, begin + part.end))) break;
        part.begin = static_cast<std::size_t>(p - begin);
    }
    for (const unsigned char* p = begin + part.end; part.end > part.begin;) {
        if (!is_ignored(decode_back(p, begin + part.begin))) break;
        part.end = static_cast<std::size_t>(p - begin);
    }
    return part;
}

}  // namespace

Origins::Origins(std::string_view text, TextRules rules, const Stop& stop) {
    const bool disguised = rules.deobfuscate;
    std::string plain;
    std::vector<Part> sources;  // of each byte of what is cut
    if (disguised) {
        deobfuscate(text, plain, sources, stop);
        text = plain;
        rules.deobfuscate = false;
    }
    // Read a code point at a time, or as many as NFC composes: what is written meanwhile comes from what is read.
    Tokens tokens;
    std::vector<Part> bytes;  // of each byte of the open token
    std::size_t steps = 0;
    for (Tokenization reading(text, rules, 1); !reading.done();) {
        if (++steps % 8192 == 0) stop.poll();
        const std::size_t begin = reading.position();
        reading.next(tokens);
        Part step{begin, reading.position()};
        if (rules.tokenizer == Tokenizer::words) step = visible(text, step);
        if (disguised && step.begin < step.end) step = {sources[step.begin].begin, sources[step.end - 1].end};
        for (std::size_t t = 0; t < tokens.size(); ++t) {
            const std::string_view token = tokens[t];
            bytes.resize(token.size(), step);
            for (std::size_t i = 0; i < token.size(); ++i)
                if ((token[i] & 0xC0) != 0x80) points_.push_back(bytes[i]);
            from_.push_back(points_.size());
            bytes.clear();
        }
        tokens.drop(tokens.size());
        bytes.resize(tokens.open(), step);
    }
}

}  // namespace sparsedistill
