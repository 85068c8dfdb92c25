// The fields of an object of config.json, asked for by name and type.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "json.h"

namespace sparsedistill {

// Errors: FormatError that begins with `where`.
class Fields {
public:
    Fields(const Json::Value& object, std::string where) : object_(object), where_(std::move(where)) {}

    const std::string& where() const { return where_; }
    [[noreturn]] void fail(const std::string& why) const { throw FormatError(where_ + ": config.json: " + why); }

    std::optional<Json::Value> find(std::string_view name) const { return object_.find(name); }
    // The fields of an object that is inside; `what`: it is, for errors.
    Fields inside(const Json::Value& object, const std::string& what) const { return {object, where_ + ": " + what}; }
    bool boolean(std::string_view name) const { return of(name, Json::Kind::boolean, "a boolean").boolean(); }
    bool boolean(std::string_view name, bool otherwise) const { return find(name) ? boolean(name) : otherwise; }
    std::string string(std::string_view name) const { return of(name, Json::Kind::string, "a string").string(); }
    Json::Value array(std::string_view name) const { return of(name, Json::Kind::array, "an array"); }
    Fields object(std::string_view name) const { return {of(name, Json::Kind::object, "an object"), where_}; }
    std::uint64_t whole(std::string_view name) const {
        constexpr const char* type = "an integer of 0 to 2^64 - 1";
        const auto number = of(name, Json::Kind::integer, type).whole();
        if (!number) refuse(name, type);
        return *number;
    }

private:
    Json::Value of(std::string_view name, Json::Kind kind, const char* type) const {
        const auto value = find(name);
        if (!value || value->kind() != kind) refuse(name, type);
        return *value;
    }
    [[noreturn]] void refuse(std::string_view name, const char* type) const {
        const auto value = find(name);
        fail(std::string(name) + " is " + (value ? value->shown() : "missing") + ", not " + type);
    }

    Json::Value object_;
    std::string where_;
};

}  // namespace sparsedistill
