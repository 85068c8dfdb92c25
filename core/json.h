// A strict reader of JSON (RFC 8259), for files that anybody may have written: UTF-8 without a byte order mark, each name once in
// its object, no NaN and no infinity. It holds sixteen bytes a value, and values are decoded where they are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sparsedistill {

// What a file holds is not what its format says. The message names the file and the field or tensor.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A name from a file, between quotes, in one line of valid UTF-8: for messages.
std::string in_quotes(std::string_view name);

class Json {
public:
    enum class Kind : std::uint8_t { null, boolean, integer, real, string, array, object };
    static constexpr unsigned most_nested = 500;       // arrays and objects, one in the other
    static constexpr std::size_t most_digits = 4300;   // of an integer, as in Python

    // `text` must live as long as this. Errors: FormatError that begins with `what` and names the place.
    Json(std::string_view text, const std::string& what);

    class Value {
    public:
        Kind kind() const;

        // Each of these is for values of its kind.
        bool boolean() const;
        std::optional<std::uint64_t> whole() const;  // an integer, unless it is below 0 or above 2^64 - 1
        double number() const;                       // an integer or a real number; the largest of its sign where it is beyond all
        std::string string() const;                  // UTF-8; a lone surrogate as the three bytes it would have
        std::optional<Value> find(std::string_view name) const;
        template <class Use>
        void each_item(Use use) const;  // use(value)
        template <class Use>
        void each_member(Use use) const;  // use(name, value)

        // As it is written, in one line, cut where it is long: for messages.
        std::string shown() const;

    private:
        friend class Json;
        Value(const Json& json, std::size_t at) : json_(&json), at_(at) {}
        std::string_view source() const;

        const Json* json_;
        std::size_t at_;
    };
    Value root() const { return Value(*this, 0); }

private:
    // Values in the order of the text, and so an object's names before their values. `end`: the node after all that is in it.
    struct Node {
        std::uint32_t begin, size, end;
        Kind kind;
    };
    class Parser;

    std::string_view text_;
    std::vector<Node> nodes_;
};

template <class Use>
void Json::Value::each_item(Use use) const {
    for (std::size_t at = at_ + 1; at < json_->nodes_[at_].end; at = json_->nodes_[at].end) use(Value(*json_, at));
}

template <class Use>
void Json::Value::each_member(Use use) const {
    for (std::size_t at = at_ + 1; at < json_->nodes_[at_].end; at = json_->nodes_[at + 1].end)
        use(Value(*json_, at).string(), Value(*json_, at + 1));
}

}  // namespace sparsedistill
