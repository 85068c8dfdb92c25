#include "model.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "bag.h"
#include "fields.h"
#include "kernels.h"
#include "tensors.h"
#include "tokenize.h"
#include "unicode_table.h"

namespace sparsedistill {

namespace {

constexpr std::uint64_t of_int4 = 7;  // format version
constexpr std::uint64_t most_layers = 16, most_n = 8;
constexpr std::size_t most_config = std::size_t{64} << 20;  // bytes
constexpr std::uint64_t most_width = std::uint64_t{1} << 40;  // of a row: what follows from it is computed without overflow

struct RowKind {
    std::string_view name;
    RowType type;
    NumberType numbers;
};
constexpr RowKind row_kinds[] = {{"int4", RowType::int4, NumberType::u8},
                                 {"int8", RowType::int8, NumberType::i8},
                                 {"int16", RowType::int16, NumberType::i16},
                                 {"float16", RowType::float16, NumberType::f16},
                                 {"float32", RowType::float32, NumberType::f32}};

// The tensors, which are asked for by name, type and shape.
class Tensors {
public:
    Tensors(std::vector<Tensor> all, std::string file, std::deque<Large<std::byte>>& copies)
        : all_(std::move(all)), file_(std::move(file)), copies_(copies) {}

    [[noreturn]] void fail(const std::string& why) const { throw FormatError(file_ + ": " + why); }

    static constexpr std::uint64_t any = ~std::uint64_t{0};
    const Tensor& get(const std::string& name, NumberType type, const std::vector<std::uint64_t>& shape) {
        used_.insert(name);
        const auto found = std::find_if(all_.begin(), all_.end(), [&](const Tensor& one) { return one.name == name; });
        if (found == all_.end()) fail("tensor " + in_quotes(name) + " is missing");
        if (found->type != type)
            fail("tensor " + in_quotes(name) + " is " + std::string(name_of(found->type)) + ", not " + std::string(name_of(type)));
        const auto fits = [](std::uint64_t want, std::uint64_t have) { return want == any || want == have; };
        if (!std::equal(shape.begin(), shape.end(), found->shape.begin(), found->shape.end(), fits))
            fail("tensor " + in_quotes(name) + " has the shape " + shown(found->shape) + ", not " + shown(shape));
        return *found;
    }
    std::span<const float> floats(const std::string& name, const std::vector<std::uint64_t>& shape) {
        const auto& tensor = get(name, NumberType::f32, shape);
        return numbers<float>(tensor);
    }
    // Another writer may not align, and then that array alone is copied.
    template <class T>
    std::span<const T> numbers(const Tensor& tensor) {
        const std::byte* at = tensor.bytes.data();
        if (tensor.bytes.empty()) return {};
        if (reinterpret_cast<std::uintptr_t>(at) % size_of(tensor.type)) {
            copies_.emplace_back(tensor.bytes.begin(), tensor.bytes.end());
            at = copies_.back().data();
        }
        return {reinterpret_cast<const T*>(at), tensor.bytes.size() / sizeof(T)};
    }

    void refuse_others() const {
        for (const auto& tensor : all_)
            if (!used_.count(tensor.name))
                fail("tensor " + in_quotes(tensor.name) + " does not belong to what config.json describes");
    }

private:
    static std::string shown(const std::vector<std::uint64_t>& shape) {
        std::string result = "(";
        for (const auto n : shape) {
            if (result.size() > 1) result += ", ";
            result += n == any ? "any" : std::to_string(n);
        }
        return result += ')';
    }

    std::vector<Tensor> all_;
    std::string file_;
    std::deque<Large<std::byte>>& copies_;
    std::set<std::string> used_;
};

struct Text {
    TextRules rules;
    unsigned max_n;
    std::uint64_t seed;
    Characters characters;
};

Characters read_characters(const Fields& text) {
    Characters characters;
    if (!text.find("characters")) return characters;
    const std::string name = text.string("characters");
    const auto of = characters_named(name);
    if (!of) text.fail("characters is " + in_quotes(name) + ", not none, unknown or all");
    if (*of == Characters::Of::none) return characters;
    const std::uint64_t least = text.whole("characters_min"), most = text.whole("characters_max");
    if (least < 1 || most < least || most > Characters::longest)
        text.fail("characters_min is " + std::to_string(least) + " and characters_max " + std::to_string(most) +
                  ": not 1 to 16, the second not below the first");
    return {*of, static_cast<unsigned>(least), static_cast<unsigned>(most)};
}

Text read_text(const Fields& config, const std::string& where) {
    const Fields text = config.object("text");
    const auto version = text.find("unicode");
    if (!version || version->kind() != Json::Kind::string || version->string() != unicode::version)
        throw FormatError(where + " follows Unicode " + (version ? version->shown() : "none") + ", this program " +
                          unicode::version);
    const std::uint64_t max_n = text.whole("max_n");
    const std::string name = text.string("tokenizer");
    const auto tokenizer = tokenizer_named(name);
    if (!tokenizer) text.fail("tokenizer is " + in_quotes(name) + ", not sklearn, words or whitespace");
    const bool normalize = text.boolean("normalize");
    if (normalize && *tokenizer == Tokenizer::sklearn) text.fail("normalize is true, which the sklearn tokenizer never does");
    const bool deobfuscate = text.boolean("deobfuscate", false);
    if (deobfuscate && !normalize) text.fail("deobfuscate is true, but normalize is false");
    if (max_n < 1 || max_n > most_n) text.fail("max_n is " + std::to_string(max_n) + ", not 1 to 8");
    return {{*tokenizer, text.boolean("lowercase"), normalize, deobfuscate}, static_cast<unsigned>(max_n), text.whole("seed"),
            read_characters(text)};
}

struct Rows {
    RowType type;
    const void* numbers = nullptr;  // nothing where they stand in the slots
    std::size_t width = 0, stride = 0;
    Lookup lookup;
};

Rows read_rows(const Fields& config, Tensors& tensors, const Text& text, Pooling pooling, bool pairs) {
    const Fields rows = config.object("rows");
    const std::uint64_t width = rows.whole("width"), count = rows.whole("count");
    const std::string name = rows.string("type");
    const auto* const kind =
        std::find_if(std::begin(row_kinds), std::end(row_kinds), [&](const RowKind& one) { return name == one.name; });
    if (kind == std::end(row_kinds)) rows.fail("rows.type is " + in_quotes(name) + ", not int4, int8, int16, float16 or float32");
    if (const auto version = config.whole("format_version"); kind->type == RowType::int4 && version < of_int4)
        rows.fail("rows.type int4 is of format version 7, not " + std::to_string(version));
    const bool hashed = rows.boolean("hashed", false), in_slots = rows.boolean("in_slots");
    if (hashed && text.characters.of == Characters::Of::unknown)
        rows.fail("characters are of unknown words, but rows are hashed and all known");
    if (pooling == Pooling::attentive && (kind->type < RowType::float16 || width < 2))
        rows.fail("attentive pooling is of float rows, the last number their weight");
    std::span<const std::uint32_t> slots;
    if (!hashed) {
        slots = tensors.numbers<std::uint32_t>(tensors.get("slots", NumberType::u32, {Tensors::any, Lines::lanes}));
        if (slots.empty()) tensors.fail("tensor 'slots' is empty");
    }
    const auto lookup = [&](std::uint32_t columns) {
        try {
            return Lookup(slots, columns ? 0 : static_cast<std::uint32_t>(count), columns, text.seed);
        } catch (const std::invalid_argument& error) {
            tensors.fail(error.what());
        }
    };
    if (in_slots) {
        if (kind->type != RowType::int16 || width < 1 || width > Lookup::most_columns)
            rows.fail("rows.in_slots is for 1 to 4 int16 numbers a row");
        if (hashed) rows.fail("rows are in slots and hashed, which have none");
        if (pairs || !is_sum(pooling)) rows.fail("rows.in_slots is for mean, sum and sqrtn of single texts");
        const auto columns = static_cast<std::uint32_t>(width);
        if (count > slots.size() / Lines::lanes * Lookup::slots_of(columns))
            rows.fail("rows.count is " + std::to_string(count) + ", more than 'slots' can hold");
        return {kind->type, nullptr, width, width, lookup(columns)};
    }
    const Tensor& table = tensors.get("rows", kind->numbers, {Tensors::any, Tensors::any});
    const std::uint64_t size = size_of(kind->numbers), each = kind->type == RowType::int4 ? 2 : 1;  // numbers
    const std::uint64_t stride = table.shape[1] * each;
    if (table.shape[0] != count || count > 0xFFFFFFFF || !width || width > stride || table.shape[1] > most_width ||
        table.shape[1] * size % Kernels::row_bytes)
        tensors.fail("tensor 'rows' has " + std::to_string(table.shape[0]) + " rows of " + std::to_string(stride) +
                     " numbers: not " + std::to_string(count) + " of " + std::to_string(width) +
                     ", padded to a multiple of 16 bytes");
    const void* const numbers = size == 1   ? static_cast<const void*>(tensors.numbers<std::int8_t>(table).data())
                                : size == 2 ? static_cast<const void*>(tensors.numbers<std::int16_t>(table).data())
                                            : static_cast<const void*>(tensors.numbers<float>(table).data());
    return {kind->type, numbers, width, stride, lookup(0)};
}

// Reads what comes after the pooling into the model.
void read_dense(const Fields& config, Tensors& tensors, Model& model) {
    const std::uint64_t depth = config.whole("layers");
    if (depth > most_layers) config.fail("layers is " + std::to_string(depth) + ", not 0 to 16");
    bool all_finite = true;
    const auto checked = [&](std::span<const float> numbers) {
        all_finite = all_finite && std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); });
        return numbers.data();
    };
    bool positive = true;
    if (model.row_type < RowType::float16) {
        const auto scale = tensors.floats("scale", {model.width});
        positive = std::all_of(scale.begin(), scale.end(), [](float x) { return x > 0; });
        model.scale = checked(scale);
    }
    model.bias = checked(tensors.floats("bias", {model.combined()}));
    model.relu_first = config.boolean("relu_first");
    for (std::uint64_t i = 0; i < depth; ++i) {
        const std::string name = "layers." + std::to_string(i);
        const std::uint64_t in = model.outputs();
        const Tensor& weight = tensors.get(name + ".weight", NumberType::f32, {in, Tensors::any});
        const std::uint64_t out = weight.shape[1];
        if (!out) tensors.fail("tensor '" + name + ".weight' has no columns");
        const float* const numbers = checked(tensors.numbers<float>(weight));
        model.layers.emplace_back(numbers, checked(tensors.floats(name + ".bias", {out})), in, out);
    }
    if (!all_finite) tensors.fail("a scale, bias or dense weight is not finite");
    if (!positive && has_maximum(model.pooling))
        tensors.fail("a scale is not positive, and the largest number of a column would not stay so");
}

std::string content_of(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file.is_open()) throw std::system_error(errno, std::generic_category(), path.string());
    std::string content;
    // A file of any length is read to where it is too long, and no further.
    for (std::size_t at = 0; file && content.size() <= most_config; at += static_cast<std::size_t>(file.gcount())) {
        content.resize(std::min(most_config + 1, 2 * at + (std::size_t{1} << 16)));
        file.read(content.data() + at, static_cast<std::streamsize>(content.size() - at));
        content.resize(at + static_cast<std::size_t>(file.gcount()));
    }
    if (file.bad()) throw std::system_error(EIO, std::generic_category(), path.string());
    if (content.size() > most_config) throw FormatError(path.string() + " is longer than 64 MiB: it is not one of ours");
    return content;
}

LoadedModel read(std::string_view config_text, MappedFile mapped, std::span<const std::byte> content, const std::string& where,
                 const std::string& config_name, const std::string& tensors_name) {
    const Json json(config_text, config_name);
    if (json.root().kind() != Json::Kind::object) throw FormatError(config_name + " does not hold a JSON object");
    const Fields config(json.root(), where);
    std::deque<Large<std::byte>> copies;
    Tensors tensors(read_tensors(content, tensors_name), tensors_name, copies);
    auto heads = read_heads(config);
    const Text text = read_text(config, where);
    const std::string pooling_name = config.string("pooling");
    const auto pooling = pooling_named(pooling_name);
    if (!pooling) config.fail("pooling is " + in_quotes(pooling_name) + ", not mean, sum, sqrtn, max, mean+max or attentive");
    const bool pairs = config.boolean("pairs", false);
    const Rows rows = read_rows(config, tensors, text, *pooling, pairs);
    Model model{{text.rules, text.max_n, rows.lookup, Vocabulary::usual_block, text.characters}, rows.type, rows.numbers, rows.width, rows.stride, nullptr, *pooling, nullptr,
                pairs, false, {}};
    read_dense(config, tensors, model);
    const std::size_t labels = heads.back().end();
    if (model.outputs() != labels)
        throw FormatError(where + ": " + std::to_string(model.outputs()) + " outputs for " + std::to_string(labels) + " labels");
    tensors.refuse_others();
    return {std::move(mapped), std::move(copies), std::move(heads), std::move(model)};
}

}  // namespace

LoadedModel load_model(const std::filesystem::path& directory) {
    const auto config = directory / "config.json", tensors = directory / "model.safetensors";
    for (const auto& path : {config, tensors}) {
        std::error_code error;
        if (!std::filesystem::is_regular_file(path, error))
            throw std::system_error(ENOENT, std::generic_category(),
                                    directory.string() + " is not a classifier: it has no " + path.filename().string());
    }
    MappedFile mapped(tensors);
    const auto bytes = mapped.bytes();
    return read(content_of(config), std::move(mapped), bytes, directory.string(), config.string(), tensors.string());
}

LoadedModel read_model(std::string_view config, std::span<const std::byte> tensors, const std::string& name) {
    return read(config, MappedFile(), tensors, name, name + ": config.json", name + ": model.safetensors");
}

}  // namespace sparsedistill
