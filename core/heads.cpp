#include "heads.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

namespace sparsedistill {

namespace {

constexpr std::uint64_t format_version = 7, oldest_version = 4, of_heads = 6;
constexpr double most = std::numeric_limits<float>::max();  // number of a calibration

// Whether a decoded string has a surrogate, which is no character.
bool has_surrogate(std::string_view text) {
    for (std::size_t i = 0; i + 1 < text.size(); ++i)
        if (text[i] == '\xED' && static_cast<unsigned char>(text[i + 1]) >= 0xA0) return true;
    return false;
}

void check_version(const Fields& config) {
    const auto format = config.find("format");
    if (!format || format->kind() != Json::Kind::string || format->string() != "sparsedistill")
        config.fail("it is not that of a sparsedistill classifier");
    const auto version = config.find("format_version");
    const auto number = version && version->kind() == Json::Kind::integer ? version->whole() : std::nullopt;
    if (!number || *number < oldest_version || *number > format_version)
        throw FormatError(config.where() + " has format version " + (version ? version->shown() : "none") + ", this program reads " +
                          std::to_string(oldest_version) + " to " + std::to_string(format_version));
    for (const char* const later : {"heads", "calibration"})
        if (*number < of_heads && config.find(later))
            config.fail(std::string(later) + " is of format version 6, not " + std::to_string(*number));
}

Task read_task(const Fields& head) {
    const std::string task = head.string("task");
    if (task == "single") return Task::single;
    if (task == "multi") return Task::multi;
    if (task == "regression") return Task::regression;
    head.fail("task is " + in_quotes(task) + ", not single, multi or regression");
}

std::vector<std::string> read_labels(const Fields& head, Task task) {
    std::vector<std::string> labels;
    head.array("labels").each_item([&](const Json::Value& label) {
        if (label.kind() != Json::Kind::string) head.fail("labels has " + label.shown() + ", which is no name");
        labels.push_back(label.string());
        if (has_surrogate(labels.back())) head.fail("labels has a name that is no valid Unicode");
    });
    if (labels.empty()) head.fail("labels is empty");
    auto sorted = labels;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) head.fail("labels has " + in_quotes(*twice) + " twice");
    if (task == Task::regression && labels.size() > 1)
        head.fail("labels has " + std::to_string(labels.size()) + " names, a regression has one output");
    return labels;
}

// A number of this range. Errors: FormatError naming the field.
double in_range(const Fields& object, std::string_view name, const Json::Value& value, double least, double greatest) {
    const bool number = value.kind() == Json::Kind::integer || value.kind() == Json::Kind::real;
    const double result = number ? value.number() : std::numeric_limits<double>::quiet_NaN();
    if (!(result >= least && result <= greatest))
        object.fail(std::string(name) + " has " + value.shown() + ", which is no number of its range");
    return result;
}

std::vector<double> numbers(const Fields& object, std::string_view name, const Json::Value& array, double least, double greatest) {
    if (array.kind() != Json::Kind::array) object.fail(std::string(name) + " has " + array.shown() + ", which is no list of numbers");
    std::vector<double> result;
    array.each_item([&](const Json::Value& item) { result.push_back(in_range(object, name, item, least, greatest)); });
    return result;
}

// One a label.
std::vector<double> numbers(const Fields& object, std::string_view name, std::size_t labels, double least, double greatest) {
    auto result = numbers(object, name, object.array(name), least, greatest);
    if (result.size() != labels) object.fail(std::string(name) + " is not a list of one number a label");
    return result;
}

// The points of each label, or of the score.
std::vector<std::vector<double>> read_points(const Fields& object, std::string_view name, Task task, double least, double greatest) {
    const Json::Value array = object.array(name);
    if (task == Task::regression) return {numbers(object, name, array, least, greatest)};
    std::vector<std::vector<double>> result;
    array.each_item([&](const Json::Value& item) { result.push_back(numbers(object, name, item, least, greatest)); });
    return result;
}

Calibration read_calibration(const Fields& head, Task task, std::size_t labels) {
    Calibration result;
    if (!head.find("calibration")) return result;
    const Fields given = head.object("calibration");
    const std::string kind = given.string("kind");
    const auto number = [&](std::string_view name, double greatest) {
        const auto value = given.find(name);
        if (!value) given.fail(std::string(name) + " is missing");
        return in_range(given, name, *value, 0, greatest);
    };
    const auto positive = [&](std::string_view name) {
        const double result = number(name, most);
        if (result == 0) given.fail(std::string(name) + " is not positive");
        return result;
    };
    if (task == Task::single && (kind == "temperature" || kind == "temperatures")) {
        result.kind = kind == "temperature" ? Calibration::Kind::temperature : Calibration::Kind::temperatures;
        result.temperature = positive("temperature");
        if (result.kind == Calibration::Kind::temperatures) {
            result.second = positive("second");
            result.share = number("share", 1);
        }
    } else if (task == Task::multi && kind == "platt") {
        result.kind = Calibration::Kind::platt;
        result.slope = numbers(given, "slope", labels, 0, most);
        if (std::count(result.slope.begin(), result.slope.end(), 0)) given.fail("slope has a number that is not positive");
        result.intercept = numbers(given, "intercept", labels, -most, most);
    } else if (task != Task::single && kind == "isotonic") {
        result.kind = Calibration::Kind::isotonic;
        const bool multi = task == Task::multi;
        result.x = read_points(given, "x", task, -most, most);
        result.y = read_points(given, "y", task, multi ? 0 : -most, multi ? 1 : most);
        if (result.x.size() != labels || result.y.size() != labels) given.fail("x and y are not lists of one list a label");
        for (std::size_t i = 0; i < labels; ++i) {
            const auto &x = result.x[i], &y = result.y[i];
            // Points that do not ascend: one that is not below the next.
            if (x.empty() || std::adjacent_find(x.begin(), x.end(), [](double a, double b) { return a >= b; }) != x.end())
                given.fail("x is not ascending numbers");
            if (y.size() != x.size() || !std::is_sorted(y.begin(), y.end()))
                given.fail("y is not a number for each of x, none below the one before");
        }
    } else {
        given.fail("kind is " + in_quotes(kind) + ", which is none of this task");
    }
    return result;
}

Head read_head(const Fields& object, std::string name, std::size_t first) {
    const Task task = read_task(object);
    auto labels = read_labels(object, task);
    std::vector<double> thresholds;
    if (task == Task::multi) thresholds = numbers(object, "thresholds", labels.size(), 0, 1);
    auto calibration = read_calibration(object, task, labels.size());
    return {std::move(name), task, std::move(labels), std::move(thresholds), std::move(calibration), first};
}

}  // namespace

std::vector<Head> read_heads(const Fields& config) {
    check_version(config);
    std::vector<Head> heads;
    if (!config.find("heads")) {
        heads.push_back(read_head(config, "", 0));
        return heads;
    }
    for (const char* const name : {"task", "labels", "thresholds", "calibration"})
        if (config.find(name)) config.fail(std::string(name) + " stands beside heads, each of which has its own");
    config.array("heads").each_item([&](const Json::Value& item) {
        if (item.kind() != Json::Kind::object) config.fail("heads has " + item.shown() + ", which is no object");
        std::string name = config.inside(item, "heads").string("name");
        if (name.empty() || name.find('.') != name.npos || has_surrogate(name))
            config.fail("heads has the name " + in_quotes(name) + ", which is empty, has a dot or is no valid Unicode");
        if (std::any_of(heads.begin(), heads.end(), [&](const Head& one) { return one.name == name; }))
            config.fail("heads has " + in_quotes(name) + " twice");
        const Fields object = config.inside(item, "head " + in_quotes(name));
        const std::size_t first = heads.empty() ? 0 : heads.back().end();
        heads.push_back(read_head(object, std::move(name), first));
    });
    if (heads.empty()) config.fail("heads is empty");
    return heads;
}

}  // namespace sparsedistill
