// What a model answers: its heads, read from config.json and checked.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fields.h"

namespace sparsedistill {

enum class Task { single, multi, regression };

// How a head's logits become calibrated probabilities, or its scores others (docs/FORMAT.md). Whoever asks for these applies it.
struct Calibration {
    enum class Kind { none, temperature, temperatures, platt, isotonic };
    Kind kind = Kind::none;
    double temperature = 1;                 // temperature, temperatures
    double second = 1, share = 0;           // temperatures
    std::vector<double> slope, intercept;   // platt: one a label
    std::vector<std::vector<double>> x, y;  // isotonic: the points of each label, or of the score
};

struct Head {
    std::string name;  // nothing where the model has one head, without a name
    Task task;
    std::vector<std::string> labels;
    std::vector<double> thresholds;  // multi: one a label
    Calibration calibration;
    std::size_t first;  // of its outputs among those of all heads; it has one a label

    std::size_t end() const { return first + labels.size(); }  // of its outputs
};

// The heads, in the order of their outputs. Errors: FormatError naming the field, also where the file is of another format or of a
// version that this program does not read.
std::vector<Head> read_heads(const Fields& config);

}  // namespace sparsedistill
