// JSON that is accepted and what it then holds, and JSON that is not.
#include "json.h"

#include <limits>
#include <string>
#include <vector>

#include "check.h"

using namespace sparsedistill;

namespace {

using Kind = Json::Kind;

// Why a text is refused; nothing where it is not.
std::string refused(const std::string& text) {
    try {
        (void)Json(text, "x.json");
    } catch (const FormatError& error) {
        CHECK_OF(text.substr(0, 40), std::string(error.what()).starts_with("x.json is not JSON: at byte "));
        CHECK_OF(text.substr(0, 40), std::string(error.what()).find('\n') == std::string::npos);
        return error.what();
    }
    return {};
}

void accepted() {
    const std::string text = R"( { "a" : [ 1 , -2.5e+1, "x\"\\\/\b\f\n\r\t\u00e9" ] ,)"
                             "\r\n\t"
                             R"("b":{"":null},"\u0063":true, "d":false } )";
    const Json json(text, "x");
    const auto root = json.root();
    CHECK(root.kind() == Kind::object);
    std::vector<std::string> names;
    root.each_member([&](const std::string& name, const Json::Value&) { names.push_back(name); });
    CHECK((names == std::vector<std::string>{"a", "b", "c", "d"}));
    std::vector<Json::Value> items;
    root.find("a")->each_item([&](const Json::Value& item) { items.push_back(item); });
    CHECK(items.size() == 3);
    CHECK(items[0].kind() == Kind::integer && items[0].whole() == 1 && items[0].number() == 1);
    CHECK(items[1].kind() == Kind::real && items[1].number() == -25);
    CHECK(items[2].kind() == Kind::string && items[2].string() == "x\"\\/\b\f\n\r\t\xC3\xA9");
    CHECK(root.find("b")->find("")->kind() == Kind::null);
    CHECK(root.find("c")->boolean() && !root.find("d")->boolean());
    CHECK(!root.find("e") && !root.find("A"));
    CHECK(root.find("a")->shown() == R"([ 1 , -2.5e+1, "x\"\\\/\b\f\n\r\t\u00e9" ])");
    for (const char* const one : {"null", "0", "-0", "1.5", "1e5", "1E-5", R"("")", "[]", "{}", "[[],{}]", R"([{"a":1},{"a":1}])"})
        CHECK_OF(one, refused(one).empty());
}

void numbers() {
    const auto whole = [](const std::string& text) { return Json(text, "x").root().whole(); };
    CHECK(whole("0") == 0 && whole("-0") == 0 && whole("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
    CHECK(!whole("18446744073709551616") && !whole("-1") && !whole("184467440737095516150") && !whole(std::string(4300, '9')));
    CHECK(whole("9223372036854775808") == std::uint64_t{1} << 63);
    CHECK(refused(std::string(4301, '9')).find("4300 digits") != std::string::npos);
    CHECK(refused("-" + std::string(4300, '9')).empty());
    CHECK(refused("1" + std::string(5000, '0') + ".0").empty());  // a real number may have more
    const auto number = [](const std::string& text) { return Json(text, "x").root().number(); };
    CHECK(number("0.1") == 0.1 && number("1e-400") == 0 && number("0.30000000000000004") == 0.1 + 0.2);
    CHECK(number("1e999") > 1e300 && number("-1e999") < -1e300);
    for (const char* const wrong : {"01", "-01", "00", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-", "--1", "0x1", "1_0", "1 2", "1,",
                                    "NaN", "-NaN",
                                    "Infinity", "-Infinity", "inf", "1f", "\xEF\xBC\x91"})
        CHECK_OF(wrong, !refused(wrong).empty());
    CHECK(refused("[NaN]").find("NaN is no number") != std::string::npos);
    CHECK(refused("-Infinity").find("-Infinity is no number") != std::string::npos);
}

void strings() {
    const auto string = [](const std::string& text) { return Json(R"(")" + text + R"(")", "x").root().string(); };
    CHECK(string("\\ud83d\\ude00") == "\xF0\x9F\x98\x80" && string("\\uD83D\\uDE00") == "\xF0\x9F\x98\x80");
    CHECK(string("\\ud83d") == "\xED\xA0\xBD" && string("\\ude00") == "\xED\xB8\x80");  // alone
    CHECK(string("\\ud83d\\ud83d\\ude00") == "\xED\xA0\xBD\xF0\x9F\x98\x80");
    CHECK(string("\\ud83dx") == "\xED\xA0\xBDx" && string("\\ud83d\\n") == "\xED\xA0\xBD\n");
    CHECK(string("\\u0000") == std::string(1, '\0') && string("\x7F") == "\x7F" && string("\xEF\xBF\xBD") == "\xEF\xBF\xBD");
    for (const char* const wrong : {"\\", "\\x", "\\u", "\\u12", "\\u123g", "\\U0041", "\n", "\t", "\x01", "\\'", "\\ud83d\\u12"})
        CHECK_OF(wrong, !refused(R"(")" + std::string(wrong) + R"(")").empty());
    CHECK(!refused(R"("a)").empty() && !refused(R"("a\)").empty() && !refused(R"("a\")").empty() && !refused("'a'").empty());
    CHECK(!refused(std::string("\"a\0b\"", 5)).empty());
    // Not UTF-8: alone, cut, too long, a surrogate, past the last.
    for (const char* const wrong : {"\xFF", "\x80", "\xC3", "\xE2\x82", "\xC0\x80", "\xED\xA0\x80",
                                    "\xF4\x90\x80\x80", "\xF0\x80\x80\x80"}) {
        CHECK_OF(wrong, refused(R"(")" + std::string(wrong) + R"(")").find("not UTF-8") != std::string::npos);
        CHECK_OF(wrong, !refused("[1]" + std::string(wrong)).empty());
    }
    CHECK(!refused("\xEF\xBB\xBF{}").empty());  // a byte order mark
    CHECK(Json(R"(")" + std::string(100, 'a') + R"(")", "x").root().shown() == R"(")" + std::string(59, 'a') + "...");
    CHECK(Json(R"(")" + std::string(58, 'a') + "\xF0\x9F\x98\x80\"", "x").root().shown() == R"(")" + std::string(58, 'a') + "...");
    CHECK(Json("[1,\n\"\xE2\x80\xA8\"]", "x").root().shown() == R"([1,?"?"])");
    CHECK(in_quotes("a\n\xED\xA0\xBD\xC3\xA9") == "'a?\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA9'");
}

void structure() {
    for (const char* const wrong : {"", " ", "{", "[", "}", "]", "{]", "[}", "[1", "[1,", "[1,]", "[,]", "[1 2]",
                                    R"({"a"})", R"({"a":})", R"({"a" 1})", R"({"a":1,})", "{,}", "{1:2}", "{a:1}", R"({"a":1 "b":2})",
                                    "{}{}", "[] []", "nul", "nulll", "True", "// a\n1", "[1]x"})
        CHECK_OF(wrong, !refused(wrong).empty());
    for (const char* const twice : {R"({"a":1,"a":1})", R"({"a":1,"b":2,"a":{}})", R"({"a":1,"\u0061":2})",
                                    R"([{"x":{"":1,"":2}}])"})
        CHECK_OF(twice, refused(twice).find("is there twice") != std::string::npos);
    CHECK(refused(R"({"a":{"a":{"a":1}},"A":2})").empty());
    const auto nested = [](std::size_t depth, const std::string& open, const std::string& close) {
        std::string text;
        for (std::size_t i = 0; i < depth; ++i) text += open;
        text += "1";
        for (std::size_t i = 0; i < depth; ++i) text += close;
        return text;
    };
    for (const auto& [open, close] : {std::pair<std::string, std::string>{"[", "]"}, {R"({"a":)", "}"}}) {
        CHECK(refused(nested(500, open, close)).empty());
        CHECK(refused(nested(501, open, close)).find("more than 500") != std::string::npos);
        CHECK(!refused(nested(200'000, open, "")).empty());
    }
    // Many values side by side, and what is behind each is found.
    std::string many = "{";
    for (int i = 0; i < 20'000; ++i) many += R"("n)" + std::to_string(i) + R"(":[)" + std::to_string(i) + ",{}],";
    many.back() = '}';
    const Json json(many, "x");
    int next = 0;
    json.root().each_member([&](const std::string& name, const Json::Value& value) {
        bool first = true;
        CHECK(name == "n" + std::to_string(next));
        value.each_item([&](const Json::Value& item) {
            CHECK(first ? item.whole() == static_cast<std::uint64_t>(next) : item.kind() == Kind::object);
            first = false;
        });
        ++next;
    });
    CHECK(next == 20'000);
}

}  // namespace

int main() {
    accepted();
    numbers();
    strings();
    structure();
    return checks::finish();
}
