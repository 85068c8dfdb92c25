#include "common.h"

#include <pthread.h>

#include <string>
#include <utility>

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
    ::pthread_atfork(nullptr, nullptr, [] { main_thread = PyThread_get_thread_ident(); });
}

bool in_main_thread() { return PyThread_get_thread_ident() == main_thread; }

TextRules rules(const std::string& tokenizer, bool lowercase, bool normalize) {
    if (tokenizer == "sklearn") return {Tokenizer::sklearn, lowercase, false};
    if (tokenizer == "words") return {Tokenizer::words, lowercase, normalize};
    if (tokenizer == "whitespace") return {Tokenizer::whitespace, lowercase, normalize};
    throw nb::value_error(("no tokenizer '" + tokenizer + "': sklearn, words or whitespace").c_str());
}

unsigned checked_n(unsigned max_n) {
    if (max_n < 1 || max_n > 8) throw nb::value_error("max_n must be 1 to 8");
    return max_n;
}

Pooling pooling_of(const std::string& name) {
    constexpr std::pair<const char*, Pooling> all[] = {{"mean", Pooling::mean}, {"sum", Pooling::sum}, {"max", Pooling::max},
                                                       {"mean+max", Pooling::mean_max}, {"attentive", Pooling::attentive}};
    for (const auto& [known, pooling] : all)
        if (name == known) return pooling;
    throw nb::value_error(("no pooling '" + name + "': mean, sum, max, mean+max or attentive").c_str());
}

}  // namespace sparsedistill::python
