#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "../score.h"
#include "bind.h"
#include "common.h"
#include "lookup.h"
#include "parts.h"
#include "python_texts.h"

namespace sparsedistill::python {

namespace {

class PyModel {
public:
    PyModel(std::shared_ptr<PyLookup> lookup, std::optional<AnyRows> rows, std::optional<Read1<float>> scale,
            Read1<float> bias, bool relu_first, const std::vector<std::pair<Read2<float>, Read1<float>>>& layers,
            const std::string& pooling, bool pairs)
        : lookup_(std::move(lookup)), rows_(std::move(rows)), scale_(std::move(scale)), bias_(std::move(bias)),
          model_{lookup_->vocabulary, RowType::int16, nullptr, bias_.size(), bias_.size(), nullptr, pooling_of(pooling),
                 bias_.data(), pairs, relu_first, {}} {
        if (pairs) model_.width /= 4;
        if (model_.pooling == Pooling::mean_max) model_.width /= 2;
        if (model_.pooling == Pooling::attentive) ++model_.width;
        if (model_.combined() != bias_.size()) throw nb::value_error("the bias is not as wide as what is pooled");
        const Lines& lines = lookup_->vocabulary.lookup.lines();
        if (rows_.has_value() == (lines.columns != 0))
            throw nb::value_error("either the slots hold values or there are rows");
        if (rows_) {
            if (rows_->dtype() == nb::dtype<std::uint8_t>()) model_.row_type = RowType::int4;
            else if (rows_->dtype() == nb::dtype<std::int8_t>()) model_.row_type = RowType::int8;
            else if (rows_->dtype() == nb::dtype<std::int16_t>()) model_.row_type = RowType::int16;
            else if (rows_->dtype() == nb::dtype<float>()) model_.row_type = RowType::float32;
            else if (rows_->dtype().code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float) &&
                     rows_->dtype().bits == 16)
                model_.row_type = RowType::float16;
            else throw nb::type_error("rows must be int4 (as uint8), int8, int16, float16 or float32");
            model_.rows = rows_->data();
            model_.stride = rows_->shape(1) * (model_.row_type == RowType::int4 ? 2 : 1);
            if (rows_->shape(1) * rows_->itemsize() % Kernels::row_bytes)
                throw nb::value_error("a row is not a multiple of 16 bytes");
            if (rows_->shape(0) != lines.rows) throw nb::value_error("the lookup is of another number of rows");
        } else if (lines.columns != model_.width) {
            throw nb::value_error("slots and bias differ in width");
        } else if (!is_sum(model_.pooling)) {
            throw nb::value_error("values in the slots can be summed, and nothing else");
        }
        const bool integer = model_.row_type < RowType::float16;
        if (integer != scale_.has_value()) throw nb::value_error("integer rows need a scale, float rows have none");
        if (integer && model_.pooling == Pooling::attentive) throw nb::value_error("attentive pooling needs float rows");
        if (integer) model_.scale = scale_->data();
        const std::size_t width = model_.width;
        if (width == 0 || model_.stride < width || (integer && scale_->size() != width))
            throw nb::value_error("rows, scale and bias differ in width");
        std::size_t in = model_.combined();
        for (const auto& [weight, layer_bias] : layers) {
            if (weight.shape(0) != in || weight.shape(1) != layer_bias.size() || layer_bias.size() == 0)
                throw nb::value_error("the shapes of the dense layers do not fit together");
            model_.layers.emplace_back(weight.data(), layer_bias.data(), in, layer_bias.size());
            in = layer_bias.size();
        }
    }

    Made2<float> score(nb::handle source, unsigned threads, bool nulls_are_empty, const std::string& of, std::size_t bytes) const {
        const PythonTexts texts(source, nulls_are_empty);
        if (bytes == 0) return to_numpy(logits(texts, threads), model_.outputs());
        if (model_.pairs) throw nb::type_error("this classifier labels pairs of texts, which are read whole");
        const Excerpt how = excerpt(of, bytes);
        std::vector<float> result(texts.size() * model_.outputs());
        std::vector<std::string_view> slices(texts.size() * how.slices());
        {
            const Long work;
            for (std::size_t t = 0; t < texts.size(); ++t) take_slices(texts.views()[t], how, slices.data() + t * how.slices());
            sparsedistill::score(model_, slices, result.data(), threads, work.stop, how.slices());
        }
        return to_numpy(std::move(result), model_.outputs());
    }

    // The name of each text's highest logit.
    nb::list choose(const nb::tuple& names, nb::handle source, unsigned threads, bool nulls_are_empty) const {
        if (names.size() != model_.outputs()) throw nb::value_error("there must be a name for each output");
        const auto scores = logits(PythonTexts(source, nulls_are_empty), threads);
        nb::list result;
        for (std::size_t begin = 0; begin < scores.size(); begin += names.size())
            result.append(names[highest(scores.data() + begin)]);
        return result;
    }

    auto score_parts(nb::handle source, const std::string& kind, std::size_t size, std::size_t step, bool characters,
                     unsigned threads, bool nulls_are_empty) const {
        if (model_.pairs) throw nb::type_error("this classifier labels pairs of texts, which have no parts");
        const PythonTexts texts(source, nulls_are_empty);
        const Parting how = parting(kind, size, step);
        Parts parts;
        std::vector<float> scores;
        {
            const Long work;
            parts = segment(texts.views(), how, threads, work.stop);
            std::vector<std::string_view> cut;  // views into the texts: nothing is copied
            cut.reserve(parts.all.size());
            for (std::size_t t = 0; t < texts.size(); ++t)
                for (std::size_t p = parts.from[t]; p < parts.from[t + 1]; ++p)
                    cut.push_back(texts.views()[t].substr(parts.all[p].begin, parts.all[p].end - parts.all[p].begin));
            scores.resize(cut.size() * model_.outputs());
            sparsedistill::score(model_, cut, scores.data(), threads, work.stop);
        }
        auto [offsets, counts] = to_offsets(texts.views(), std::move(parts), characters, threads);
        return std::make_tuple(to_numpy(std::move(scores), model_.outputs()), std::move(offsets), std::move(counts));
    }

    nb::object choose_one(nb::handle text, const nb::tuple& names) const {
        if (names.size() != model_.outputs()) throw nb::value_error("there must be a name for each output");
        if (model_.pairs) throw nb::type_error("this classifier labels pairs of texts");
        return names[highest(logits(PythonTexts(nb::make_tuple(text)), 1).data())];
    }

private:
    std::vector<float> logits(const PythonTexts& texts, unsigned threads) const {
        const std::size_t each = model_.pairs ? 2 : 1;
        if (texts.size() % each) throw nb::value_error("pairs are of two texts");
        std::vector<float> result(texts.size() / each * model_.outputs());
        const Long work;
        sparsedistill::score(model_, texts.views(), result.data(), threads, work.stop);
        return result;
    }
    std::size_t highest(const float* scores) const {
        return static_cast<std::size_t>(std::max_element(scores, scores + model_.outputs()) - scores);
    }

    std::shared_ptr<PyLookup> lookup_;
    std::optional<AnyRows> rows_;
    std::optional<Read1<float>> scale_;
    Read1<float> bias_;
    Model model_;
};

Made2<double> py_probabilities(const Read2<float>& logits, bool independent) {
    Large<double> result(logits.size());
    if (!result.empty()) {
        const Long work;
        probabilities({logits.data(), logits.size()}, logits.shape(1), independent, result.data(), work.stop);
    }
    return to_numpy(std::move(result), logits.shape(1));
}

}  // namespace

void bind_probabilities(nb::module_& m) {
    m.def("probabilities", &py_probabilities, "logits"_a, "independent"_a,
          "float64 (n, C): softmax of each row, or the sigmoid of each logit. The same bits on any machine.");
}

void bind_model(nb::module_& m) {
    nb::class_<PyModel>(m, "Model", "A finished classifier's arrays.")
        .def(nb::init<std::shared_ptr<PyLookup>, std::optional<AnyRows>, std::optional<Read1<float>>, Read1<float>, bool,
                      const std::vector<std::pair<Read2<float>, Read1<float>>>&, const std::string&, bool>(),
             "lookup"_a, "rows"_a.none(), "scale"_a.none(), "bias"_a, "relu_first"_a, "layers"_a, "pooling"_a = "mean",
             "pairs"_a = false)
        .def("score", &PyModel::score, "texts"_a, "threads"_a, "nulls_are_empty"_a = false, "excerpt"_a = "head", "bytes"_a = 0,
             "Logits float32 (n, outputs); with `bytes` of an excerpt of each text: head, head+tail or spread (core/excerpt.h).")
        .def("score_parts", &PyModel::score_parts, "texts"_a, "kind"_a, "size"_a = 0, "step"_a = 0, "characters"_a = false,
             "threads"_a = 1, "nulls_are_empty"_a = false,
             "(logits float32 (P, outputs), offsets, counts): each part that segment() cuts, scored as a text of its own.")
        .def("choose", &PyModel::choose, "names"_a, "texts"_a, "threads"_a, "nulls_are_empty"_a = false,
             "The name of each text's highest logit.")
        .def("choose_one", &PyModel::choose_one, "text"_a, "names"_a, "The name of one text's highest logit.");
}

}  // namespace sparsedistill::python
