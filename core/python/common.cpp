#include "common.h"

#include <string>

#include "../platform.h"

namespace sparsedistill::python {

void check_signals() {
    if (PyErr_CheckSignals()) throw nb::python_error();
}

namespace {

// Python's main thread, the only one that signals are seen to in. No other needs the GIL in the midst of its work, which it
// may never get once the program ends.
unsigned long main_thread;

}  // namespace

void know_main_thread() {
    main_thread = nb::cast<unsigned long>(nb::module_::import_("threading").attr("main_thread")().attr("ident"));
    call_after_fork([] { main_thread = PyThread_get_thread_ident(); });
}

bool in_main_thread() { return PyThread_get_thread_ident() == main_thread; }

TextRules rules(const std::string& tokenizer, bool lowercase, bool normalize, bool deobfuscate) {
    const auto named = tokenizer_named(tokenizer);
    if (!named) throw nb::value_error(("no tokenizer '" + tokenizer + "': sklearn, words or whitespace").c_str());
    normalize = normalize && *named != Tokenizer::sklearn;
    if (deobfuscate && !normalize) throw nb::value_error("deobfuscate needs normalize, which the sklearn tokenizer never does");
    return {*named, lowercase, normalize, deobfuscate};
}

unsigned checked_n(unsigned max_n) {
    if (max_n < 1 || max_n > 8) throw nb::value_error("max_n must be 1 to 8");
    return max_n;
}

Characters characters(const std::string& of, unsigned least, unsigned most) {
    const auto named = characters_named(of);
    if (!named) throw nb::value_error(("no characters '" + of + "': none, unknown or all").c_str());
    if (least < 1 || most < least || most > Characters::longest)
        throw nb::value_error("characters_min and characters_max must be 1 to 16, the second not below the first");
    return {*named, least, most};
}

Pooling pooling_of(const std::string& name) {
    const auto named = pooling_named(name);
    if (!named) throw nb::value_error(("no pooling '" + name + "': mean, sum, sqrtn, max, mean+max or attentive").c_str());
    return *named;
}

}  // namespace sparsedistill::python
