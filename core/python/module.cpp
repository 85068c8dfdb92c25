// Python's view of the core.
#include <nanobind/nanobind.h>

#include <system_error>

#include "../lookup.h"
#include "../unicode_table.h"
#include "bind.h"
#include "common.h"

namespace nb = nanobind;
using namespace sparsedistill;

NB_MODULE(_core, m) {
    m.doc() = "Text to n-grams to rows to logits; counting; training's kernels.";
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const std::system_error& error) {
            PyErr_SetString(PyExc_OSError, error.what());
        }
    });
    python::know_main_thread();
    nb::exception<Damaged>(m, "Damaged", PyExc_IndexError);
    m.attr("unicode_version") = unicode::version;

    // In the order in which _core.pyi names what they define.
    python::bind_text(m);
    python::bind_table(m);
    python::bind_probabilities(m);
    python::bind_machine(m);
    python::bind_count(m);
    python::bind_lookup(m);
    python::bind_parts(m);
    python::bind_model(m);
    python::bind_bag(m);
}
