#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../bag.h"
#include "bind.h"
#include "common.h"

namespace sparsedistill::python {

namespace {

Bags checked_bags(const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, std::size_t rows) {
    if (offsets.size() == 0 || offsets(0) != 0 || offsets(offsets.size() - 1) != ids.size())
        throw nb::value_error("offsets must begin at 0 and end at the number of ids");
    for (std::size_t i = 1; i < offsets.size(); ++i)
        if (offsets(i) < offsets(i - 1)) throw nb::value_error("offsets must not fall");
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (ids(i) >= rows) throw nb::index_error("a bag names a row past the end of the table");
    return {span(ids), span(offsets)};
}

auto take(const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, const Read1<std::int64_t>& which,
          double drop, std::uint64_t seed, std::uint64_t step, std::uint64_t place) {
    if (offsets.size() == 0 || offsets(offsets.size() - 1) > ids.size())
        throw nb::value_error("offsets must end within the ids");
    const Bags bags{span(ids), span(offsets)};
    for (std::size_t i = 0; i < which.size(); ++i) {
        const auto b = static_cast<std::uint64_t>(which(i));
        if (b >= bags.size()) throw nb::index_error("there is no such bag");
        if (bags.offsets[b] > bags.offsets[b + 1] || bags.offsets[b + 1] > ids.size())
            throw nb::value_error("offsets must not fall");
    }
    if (!(drop >= 0 && drop < 1)) throw nb::value_error("the share left out must be at least 0 and below 1");
    std::vector<std::uint32_t> taken;
    std::vector<std::uint64_t> ends{0};
    {
        const nb::gil_scoped_release release;
        take_bags(bags, span(which), static_cast<std::uint64_t>(drop * 4294967296.0), seed, step, place, taken, ends);
    }
    return std::make_pair(to_numpy(std::move(taken)), to_numpy(std::move(ends)));
}

using AnyTable = nb::ndarray<nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class Array>
Table checked_table(const Array& table, std::uint32_t first = 0) {
    if (table.dtype() != nb::dtype<float>() && table.dtype() != nb::dtype<std::uint16_t>())
        throw nb::type_error("a table is float32, or uint16 that stands for bfloat16");
    return {const_cast<void*>(static_cast<const void*>(table.data())), table.shape(1), table.dtype() != nb::dtype<float>(),
            first};
}

Pool make_pool(const std::string& pooling, const std::optional<Read1<float>>& query) {
    const Pooling how = pooling_of(pooling);
    if (query.has_value() != (how == Pooling::attentive)) throw nb::value_error("a query is for attentive pooling");
    return {how, query ? std::vector<float>(query->data(), query->data() + query->size()) : std::vector<float>()};
}

void check_query(const Pool& pool, const Table& rows) {
    if (pool.how == Pooling::attentive && pool.query.size() != rows.width) throw nb::value_error("the query must be as wide as the table");
}

void pool_bags(const AnyRows& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, Pool& pool,
               Write2<float>& out, unsigned threads) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    const Table rows = checked_table(table);
    check_query(pool, rows);
    if (out.shape(0) != bags.size() || out.shape(1) != pool.pooled(rows.width))
        throw nb::value_error("out must be (bags, width of what is pooled)");
    const nb::gil_scoped_release release;
    bag_pool(rows, bags, pool, out.data(), threads);
}

void mean(const AnyRows& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
          Write2<float>& out, unsigned threads) {
    Pool pool;
    pool_bags(table, ids, offsets, pool, out, threads);
}

Made1<float> attend(const AnyRows& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets, Pool& pool,
                    const Read2<float>& out, const Read2<float>& grad, unsigned threads) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    const Table rows = checked_table(table);
    check_query(pool, rows);
    if (pool.how != Pooling::attentive || pool.weights.size() != ids.size())
        throw nb::value_error("these bags were not pooled attentively");
    for (const auto* array : {&out, &grad})
        if (array->shape(0) != bags.size() || array->shape(1) != rows.width)
            throw nb::value_error("out and grad must be (bags, width of the table)");
    std::vector<float> result(rows.width);
    {
        const nb::gil_scoped_release release;
        bag_attend(rows, bags, pool, out.data(), grad.data(), result.data(), threads);
    }
    return to_numpy(std::move(result));
}

Bags checked_step(const AnyTable& table, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
                  const Read2<float>& grad, const Pool& pool, std::uint64_t step) {
    const Bags bags = checked_bags(ids, offsets, table.shape(0));
    if (grad.shape(0) != bags.size() || grad.shape(1) != pool.pooled(table.shape(1)))
        throw nb::value_error("grad must be (bags, width of what is pooled)");
    const bool attentive = pool.how == Pooling::attentive;
    if ((has_maximum(pool.how) && pool.winners.size() != bags.size() * table.shape(1)) ||
        (attentive && (pool.weights.size() != ids.size() || pool.slopes.size() != ids.size() || pool.query.size() != table.shape(1))))
        throw nb::value_error("these bags were not pooled before");
    if (step == 0) throw nb::value_error("the first step is 1");
    return bags;
}

void adam(AnyTable& table, Write2<float>& moment1, Write2<float>& moment2, const Read1<std::uint32_t>& ids,
          const Read1<std::uint64_t>& offsets, const Read2<float>& grad, float learning_rate, float beta1, float beta2,
          float epsilon, std::uint64_t step, unsigned threads, std::uint64_t seed, const Pool* pool,
          std::uint32_t first) {
    const Pool plain, &how = pool ? *pool : plain;
    const Bags bags = checked_step(table, ids, offsets, grad, how, step);
    const Table rows = checked_table(table, first);
    for (const auto* other : {&moment1, &moment2})
        if (other->shape(0) != table.shape(0) || other->shape(1) != rows.width)
            throw nb::value_error("the moments must have the shape of the table");
    const nb::gil_scoped_release release;
    bag_step(rows, bags, grad.data(), how,
             Adam{learning_rate, beta1, beta2, epsilon, step, moment1.data(), moment2.data()}, seed, threads);
}

void adagrad(AnyTable& table, Write1<float>& state, const Read1<std::uint32_t>& ids, const Read1<std::uint64_t>& offsets,
             const Read2<float>& grad, float learning_rate, float epsilon, std::uint64_t step, unsigned threads,
             std::uint64_t seed, const Pool* pool, std::uint32_t first) {
    const Pool plain, &how = pool ? *pool : plain;
    const Bags bags = checked_step(table, ids, offsets, grad, how, step);
    const Table rows = checked_table(table, first);
    if (state.shape(0) != table.shape(0)) throw nb::value_error("the state must have a number for each row");
    const nb::gil_scoped_release release;
    bag_step(rows, bags, grad.data(), how, Adagrad{learning_rate, epsilon, step, state.data()}, seed, threads);
}

void sgd(AnyTable& table, const Read2<float>& rates, const Read1<std::uint32_t>& ends, const Read1<std::uint32_t>& ids,
         const Read1<std::uint64_t>& offsets, const Read2<float>& grad, float learning_rate, std::uint64_t step, unsigned threads, std::uint64_t seed,
         const Pool* pool, std::uint32_t first) {
    const Pool plain, &how = pool ? *pool : plain;
    const Bags bags = checked_step(table, ids, offsets, grad, how, step);
    const Table rows = checked_table(table, first);
    if (rates.shape(0) != table.shape(0) || rates.shape(1) != ends.size())
        throw nb::value_error("there must be a rate for each row and each of the ends");
    const std::span<const std::uint32_t> columns{ends.data(), ends.size()};
    if (columns.empty() || columns.back() != rows.width || !std::ranges::is_sorted(columns))
        throw nb::value_error("the ends must ascend to the width of the table");
    const nb::gil_scoped_release release;
    bag_step(rows, bags, grad.data(), how, Sgd{learning_rate, step, rates.data(), columns}, seed, threads);
}

}  // namespace

void bind_bag(nb::module_& m) {
    // What is written in place must not be converted: the result would go into a copy and be lost.
    m.def("take_bags", &take, "ids"_a, "offsets"_a, "which"_a, "drop"_a, "seed"_a, "step"_a, "place"_a,
          "(ids, offsets) of the bags at `which`, each id left out with the chance `drop`: a function of (seed, step, place "
          "in the batch).");
    m.def("bag_mean", &mean, "table"_a.noconvert(), "ids"_a, "offsets"_a, "out"_a.noconvert(), "threads"_a,
          "out[b] = mean of the rows of bag b; zero for an empty bag.");
    nb::class_<Pool>(m, "Pool", "How rows are pooled, and what one batch's pooling found that its step needs.")
        .def(
            "__init__",
            [](Pool* self, const std::string& pooling, const std::optional<Read1<float>>& query) {
                new (self) Pool(make_pool(pooling, query));
            },
            "pooling"_a, "query"_a = nb::none(), "pooling: mean, sum, sqrtn, max, mean+max or attentive, which has a query (d,).");
    m.def("bag_pool", &pool_bags, "table"_a.noconvert(), "ids"_a, "offsets"_a, "pool"_a, "out"_a.noconvert(), "threads"_a,
          "out[b] = the rows of bag b, pooled: (bags, d), or (bags, 2 d) for mean+max; zero for an empty bag.");
    m.def("bag_attend", &attend, "table"_a.noconvert(), "ids"_a, "offsets"_a, "pool"_a, "out"_a, "grad"_a, "threads"_a,
          "Attentive, between pooling and step: the query's gradient (d,) from that of `out`.");
    m.def("bag_adam", &adam, "table"_a.noconvert(), "moment1"_a.noconvert(), "moment2"_a.noconvert(), "ids"_a,
          "offsets"_a, "grad"_a, "learning_rate"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "step"_a, "threads"_a, "seed"_a = 0,
          "pool"_a.none() = nb::none(), "first"_a = 0,
          "One step of lazy Adam on the rows of the bags, in place, from the gradient of what was pooled (None: means). A uint16 "
          "table stands for bfloat16 and is rounded at random, as a function of (seed, step, row, column).");
    m.def("bag_adagrad", &adagrad, "table"_a.noconvert(), "state"_a.noconvert(), "ids"_a, "offsets"_a, "grad"_a,
          "learning_rate"_a, "epsilon"_a, "step"_a, "threads"_a, "seed"_a = 0, "pool"_a.none() = nb::none(), "first"_a = 0,
          "The same of row-wise Adagrad; state float32 (V,).");
    m.def("bag_sgd", &sgd, "table"_a.noconvert(), "rates"_a.noconvert(), "ends"_a, "ids"_a, "offsets"_a, "grad"_a,
          "learning_rate"_a, "step"_a, "threads"_a, "seed"_a = 0, "pool"_a.none() = nb::none(), "first"_a = 0,
          "The same of plain gradient descent; rates float32 (V, k): factors of the "
          "learning rate, of the columns up to each of the ends, uint32 (k,).");
}

}  // namespace sparsedistill::python
