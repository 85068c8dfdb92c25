// What the files of Python's view of the core share. Every function over texts takes what PythonTexts takes, and releases
// the GIL while it works.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../bag.h"
#include "../characters.h"
#include "../parallel.h"
#include "../text_rules.h"

namespace sparsedistill::python {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Read1 = nb::ndarray<const T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Read2 = nb::ndarray<const T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Write2 = nb::ndarray<T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Write1 = nb::ndarray<T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Made1 = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
template <class T>
using Made2 = nb::ndarray<nb::numpy, T, nb::ndim<2>>;

using AnyRows = nb::ndarray<nb::numpy, nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// An array that owns what was in the vector.
template <class T, class Memory, class... Columns>
auto to_numpy(std::vector<T, Memory> values, Columns... columns) {
    using Vector = std::vector<T, Memory>;
    const std::size_t rows = (values.size() / ... / std::max<std::size_t>(columns, 1));
    auto kept = std::make_unique<Vector>(std::move(values));
    T* const data = kept->data();
    const nb::capsule owner(kept.get(), [](void* p) noexcept { delete static_cast<Vector*>(p); });
    kept.release();
    return nb::ndarray<nb::numpy, T, nb::ndim<1 + sizeof...(columns)>>(data, {rows, columns...}, owner);
}

template <class T>
std::span<const T> span(const Read1<T>& array) {
    return {array.data(), array.size()};
}

// Raises what a signal's handler raises: Ctrl-C, as Python's own code does.
void check_signals();

// Once, when the module is loaded: in_main_thread() then answers without Python.
void know_main_thread();
bool in_main_thread();

// For the time of work that may be long: others run Python meanwhile, and signals are seen to.
struct Long {
    nb::gil_scoped_release release;
    Stop stop{in_main_thread() ? check : nullptr};

private:
    static void check() {
        const nb::gil_scoped_acquire acquire;
        check_signals();
    }
};

TextRules rules(const std::string& tokenizer, bool lowercase, bool normalize, bool deobfuscate);
unsigned checked_n(unsigned max_n);
Characters characters(const std::string& of, unsigned least, unsigned most);
Pooling pooling_of(const std::string& name);

}  // namespace sparsedistill::python
