// The parts of the module, each in the file of its name; those of a topic that stand apart in it have two.
#pragma once

#include <nanobind/nanobind.h>

namespace sparsedistill::python {

void bind_text(nanobind::module_& m);
void bind_table(nanobind::module_& m);
void bind_probabilities(nanobind::module_& m);
void bind_machine(nanobind::module_& m);
void bind_count(nanobind::module_& m);
void bind_lookup(nanobind::module_& m);
void bind_model(nanobind::module_& m);
void bind_parts(nanobind::module_& m);
void bind_bag(nanobind::module_& m);

}  // namespace sparsedistill::python
