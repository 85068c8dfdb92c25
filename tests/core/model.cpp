// Models read from memory and from directories: the same logits as the arrays themselves give, and every damage refused.
//
// With an argument, for tests that write files another way, paths come a line each on stdin, and for each of them a line goes
// out: "ok" with what was read, or what was thrown. The argument is a file of texts, each ended by a NUL: paths are model
// directories, and what was read are the bits of all logits. Or it is --tensors: paths are files of arrays, and what was read are
// their types and shapes.
#include "model.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "check.h"
#include "tensors.h"
#include "toy.h"
#include "unicode_table.h"

using namespace sparsedistill;

namespace {

std::vector<float> logits_of(const Model& model, const std::vector<std::string>& texts) {
    std::vector<std::string_view> views(texts.begin(), texts.end());
    if (model.pairs && views.size() % 2) views.pop_back();
    std::vector<float> logits(views.size() / (model.pairs ? 2 : 1) * model.outputs());
    score(model, views, logits.data(), 1);
    return logits;
}

// A file of arrays, written as others may write one: a tensor begins where the one before it ends.
class TensorFile {
public:
    template <class T>
    void add(const std::string& name, const std::string& type, const std::vector<std::size_t>& shape, const T* numbers) {
        std::size_t count = 1;
        std::string sizes;
        for (const auto n : shape) {
            count *= n;
            sizes += (sizes.empty() ? "" : ",") + std::to_string(n);
        }
        const std::string begin = std::to_string(data_.size()), end = std::to_string(data_.size() + count * sizeof(T));
        entries_ += entries_.empty() ? "" : ",";
        entries_ += '"' + name + R"(":{"dtype":")" + type + R"(","shape":[)" + sizes + R"(],"data_offsets":[)" + begin + "," + end + "]}";
        data_.append(reinterpret_cast<const char*>(numbers), count * sizeof(T));
    }
    // `filler`: blanks after the header, which move all that follows.
    std::string content(std::size_t filler = 0) const {
        const std::string header = "{" + entries_ + "}" + std::string(filler, ' ');
        const std::uint64_t size = header.size();
        return std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data_;
    }

private:
    std::string entries_, data_;
};

struct Files {
    std::string config, tensors;
};

constexpr const char* row_types[] = {"int4", "int8", "int16", "float16", "float32"};
constexpr const char* poolings[] = {"mean", "sum", "sqrtn", "max", "mean+max", "attentive"};

// The two files of a model of Toy.
Files files_of(const Toy& toy, const Model& model, bool hashed, std::size_t filler = 0) {
    TensorFile tensors;
    const auto type = static_cast<std::size_t>(model.row_type);
    constexpr const char* names[] = {"U8", "I8", "I16", "F16", "F32"};
    if (!hashed) tensors.add("slots", "U32", {toy.table.size() / Lines::lanes, Lines::lanes}, toy.table.data());
    const std::vector<std::size_t> shape{Toy::v, type ? Toy::width : 32};
    if (type < 2) tensors.add("rows", names[type], shape, static_cast<const std::int8_t*>(model.rows));
    else if (type < 4) tensors.add("rows", names[type], shape, static_cast<const std::int16_t*>(model.rows));
    else tensors.add("rows", names[type], shape, static_cast<const float*>(model.rows));
    if (type < 3) tensors.add("scale", "F32", {Toy::width}, model.scale);
    tensors.add("bias", "F32", {model.combined()}, model.bias);
    tensors.add("layers.0.weight", "F32", {model.combined(), 20}, toy.weight.data());
    tensors.add("layers.0.bias", "F32", {20}, toy.weight_bias.data());
    tensors.add("layers.1.weight", "F32", {20, 3}, toy.weight.data());
    tensors.add("layers.1.bias", "F32", {3}, toy.weight_bias.data());
    std::string config = R"({"format": "sparsedistill", "format_version": VERSION, "task": "multi", "labels": ["a", "b", "\u00e9"],
        "text": {"tokenizer": "words", "lowercase": true, "normalize": true, "max_n": 3, "seed": SEED, "unicode": "UNICODE"},
        "pooling": "POOLING", "pairs": PAIRS,
        "rows": {"count": 100, "width": 48, "type": "TYPE", "in_slots": false, "hashed": HASHED},
        "layers": 2, "relu_first": true, "thresholds": [0, 0.25, 1.0]})";
    const std::pair<std::string, std::string> values[] = {{"VERSION", type ? "4" : "7"}, {"SEED", hashed ? "7" : "0"}, {"UNICODE", unicode::version},
                                                          {"POOLING", poolings[static_cast<std::size_t>(model.pooling)]},
                                                          {"PAIRS", model.pairs ? "true" : "false"}, {"TYPE", row_types[type]},
                                                          {"HASHED", hashed ? "true" : "false"}};
    for (const auto& [name, value] : values) config.replace(config.find(name), name.size(), value);
    return {config, tensors.content(filler)};
}

std::span<const std::byte> bytes(const std::string& content) {
    return {reinterpret_cast<const std::byte*>(content.data()), content.size()};
}

LoadedModel read(const Files& files) { return read_model(files.config, bytes(files.tensors), "m"); }

const std::vector<std::string> texts{"w1 w2 W3 unknown", "", "w1 w2 w3 w4", words(3000, 1), "w5 w5 w5", "w0 w1 w0"};

void sound(const Toy& toy) {
    for (int type = 0; type < 5; ++type)
        for (int pooling = 0; pooling < 6; ++pooling)
            for (const bool pairs : {false, true})
                for (const bool hashed : {false, true}) {
                    if (static_cast<Pooling>(pooling) == Pooling::attentive && type < 3) continue;
                    const Model made = toy.model(static_cast<RowType>(type), static_cast<Pooling>(pooling), pairs, hashed);
                    const auto expected = logits_of(made, texts);
                    const std::string about = std::string(row_types[type]) + " " + poolings[pooling] + (pairs ? " pairs" : "") +
                                              (hashed ? " hashed" : "");
                    for (const std::size_t filler : {0, 1, 2, 3, 4}) {
                        const Files files = files_of(toy, made, hashed, filler);
                        const LoadedModel loaded = read(files);
                        CHECK_OF(about, loaded.heads.size() == 1 && loaded.heads[0].name.empty());
                        CHECK_OF(about, loaded.heads[0].task == Task::multi);
                        CHECK_OF(about, (loaded.heads[0].labels == std::vector<std::string>{"a", "b", "\xC3\xA9"}));
                        CHECK_OF(about, (loaded.heads[0].thresholds == std::vector<double>{0, 0.25, 1}));
                        const auto got = logits_of(loaded.model, texts);
                        CHECK_OF(about, got == expected);
                    }
                }
}

void several(const Toy& toy) {
    const Model made = toy.model(RowType::int8, Pooling::mean, false, false);
    Files files = files_of(toy, made, false);
    const auto replace = [&](const std::string& old, const std::string& changed) {
        const std::size_t at = files.config.find(old);
        CHECK_OF(old, at != std::string::npos);
        files.config.replace(at, old.size(), changed);
    };
    replace(R"("format_version": 4)", R"("format_version": 6)");
    replace(R"("task": "multi", "labels": ["a", "b", "\u00e9"])", R"("heads": [
        {"name": "\u00e9", "task": "multi", "labels": ["a", "b"], "thresholds": [0, 1],
         "calibration": {"kind": "isotonic", "x": [[-1, 2.5], [0]], "y": [[0, 1], [0.5]]}},
        {"name": "score", "task": "regression", "labels": ["a"], "calibration": {"kind": "isotonic", "x": [1], "y": [-2]}}])");
    replace(R"(, "thresholds": [0, 0.25, 1.0])", "");
    const LoadedModel loaded = read(files);
    CHECK(logits_of(loaded.model, texts) == logits_of(made, texts));
    CHECK(loaded.heads.size() == 2);
    const Head &first = loaded.heads[0], &second = loaded.heads[1];
    CHECK(first.name == "\xC3\xA9" && first.task == Task::multi && first.first == 0);
    CHECK((first.labels == std::vector<std::string>{"a", "b"} && first.thresholds == std::vector<double>{0, 1}));
    CHECK(first.calibration.kind == Calibration::Kind::isotonic);
    CHECK((first.calibration.x == std::vector<std::vector<double>>{{-1, 2.5}, {0}}));
    CHECK((first.calibration.y == std::vector<std::vector<double>>{{0, 1}, {0.5}}));
    CHECK(second.name == "score" && second.task == Task::regression && second.first == 2 && second.thresholds.empty());
    CHECK((second.calibration.x == std::vector<std::vector<double>>{{1}} && second.calibration.y[0][0] == -2));
}

// What is thrown: "refused" for FormatError, "damaged" for Damaged in scoring, "ok" for nothing.
std::string outcome(const Files& files) {
    try {
        const LoadedModel loaded = read(files);
        (void)logits_of(loaded.model, texts);
        return "ok";
    } catch (const FormatError& error) {
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
        return "refused";
    } catch (const Damaged&) {
        return "damaged";
    }
}

void damaged(const Toy& toy) {
    const Model made = toy.model(RowType::int8, Pooling::mean, false, false);
    const Files files = files_of(toy, made, false);
    CHECK(outcome(files) == "ok");
    // Cut anywhere.
    const std::size_t header = 8 + files.tensors.find('}', files.tensors.find("layers.1.bias")) + 2 - 8;
    for (std::size_t size = 0; size < files.config.size(); ++size)
        CHECK(outcome({files.config.substr(0, size), files.tensors}) == "refused");
    for (std::size_t size = 0; size < files.tensors.size(); size += size < header + 20 ? 1 : 97)
        CHECK(outcome({files.config, files.tensors.substr(0, size)}) == "refused");
    CHECK(outcome({files.config, files.tensors + "x"}) == "refused");
    CHECK(outcome({files.config + "x", files.tensors}) == "refused");
    // Sizes of headers that wrap around.
    constexpr std::uint64_t most = ~std::uint64_t{0};
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, most, most - 7, most / 2 + 1, std::uint64_t{17} << 20}) {
        Files other = files;
        std::memcpy(other.tensors.data(), &size, sizeof size);
        CHECK(outcome(other) == "refused");
    }
    const auto replaced = [&](std::string Files::*which, const std::string& old, const std::string& changed) {
        Files other = files;
        std::string& text = other.*which;
        const std::size_t at = text.find(old);
        CHECK_OF(old, at != std::string::npos);
        text.replace(at, old.size(), changed);
        if (which == &Files::tensors) {
            std::uint64_t size;
            std::memcpy(&size, text.data(), sizeof size);
            size += changed.size() - old.size();
            std::memcpy(text.data(), &size, sizeof size);
        }
        return other;
    };
    // Offsets and shapes whose sums and products wrap around, or lie outside.
    const std::pair<const char*, const char*> entries[] = {
        {R"("shape":[48])", R"("shape":[4611686018427387916])"}, {R"("shape":[48])", R"("shape":[48,4611686018427387905])"},
        {R"("shape":[48])", R"("shape":[4294967296,4294967296,48])"}, {R"("shape":[48])", R"("shape":[-48])"},
        {R"("shape":[48])", R"("shape":[48.0])"}, {R"("shape":[48])", R"("shape":48)"}, {R"("shape":[48])", R"("shape":[48,1])"},
        {R"("shape":[48])", R"("shape":[1,1,1,1,1,1,1,1,48])"},
        {R"("data_offsets":[0,)", R"("data_offsets":[18446744073709551615,)"},
        {R"("data_offsets":[0,)", R"("data_offsets":[4,)"}, {R"("data_offsets":[0,)", R"("data_offsets":[-0.0,)"},
        {R"("dtype":"I8")", R"("dtype":"U8")"}, {R"("dtype":"I8")", R"("dtype":"F64")"}, {R"("dtype":"I8")", R"("dtype":1)"},
        {R"("slots":)", R"("slot":)"}, {R"("layers.1.bias":)", R"("layers.2.bias":)"}, {R"("scale":)", R"("bias":)"},
        {R"("scale":)", R"("padding.scale":)"},
        {R"({"slots":)", R"({"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"slots":)"},
    };
    for (const auto& [old, changed] : entries) CHECK_OF(changed, outcome(replaced(&Files::tensors, old, changed)) == "refused");
    for (const char* const more : {R"({"padding.0":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"slots":)",
                                   R"({"__metadata__":[],"slots":)"})
        CHECK_OF(more, outcome(replaced(&Files::tensors, R"({"slots":)", more)) == "ok");
    const std::pair<const char*, const char*> fields[] = {
        {R"("width": 48)", R"("width": 49)"}, {R"("width": 48)", R"("width": 0)"},
        {R"("width": 48)", R"("width": 18446744073709551615)"},
        {R"("count": 100)", R"("count": 99)"}, {R"("count": 100)", R"("count": 4294967396)"}, {R"("layers": 2)", R"("layers": 1)"},
        {R"("layers": 2)", R"("layers": 18446744073709551616)"}, {R"("max_n": 3)", R"("max_n": 9)"},
        {R"("max_n": 3)", R"("max_n": 4294967297)"},
        {R"("hashed": false)", R"("hashed": true)"}, {R"("in_slots": false)", R"("in_slots": true)"},
        {R"("type": "int8")", R"("type": "float32")"},
        {"[0, 0.25, 1.0]", "[0, 0.25]"}, {"[0, 0.25, 1.0]", "[0, 0.25, 1.0000000000000002]"},
        {"[0, 0.25, 1.0]", "[0, 0.25, 1e999]"},
        {R"(["a", )", R"(["\u00e9", )"}, {R"(["a", )", R"(["\ud800", )"}, {R"(["a", )", R"(["c", "a", )"},
        {R"("mean")", R"("Mean")"},
    };
    for (const auto& [old, changed] : fields) CHECK_OF(changed, outcome(replaced(&Files::config, old, changed)) == "refused");
    // A table of full lines, whose lookups would go round and round; one that names rows that do not exist; both are seen in use.
    Toy full = toy;
    for (auto& number : full.table) number = 5;
    CHECK(outcome(files_of(full, made, false)) == "damaged");
    Toy beyond = toy;
    for (std::size_t i = 0; i < beyond.table.size(); ++i)
        if (i % 16 < 8) beyond.table[i] = 100;
    CHECK(outcome(files_of(beyond, made, false)) == "damaged");
    Toy infinite = toy;
    infinite.weight_bias[2] = std::numeric_limits<float>::infinity();
    CHECK(outcome(files_of(infinite, infinite.model(RowType::int8, Pooling::mean, false, false), false)) == "refused");
    // Bytes changed at random: any outcome, but no crash.
    std::mt19937 random(9);
    for (int i = 0; i < 3000; ++i) {
        Files other = files;
        for (int flips = 1 + i % 3; flips--;) {
            std::string& text = i % 2 ? other.config : other.tensors;
            text[random() % (i % 4 ? text.size() : std::min(text.size(), header))] ^= static_cast<char>(1 + random() % 255);
        }
        (void)outcome(other);
    }
}

void directories(const Toy& toy) {
    const auto folder = std::filesystem::temp_directory_path() / ("sparsedistill-model-" + std::to_string(std::random_device()()));
    std::filesystem::create_directory(folder);
    const auto missing = [&] {
        try {
            (void)load_model(folder);
        } catch (const std::system_error& error) {
            return error.code() == std::errc::no_such_file_or_directory &&
                   std::string(error.what()).find("is not a classifier") != std::string::npos;
        }
        return false;
    };
    CHECK(missing());
    const Model made = toy.model(RowType::float16, Pooling::max, true, false);
    const Files files = files_of(toy, made, false);
    std::ofstream(folder / "config.json", std::ios::binary) << files.config;
    CHECK(missing());
    std::ofstream(folder / "model.safetensors", std::ios::binary) << files.tensors;
    {
        LoadedModel loaded = load_model(folder);
        const LoadedModel moved = std::move(loaded);
        CHECK(logits_of(moved.model, texts) == logits_of(made, texts));
    }
    // Longer than it may be, without being so on the disk: it is not read.
    std::filesystem::resize_file(folder / "config.json", std::uintmax_t{1} << 42);
    bool refused = false;
    try {
        (void)load_model(folder);
    } catch (const FormatError& error) {
        refused = std::string(error.what()).find("config.json is longer than 64 MiB") != std::string::npos;
    }
    CHECK(refused);
    std::filesystem::remove_all(folder);
}

// Calls answer(path), which prints, for each line of stdin.
template <class Answer>
int serve(Answer answer) {
    for (std::string path; std::getline(std::cin, path);) {
        try {
            answer(path);
        } catch (const FormatError& error) {
            std::printf("refused %s\n", error.what());
        } catch (const Damaged& error) {
            std::printf("refused %s\n", error.what());
        } catch (const std::system_error& error) {
            std::printf("missing %s\n", error.what());
        }
    }
    return 0;
}

int serve_logits(const char* file) {
    std::ifstream in(file, std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    std::vector<std::string> given;
    for (std::size_t at = 0; at < content.size(); at += given.back().size() + 1)
        given.push_back(content.substr(at, content.find('\0', at) - at));
    return serve([&](const std::string& directory) {
        const LoadedModel loaded = load_model(directory);
        const auto logits = logits_of(loaded.model, given);
        std::printf("ok");
        for (const float logit : logits) {
            std::uint32_t bits;
            std::memcpy(&bits, &logit, sizeof bits);
            std::printf(" %08x", bits);
        }
        std::puts("");
    });
}

int serve_tensors() {
    return serve([](const std::string& path) {
        const MappedFile file{std::filesystem::path(path)};
        const auto tensors = read_tensors(file.bytes(), path);
        std::printf("ok");
        for (const auto& tensor : tensors) {
            std::printf(" %s(", std::string(name_of(tensor.type)).c_str());
            for (const auto n : tensor.shape) std::printf("%llu,", static_cast<unsigned long long>(n));
            std::printf(")");
        }
        std::puts("");
    });
}

}  // namespace

int main(int count, char** arguments) {
    if (count > 1) return std::string(arguments[1]) == "--tensors" ? serve_tensors() : serve_logits(arguments[1]);
    const Toy toy;
    sound(toy);
    several(toy);
    damaged(toy);
    directories(toy);
    return checks::finish();
}
