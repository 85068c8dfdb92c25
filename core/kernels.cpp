// Compiled once for each instruction set with SPARSEDISTILL_KERNELS naming the result. Nothing with a linker's name of
// its own may be instantiated here (no templates of the standard library, no inline functions of other headers): the
// linker keeps one copy of each, and that could be one that other processors cannot run.
#include "kernels.h"

#include "kernels/classify.h"
#include "kernels/dense.h"
#include "kernels/find.h"
#include "kernels/gather.h"
#include "kernels/train.h"

namespace sparsedistill {

#define SPARSEDISTILL_TEXT(name) #name
#define SPARSEDISTILL_NAME(name) SPARSEDISTILL_TEXT(name)
extern const Kernels SPARSEDISTILL_KERNELS;
const Kernels SPARSEDISTILL_KERNELS = {
    SPARSEDISTILL_NAME(SPARSEDISTILL_KERNELS), classify, find, find_values, gather_int4, gather<Int8>, gather<Int16>, gather<Float16>,
    gather<Float32>, maximum_int4, maximum<Int8>, maximum<Int16>, maximum<Float16>, maximum<Float32>, gather<BFloat16>,
    winners<float>, winners<std::uint16_t>, products<float>, products<std::uint16_t>, weigh<float>,
    weigh<std::uint16_t>, add_won, adam_float32, adam_bfloat16, adagrad_float32, adagrad_bfloat16,
    sgd_float32, sgd_bfloat16, dense, dense_columns, scale_sums, make_finite,
};

}  // namespace sparsedistill
