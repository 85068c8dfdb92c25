// Texts handed over by Python, seen in place: str, bytes, or Arrow string arrays.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace sparsedistill {

class ArrowArrays;

// Holds whatever keeps the bytes alive, so the views stay good while the GIL is released and other threads run.
class PythonTexts {
public:
    // A list or tuple of str or bytes, or an object with __arrow_c_stream__ or __arrow_c_array__ that holds strings.
    // TypeError and ValueError name the position of what cannot be used: of a null too, unless nulls are empty texts.
    explicit PythonTexts(nanobind::handle source, bool nulls_are_empty = false);
    ~PythonTexts();
    PythonTexts(const PythonTexts&) = delete;
    PythonTexts& operator=(const PythonTexts&) = delete;

    std::span<const std::string_view> views() const { return views_; }
    std::size_t size() const { return views_.size(); }

private:
    void add_python(nanobind::handle item, bool nulls_are_empty);

    std::vector<std::string_view> views_;
    nanobind::object items_;
    std::vector<nanobind::object> encoded_;  // strings that had to be encoded anew
    std::unique_ptr<ArrowArrays> arrow_;
};

}  // namespace sparsedistill
