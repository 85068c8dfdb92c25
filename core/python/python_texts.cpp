#include "python_texts.h"

#include <cstddef>
#include <cstring>
#include <string>

namespace nb = nanobind;

namespace {

// The Arrow C data and stream interfaces: these layouts are fixed by the Arrow specification.
struct ArrowSchema {
    const char *format, *name, *metadata;
    std::int64_t flags, n_children;
    ArrowSchema** children;
    ArrowSchema* dictionary;
    void (*release)(ArrowSchema*);
    void* private_data;
};

struct ArrowArray {
    std::int64_t length, null_count, offset, n_buffers, n_children;
    const void** buffers;
    ArrowArray** children;
    ArrowArray* dictionary;
    void (*release)(ArrowArray*);
    void* private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(ArrowArrayStream*, ArrowSchema*);
    int (*get_next)(ArrowArrayStream*, ArrowArray*);
    const char* (*get_last_error)(ArrowArrayStream*);
    void (*release)(ArrowArrayStream*);
    void* private_data;
};

// Owns one of the structures above.
template <class T>
struct Owned : T {
    Owned() : T{} {}
    explicit Owned(T* from) : T(*from) { from->release = nullptr; }  // the producer's copy is now empty
    Owned(Owned&& other) noexcept : T(other) { other.release = nullptr; }
    Owned& operator=(Owned&&) = delete;
    ~Owned() {
        if (this->release) this->release(this);
    }
};

template <class T>
T* from_capsule(nb::handle capsule, const char* name) {
    auto* const pointer = static_cast<T*>(PyCapsule_GetPointer(capsule.ptr(), name));
    if (!pointer) throw nb::python_error();
    if (!pointer->release) throw nb::value_error("the Arrow capsule has been used already");
    return pointer;
}

enum class Layout { offsets32, offsets64, views, nulls };

Layout layout_of(const ArrowSchema& schema) {
    if (schema.dictionary) throw nb::type_error("the Arrow array is dictionary-encoded: cast it to string");
    const std::string format = schema.format;
    if (format == "u" || format == "z") return Layout::offsets32;
    if (format == "U" || format == "Z") return Layout::offsets64;
    if (format == "vu" || format == "vz") return Layout::views;
    if (format == "n") return Layout::nulls;  // what a column becomes that holds nothing else
    if (format == "+s") throw nb::type_error("this is an Arrow table: pass its column of texts");
    throw nb::type_error(("the Arrow array holds '" + format + "', not strings: cast it to string").c_str());
}

// Which slots of an array hold a text: under a null may lie anything, so nothing there is to be read.
class Valid {
public:
    explicit Valid(const ArrowArray& array)
        : bits_(array.null_count == 0 ? nullptr : static_cast<const unsigned char*>(array.buffers[0])),
          offset_(array.offset) {}
    bool operator()(std::int64_t i) const { return !bits_ || bits_[(offset_ + i) / 8] >> ((offset_ + i) % 8) & 1; }

private:
    const unsigned char* bits_;  // nullptr: all do
    std::int64_t offset_;
};

constexpr const char* null_remedy = ": fill or drop the nulls first, or score them as empty texts with nulls=\"empty\"";

// With its module, where that is not builtins; `tp_name` is not there for builds of one wheel for many versions of Python.
std::string full_type_name(nb::handle item) {
    const nb::handle type = item.type();
    const std::string module = nb::str(type.attr("__module__")).c_str();
    const std::string name = nb::str(type.attr("__qualname__")).c_str();
    return module == "builtins" ? name : module + "." + name;
}

// None, and what numpy and pandas have in its place: NaN and NaT, which differ from themselves, and NA.
bool is_null(nb::handle item) {
    if (item.is_none()) return true;
    if (full_type_name(item).ends_with(".NAType")) return true;
    PyObject* const differs = PyObject_RichCompare(item.ptr(), item.ptr(), Py_NE);
    const int answer = differs ? PyObject_IsTrue(differs) : -1;
    Py_XDECREF(differs);
    if (answer < 0) PyErr_Clear();  // an array, say, has no one answer
    return answer == 1;
}

void add_null(bool nulls_are_empty, std::vector<std::string_view>& views) {
    if (!nulls_are_empty)
        throw nb::value_error(("text " + std::to_string(views.size()) + " is null" + null_remedy).c_str());
    views.emplace_back("", 0);
}

// Item i of a buffer, which may begin anywhere.
template <class T>
T item(const void* buffer, std::int64_t i) {
    T value;
    std::memcpy(&value, static_cast<const char*>(buffer) + i * static_cast<std::int64_t>(sizeof(T)), sizeof value);
    return value;
}

template <class Offset>
void add_offsets(const ArrowArray& array, bool nulls_are_empty, std::vector<std::string_view>& views) {
    const Valid valid(array);
    const auto offset = [&](std::int64_t i) { return item<Offset>(array.buffers[1], array.offset + i); };
    const auto* const data = static_cast<const char*>(array.buffers[2]);
    for (std::int64_t i = 0; i < array.length; ++i) {
        if (!valid(i)) add_null(nulls_are_empty, views);
        else views.emplace_back(data + offset(i), static_cast<std::size_t>(offset(i + 1) - offset(i)));
    }
}

void add_views(const ArrowArray& array, bool nulls_are_empty, std::vector<std::string_view>& views) {
    struct View {
        std::int32_t size;
        char inlined[4];
        std::int32_t buffer, offset;
    };
    const Valid valid(array);
    for (std::int64_t i = 0; i < array.length; ++i) {
        if (!valid(i)) {
            add_null(nulls_are_empty, views);
            continue;
        }
        const std::int64_t at = array.offset + i;
        const auto view = item<View>(array.buffers[1], at);
        const char* const data = view.size <= 12
                                     ? static_cast<const char*>(array.buffers[1]) + at * sizeof(View) + offsetof(View, inlined)
                                     : static_cast<const char*>(array.buffers[2 + view.buffer]) + view.offset;
        views.emplace_back(data, static_cast<std::size_t>(view.size));
    }
}

}  // namespace

namespace sparsedistill {

class ArrowArrays {
public:
    void add(Owned<ArrowArray> array, Layout layout, bool nulls_are_empty, std::vector<std::string_view>& views) {
        if (array.length > 0) switch (layout) {
                case Layout::offsets32: add_offsets<std::int32_t>(array, nulls_are_empty, views); break;
                case Layout::offsets64: add_offsets<std::int64_t>(array, nulls_are_empty, views); break;
                case Layout::views: add_views(array, nulls_are_empty, views); break;
                case Layout::nulls:
                    for (std::int64_t i = 0; i < array.length; ++i) add_null(nulls_are_empty, views);
            }
        arrays_.push_back(std::move(array));
    }

private:
    std::vector<Owned<ArrowArray>> arrays_;
};

PythonTexts::~PythonTexts() = default;

PythonTexts::PythonTexts(nb::handle source, bool nulls_are_empty) {
    if (nb::hasattr(source, "__arrow_c_stream__")) {
        const nb::object capsule = source.attr("__arrow_c_stream__")();
        Owned<ArrowArrayStream> stream(from_capsule<ArrowArrayStream>(capsule, "arrow_array_stream"));
        const auto check = [&](int error) {
            if (!error) return;
            const char* const message = stream.get_last_error(&stream);
            throw nb::value_error(message ? message : "the Arrow stream failed");
        };
        Owned<ArrowSchema> schema;
        check(stream.get_schema(&stream, &schema));
        const Layout layout = layout_of(schema);
        arrow_ = std::make_unique<ArrowArrays>();
        for (;;) {
            Owned<ArrowArray> array;
            check(stream.get_next(&stream, &array));
            if (PyErr_CheckSignals()) throw nb::python_error();
            if (!array.release) return;
            arrow_->add(std::move(array), layout, nulls_are_empty, views_);
        }
    }
    if (nb::hasattr(source, "__arrow_c_array__")) {
        const nb::object pair = source.attr("__arrow_c_array__")();
        Owned<ArrowSchema> schema(from_capsule<ArrowSchema>(pair[0], "arrow_schema"));
        Owned<ArrowArray> array(from_capsule<ArrowArray>(pair[1], "arrow_array"));
        arrow_ = std::make_unique<ArrowArrays>();
        arrow_->add(std::move(array), layout_of(schema), nulls_are_empty, views_);
        return;
    }
    if (!PyList_Check(source.ptr()) && !PyTuple_Check(source.ptr()))
        throw nb::type_error("texts must be a list or tuple of str, or an Arrow array of strings");
    // A tuple of our own: another thread may change the list while we read without the GIL.
    items_ = nb::steal(PySequence_Tuple(source.ptr()));
    if (!items_.is_valid()) throw nb::python_error();
    const auto count = static_cast<std::size_t>(PyTuple_Size(items_.ptr()));
    views_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        // Strings are encoded here, which may take long.
        if (i % 1024 == 1023 && PyErr_CheckSignals()) throw nb::python_error();
        add_python(PyTuple_GetItem(items_.ptr(), static_cast<Py_ssize_t>(i)), nulls_are_empty);
    }
}

void PythonTexts::add_python(nb::handle item, bool nulls_are_empty) {
    if (PyBytes_Check(item.ptr())) {
        views_.emplace_back(PyBytes_AsString(item.ptr()), static_cast<std::size_t>(PyBytes_Size(item.ptr())));
        return;
    }
    if (!PyUnicode_Check(item.ptr())) {
        const bool null = is_null(item);
        if (!null || !nulls_are_empty)
            throw nb::type_error(("text " + std::to_string(views_.size()) + " is " + full_type_name(item) +
                                  ", not str" + (null ? null_remedy : ""))
                                     .c_str());
        views_.emplace_back("", 0);
        return;
    }
    Py_ssize_t size = 0;
    if (const char* const data = PyUnicode_AsUTF8AndSize(item.ptr(), &size)) {
        views_.emplace_back(data, static_cast<std::size_t>(size));
        return;
    }
    // A lone surrogate has no UTF-8: its three bytes read as U+FFFD.
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) throw nb::python_error();
    PyErr_Clear();
    encoded_.push_back(nb::steal(PyUnicode_AsEncodedString(item.ptr(), "utf-8", "surrogatepass")));
    if (!encoded_.back().is_valid()) throw nb::python_error();
    add_python(encoded_.back(), nulls_are_empty);
}

}  // namespace sparsedistill
