/* matmul.c: MATMUL, the product of two activations. */

#include "arithmetic.h"
#include "compute.h"

/* Adds lhs times a row of rhs whose columns are contiguous. */
static void add_product(int32_t lhs, const int8_t *LEPTON_RESTRICT rhs, int32_t zero_point,
                        uint32_t columns, uint32_t *LEPTON_RESTRICT sums)
{
    uint32_t n;

    for (n = 0u; n < columns; ++n) {
        sums[n] += (uint32_t)(lhs * (rhs[n] - zero_point));
    }
}

static uint32_t inner_product(const int8_t *LEPTON_RESTRICT lhs, int32_t lhs_zero_point,
                              const int8_t *LEPTON_RESTRICT rhs, size_t rhs_stride,
                              int32_t rhs_zero_point, uint32_t depth)
{
    uint32_t sum = 0u;
    uint32_t k;

    for (k = 0u; k < depth; ++k) {
        sum += (uint32_t)((lhs[k] - lhs_zero_point) * (rhs[k * rhs_stride] - rhs_zero_point));
    }
    return sum;
}

static void row_sums(const lpt_matmul *op, const int8_t *lhs, const int8_t *rhs, int32_t *sums)
{
    uint32_t k;
    uint32_t n;

    if (op->rhs_column_stride == 1u) {
        memset(sums, 0, op->columns * sizeof *sums);
        for (k = 0u; k < op->depth; ++k) {
            add_product(lhs[k] - op->lhs_zero_point, rhs + (size_t)k * op->rhs_depth_stride,
                        op->rhs_zero_point, op->columns, (uint32_t *)sums);
        }
        return;
    }
    for (n = 0u; n < op->columns; ++n) {
        sums[n] = (int32_t)inner_product(lhs, op->lhs_zero_point,
                                         rhs + (size_t)n * op->rhs_column_stride,
                                         op->rhs_depth_stride, op->rhs_zero_point, op->depth);
    }
}

lpt_fault lpt_execute_matmul(lpt_emulator *emulator, const lpt_packet *packet)
{
    const lpt_matmul op = lpt_matmul_of(packet->words);
    const lpt_lookup lookup =
        lpt_load_table(emulator, (op.epilogue & LPT_EPILOGUE_TABLE) != 0u, op.table_address);
    const int8_t *lhs = (const int8_t *)lpt_internal(emulator, op.lhs_address);
    const int8_t *rhs = (const int8_t *)lpt_internal(emulator, op.rhs_address);
    uint8_t *ofm = lpt_internal(emulator, op.ofm_address);
    uint32_t b;
    uint32_t m;

    for (b = 0u; b < op.batch; ++b) {
        for (m = 0u; m < op.rows; ++m) {
            row_sums(&op,
                     lhs + (size_t)b * op.lhs_batch_stride + (size_t)m * op.lhs_row_stride,
                     rhs + (size_t)b * op.rhs_batch_stride, emulator->sums);
            lpt_requantize(emulator->sums, lpt_binary32(op.scale), op.columns, op.ofm_zero_point,
                           op.clamp_low, op.clamp_high, emulator->pixel);
            lpt_look_up(&lookup, emulator->pixel, op.columns);
            memcpy(ofm + (size_t)b * op.ofm_batch_stride + (size_t)m * op.ofm_row_stride,
                   emulator->pixel, op.columns);
        }
    }
    return (lpt_fault){LPT_FAULT_NONE, 0u, 0u};
}
