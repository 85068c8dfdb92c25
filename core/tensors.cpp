#include "tensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>

namespace sparsedistill {

namespace {

constexpr std::size_t most_header = std::size_t{16} << 20, most_dimensions = 8;

struct Known {
    std::string_view name;
    std::size_t size;
};
constexpr Known known[] = {{"U8", 1},  {"I8", 1},  {"I16", 2},  {"U32", 4}, {"I64", 8},
                           {"U64", 8}, {"F16", 2}, {"BF16", 2}, {"F32", 4}};

struct Entry {
    std::string name;
    NumberType type;
    std::vector<std::uint64_t> shape;
    std::uint64_t begin, end;  // in the data
};

// The whole numbers of an array, each below 2^62; nothing where it is not that.
std::optional<std::vector<std::uint64_t>> whole_numbers(const Json::Value& value) {
    if (value.kind() != Json::Kind::array) return {};
    std::vector<std::uint64_t> result;
    bool good = true;
    value.each_item([&](const Json::Value& item) {
        const auto number = item.kind() == Json::Kind::integer ? item.whole() : std::nullopt;
        good = good && number && *number < std::uint64_t{1} << 62;
        if (good) result.push_back(*number);
    });
    if (!good) return {};
    return result;
}

// Bytes of all numbers; with `all_but_zeros` as if a size of 0 were none. Nothing where memory has not so many.
std::optional<std::uint64_t> product(const std::vector<std::uint64_t>& shape, std::size_t size, bool all_but_zeros) {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    if (!all_but_zeros && std::count(shape.begin(), shape.end(), 0u)) return 0;
    std::uint64_t result = size;
    for (const auto n : shape) {
        if (!n) continue;
        if (result > most / n) return {};
        result *= n;
    }
    return result;
}

Entry read_entry(const std::string& name, const Json::Value& value, const std::string& about) {
    std::optional<Json::Value> dtype, shape, offsets;
    std::size_t members = 0;
    if (value.kind() == Json::Kind::object)
        value.each_member([&](const std::string& key, const Json::Value& member) {
            ++members;
            if (key == "dtype") dtype = member;
            if (key == "shape") shape = member;
            if (key == "data_offsets") offsets = member;
        });
    if (members != 3 || !dtype || !shape || !offsets)
        throw FormatError(about + " is not described by dtype, shape and data_offsets");
    Entry entry{name, {}, {}, 0, 0};
    const auto* const type = std::find_if(std::begin(known), std::end(known), [&](const Known& one) {
        return dtype->kind() == Json::Kind::string && dtype->string() == one.name;
    });
    if (type == std::end(known)) throw FormatError(about + " is of type " + dtype->shown() + ", which is none of ours");
    entry.type = static_cast<NumberType>(type - known);
    const auto sizes = whole_numbers(*shape), ends = whole_numbers(*offsets);
    if (!sizes || sizes->size() > most_dimensions) throw FormatError(about + " has no valid shape");
    if (!ends || ends->size() != 2 || (*ends)[0] > (*ends)[1]) throw FormatError(about + " has no valid data_offsets");
    entry.shape = *sizes;
    entry.begin = (*ends)[0];
    entry.end = (*ends)[1];
    return entry;
}

}  // namespace

std::string_view name_of(NumberType type) { return known[static_cast<std::size_t>(type)].name; }
std::size_t size_of(NumberType type) { return known[static_cast<std::size_t>(type)].size; }

std::vector<Tensor> read_tensors(std::span<const std::byte> content, const std::string& file) {
    std::uint64_t header = 0;
    if (content.size() < sizeof header) throw FormatError(file + " is cut short: " + std::to_string(content.size()) + " bytes");
    std::memcpy(&header, content.data(), sizeof header);
    if (header < 2 || header > std::min(most_header, content.size() - sizeof header))
        throw FormatError(file + " is not a safetensors file: its header would be " + std::to_string(header) + " bytes long");
    const std::string_view text(reinterpret_cast<const char*>(content.data()) + sizeof header, header);
    const Json json(text, file + ": the header");
    if (json.root().kind() != Json::Kind::object) throw FormatError(file + ": the header does not hold a JSON object");
    const auto about = [&](const std::string& name) { return file + ": tensor " + in_quotes(name); };

    std::vector<Entry> entries;
    json.root().each_member([&](const std::string& name, const Json::Value& value) {
        if (name != "__metadata__") entries.push_back(read_entry(name, value, about(name)));
    });
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    const auto data = content.subspan(sizeof header + header);
    std::uint64_t covered = 0;
    std::vector<Tensor> tensors;
    for (auto& entry : entries) {
        if (entry.begin != covered || entry.end > data.size())
            throw FormatError(about(entry.name) + " lies outside the file, or is not next to the one before it");
        covered = entry.end;
        const std::uint64_t size = entry.end - entry.begin;
        if (product(entry.shape, size_of(entry.type), false) != size)
            throw FormatError(about(entry.name) + " has " + std::to_string(size) + " bytes, not those of its shape");
        if (entry.name.starts_with("padding.")) continue;
        if (!product(entry.shape, size_of(entry.type), true)) throw FormatError(about(entry.name) + " has an impossible shape");
        tensors.push_back({std::move(entry.name), entry.type, std::move(entry.shape), data.subspan(entry.begin, size)});
    }
    if (covered != data.size())
        throw FormatError(file + " has " + std::to_string(data.size()) + " bytes of data, its tensors end at " +
                          std::to_string(covered));
    return tensors;
}

}  // namespace sparsedistill
