#include <nanobind/stl/string.h>

#include <cstdint>
#include <string>

#include "../kernels.h"
#include "../large.h"
#include "bind.h"
#include "common.h"

namespace sparsedistill::python {

namespace {

nb::list kernel_names() {
    nb::list names;
    for (auto each = all_kernels(); *each; ++each) names.append((*each)->name);
    return names;
}

void choose_kernels(const std::string& name) {
    for (auto each = all_kernels(); *each; ++each)
        if (name == (*each)->name) return use_kernels(**each);
    throw nb::value_error(("this processor has no kernels '" + name + "'").c_str());
}

}  // namespace

void bind_machine(nb::module_& m) {
    m.def(
        "large_bytes", [](std::size_t size) { return to_numpy(Large<std::uint8_t>(size)); }, "size"_a,
        "uint8 (size,), not set to anything, in huge pages where the system gives them.");
    m.def("kernels", &kernel_names, "Instruction sets that this processor has kernels for, the plainest first.");
    m.def("use_kernels", &choose_kernels, "name"_a, "Use the kernels of one instruction set, for tests.");
}

}  // namespace sparsedistill::python
