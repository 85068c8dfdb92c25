#include "part_pool.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "floats.h"

namespace sparsedistill {

std::optional<PartPooling> part_pooling_named(std::string_view name) {
    constexpr std::pair<std::string_view, PartPooling> all[] = {
        {"mean", PartPooling::mean}, {"max", PartPooling::max}, {"top", PartPooling::top}, {"share", PartPooling::share}};
    for (const auto& [known, pooling] : all)
        if (name == known) return pooling;
    return {};
}

void pool_parts(std::span<const double> values, std::size_t columns, std::span<const std::int64_t> counts, PartPooling how,
                double number, double* out, const Stop& stop) {
    const FloatRules rules;
    std::vector<double> column;
    const double* first = values.data();
    for (std::size_t t = 0; t < counts.size(); ++t, out += columns) {
        const auto count = static_cast<std::size_t>(counts[t]);
        const double* const last = first + count * columns;
        if (t % 64 == 63) stop.poll();
        std::fill_n(out, columns, 0.0);
        if (count == 0) continue;
        double divisor = static_cast<double>(count);
        switch (how) {
            case PartPooling::mean:
                for (const double* row = first; row != last; row += columns)
                    for (std::size_t j = 0; j < columns; ++j) out[j] += row[j];
                break;
            case PartPooling::max:
                std::copy_n(first, columns, out);
                for (const double* row = first; row != last; row += columns)
                    for (std::size_t j = 0; j < columns; ++j) out[j] = std::max(out[j], row[j]);
                divisor = 1.0;
                break;
            case PartPooling::top:
                divisor = std::min(divisor, number);
                for (std::size_t j = 0; j < columns; ++j) {
                    column.clear();
                    for (const double* row = first; row != last; row += columns) column.push_back(row[j]);
                    const auto end = column.begin() + static_cast<std::ptrdiff_t>(divisor);
                    std::partial_sort(column.begin(), end, column.end(), std::greater<>());
                    for (auto one = column.begin(); one != end; ++one) out[j] += *one;
                }
                break;
            case PartPooling::share:
                for (const double* row = first; row != last; row += columns)
                    for (std::size_t j = 0; j < columns; ++j) out[j] += row[j] >= number;
                break;
        }
        for (std::size_t j = 0; j < columns; ++j) out[j] /= divisor;
        first = last;
    }
}

}  // namespace sparsedistill
