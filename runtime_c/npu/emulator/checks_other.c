/* checks_other.c: fields, shapes and extents of MATMUL, ELEMENTWISE, TABLE and DMA. */

#include "checks.h"

#define MAX_DEPTH 33000u

void lpt_check_matmul_values(lpt_checker *checker, const lpt_matmul *op)
{
    lpt_require_in_spm(checker, op->lhs_address, LPT_WORD(LPT_MATMUL_LHS_ADDRESS));
    lpt_require_in_spm(checker, op->rhs_address, LPT_WORD(LPT_MATMUL_RHS_ADDRESS));
    lpt_require_in_spm(checker, op->ofm_address, LPT_WORD(LPT_MATMUL_OFM_ADDRESS));
    lpt_require_legal(checker, op->batch >= 1u && op->rows >= 1u, LPT_WORD(LPT_MATMUL_BATCH));
    lpt_require_legal(checker,
                      op->columns >= 1u && op->depth >= 1u && op->depth <= MAX_DEPTH,
                      LPT_WORD(LPT_MATMUL_COLUMNS));
    lpt_require_zero_point(checker, op->lhs_zero_point, LPT_WORD(LPT_MATMUL_LHS_ZERO_POINT));
    lpt_require_zero_point(checker, op->rhs_zero_point, LPT_WORD(LPT_MATMUL_RHS_ZERO_POINT));
    lpt_require_zero_point(checker, op->ofm_zero_point, LPT_WORD(LPT_MATMUL_OFM_ZERO_POINT));
    lpt_require_legal(checker, op->mode < checker->emulator->config.num_modes,
                      LPT_WORD(LPT_MATMUL_MODE));
    lpt_require_clamp(checker, op->clamp_low, op->clamp_high, LPT_WORD(LPT_MATMUL_CLAMP_LOW));
    lpt_require_legal(checker, (op->epilogue & ~LPT_EPILOGUE_TABLE) == 0u,
                      LPT_WORD(LPT_MATMUL_EPILOGUE));
    if ((op->epilogue & LPT_EPILOGUE_TABLE) != 0u) {
        lpt_require_inside(checker, op->table_address, LPT_WORD(LPT_MATMUL_TABLE_ADDRESS));
    }
}

void lpt_check_matmul_scales(lpt_checker *checker, const lpt_matmul *op)
{
    lpt_require_positive_scale(checker, op->scale, LPT_WORD(LPT_MATMUL_SCALE));
}

void lpt_check_matmul_extents(lpt_checker *checker, const lpt_matmul *op)
{
    const uint64_t batches = op->batch - 1u;
    const uint64_t lhs = batches * op->lhs_batch_stride +
                         (op->rows - 1u) * (uint64_t)op->lhs_row_stride + op->depth;
    const uint64_t rhs = batches * op->rhs_batch_stride +
                         (op->depth - 1u) * (uint64_t)op->rhs_depth_stride +
                         (op->columns - 1u) * (uint64_t)op->rhs_column_stride + 1u;
    const uint64_t ofm = batches * op->ofm_batch_stride +
                         (op->rows - 1u) * (uint64_t)op->ofm_row_stride + op->columns;

    lpt_require_extent(checker, op->lhs_address, lhs, LPT_READS, LPT_WORD(LPT_MATMUL_LHS_ADDRESS));
    lpt_require_extent(checker, op->rhs_address, rhs, LPT_READS, LPT_WORD(LPT_MATMUL_RHS_ADDRESS));
    lpt_require_extent(checker, op->ofm_address, ofm, LPT_WRITES,
                       LPT_WORD(LPT_MATMUL_OFM_ADDRESS));
    if ((op->epilogue & LPT_EPILOGUE_TABLE) != 0u) {
        lpt_require_extent(checker, op->table_address, LPT_TABLE_BYTES, LPT_READS,
                           LPT_WORD(LPT_MATMUL_TABLE_ADDRESS));
    }
}

void lpt_check_elementwise_scales(lpt_checker *checker, const lpt_elementwise *op)
{
    const uint32_t lhs_word = LPT_WORD(LPT_ELEMENTWISE_LHS_SCALE);
    const uint32_t rhs_word = LPT_WORD(LPT_ELEMENTWISE_RHS_SCALE);
    const uint32_t offset_word = LPT_WORD(LPT_ELEMENTWISE_OFFSET);

    if (op->kind == LPT_ELEMENTWISE_ADD) {
        lpt_require_normal_scale(checker, op->lhs_scale, lhs_word);
        lpt_require_normal_scale(checker, op->rhs_scale, rhs_word);
        lpt_require_offset(checker, op->offset, offset_word);
    } else if (op->kind == LPT_ELEMENTWISE_MUL) {
        lpt_require_positive_scale(checker, op->lhs_scale, lhs_word);
        lpt_require_unused_scale(checker, op->rhs_scale, rhs_word);
        lpt_require_offset(checker, op->offset, offset_word);
    } else {
        lpt_require_unused_scale(checker, op->lhs_scale, lhs_word);
        lpt_require_unused_scale(checker, op->rhs_scale, rhs_word);
        lpt_require_unused_scale(checker, op->offset, offset_word);
    }
}

void lpt_check_elementwise_values(lpt_checker *checker, const lpt_elementwise *op)
{
    lpt_require_in_spm(checker, op->lhs.address, LPT_WORD(LPT_ELEMENTWISE_LHS_ADDRESS));
    lpt_require_in_spm(checker, op->rhs.address, LPT_WORD(LPT_ELEMENTWISE_RHS_ADDRESS));
    lpt_require_in_spm(checker, op->ofm.address, LPT_WORD(LPT_ELEMENTWISE_OFM_ADDRESS));
    lpt_require_legal(checker, op->width <= 1u || op->ofm.pixel_stride >= op->channels,
                      LPT_WORD(LPT_ELEMENTWISE_OFM_PIXEL_STRIDE));
    lpt_require_legal(checker, op->height >= 1u && op->width >= 1u,
                      LPT_WORD(LPT_ELEMENTWISE_HEIGHT));
    lpt_require_legal(checker, op->channels >= 1u, LPT_WORD(LPT_ELEMENTWISE_CHANNELS));
    lpt_require_legal(checker,
                      op->kind <= LPT_ELEMENTWISE_MIN &&
                          (op->epilogue & ~LPT_EPILOGUE_TABLE) == 0u,
                      LPT_WORD(LPT_ELEMENTWISE_KIND));
    lpt_require_zero_point(checker, op->lhs_zero_point, LPT_WORD(LPT_ELEMENTWISE_LHS_ZERO_POINT));
    lpt_require_zero_point(checker, op->rhs_zero_point, LPT_WORD(LPT_ELEMENTWISE_RHS_ZERO_POINT));
    lpt_require_clamp(checker, op->clamp_low, op->clamp_high,
                      LPT_WORD(LPT_ELEMENTWISE_CLAMP_LOW));
    if ((op->epilogue & LPT_EPILOGUE_TABLE) != 0u) {
        lpt_require_inside(checker, op->table_address, LPT_WORD(LPT_ELEMENTWISE_TABLE_ADDRESS));
    }
    lpt_require_ring(checker, &op->lhs, op->height, LPT_WORD(LPT_ELEMENTWISE_LHS_RING_ROWS));
    lpt_require_ring(checker, &op->rhs, op->height, LPT_WORD(LPT_ELEMENTWISE_RHS_RING_ROWS));
    lpt_require_ring(checker, &op->ofm, op->height, LPT_WORD(LPT_ELEMENTWISE_OFM_RING_ROWS));
}

void lpt_check_elementwise_extents(lpt_checker *checker, const lpt_elementwise *op)
{
    const lpt_extent whole = {op->height, op->width, op->channels};
    const lpt_extent rhs = {op->height, op->width,
                            op->rhs_repeats_channel != 0u ? 1u : op->channels};

    lpt_require_map(checker, &op->lhs, whole, LPT_READS, LPT_WORD(LPT_ELEMENTWISE_LHS_ADDRESS));
    lpt_require_map(checker, &op->rhs, rhs, LPT_READS, LPT_WORD(LPT_ELEMENTWISE_RHS_ADDRESS));
    lpt_require_map(checker, &op->ofm, whole, LPT_WRITES, LPT_WORD(LPT_ELEMENTWISE_OFM_ADDRESS));
    if ((op->epilogue & LPT_EPILOGUE_TABLE) != 0u) {
        lpt_require_extent(checker, op->table_address, LPT_TABLE_BYTES, LPT_READS,
                           LPT_WORD(LPT_ELEMENTWISE_TABLE_ADDRESS));
    }
}

void lpt_check_table_values(lpt_checker *checker, const lpt_table *op)
{
    lpt_require_in_spm(checker, op->ifm.address, LPT_WORD(LPT_TABLE_IFM_ADDRESS));
    lpt_require_in_spm(checker, op->ofm.address, LPT_WORD(LPT_TABLE_OFM_ADDRESS));
    lpt_require_legal(checker, op->width <= 1u || op->ofm.pixel_stride >= op->channels,
                      LPT_WORD(LPT_TABLE_OFM_PIXEL_STRIDE));
    lpt_require_legal(checker, op->height >= 1u && op->width >= 1u, LPT_WORD(LPT_TABLE_HEIGHT));
    lpt_require_legal(checker, op->channels >= 1u, LPT_WORD(LPT_TABLE_CHANNELS));
    lpt_require_inside(checker, op->table_address, LPT_WORD(LPT_TABLE_TABLE_ADDRESS));
    lpt_require_ring(checker, &op->ifm, op->height, LPT_WORD(LPT_TABLE_IFM_RING_ROWS));
    lpt_require_ring(checker, &op->ofm, op->height, LPT_WORD(LPT_TABLE_OFM_RING_ROWS));
}

void lpt_check_table_extents(lpt_checker *checker, const lpt_table *op)
{
    const lpt_extent whole = {op->height, op->width, op->channels};

    lpt_require_map(checker, &op->ifm, whole, LPT_READS, LPT_WORD(LPT_TABLE_IFM_ADDRESS));
    lpt_require_map(checker, &op->ofm, whole, LPT_WRITES, LPT_WORD(LPT_TABLE_OFM_ADDRESS));
    lpt_require_extent(checker, op->table_address, LPT_TABLE_BYTES, LPT_READS,
                       LPT_WORD(LPT_TABLE_TABLE_ADDRESS));
}

void lpt_check_dma_values(lpt_checker *checker, const lpt_dma *op)
{
    lpt_require_legal(checker,
                      op->fill != 0u || LPT_REGION_OF(op->source) != LPT_RESERVED_REGION,
                      LPT_WORD(LPT_DMA_SOURCE));
    lpt_require_legal(checker, LPT_REGION_OF(op->target) != LPT_RESERVED_REGION,
                      LPT_WORD(LPT_DMA_TARGET));
    lpt_require_legal(checker, op->run_bytes >= 1u, LPT_WORD(LPT_DMA_RUN_BYTES));
    lpt_require_legal(checker, op->counts[0] >= 1u, LPT_WORD(LPT_DMA_COUNT1));
    lpt_require_legal(checker, op->counts[1] >= 1u, LPT_WORD(LPT_DMA_COUNT2));
    lpt_require_legal(checker, op->counts[2] >= 1u, LPT_WORD(LPT_DMA_COUNT3));
}

/* First and last byte of all runs, loops of any sign included, are inside the region. */
static void require_runs(lpt_checker *checker, const lpt_dma *op, uint32_t address,
                         const int32_t *strides, lpt_access access, uint32_t word)
{
    const int64_t far_away = (int64_t)1 << 34;
    int64_t first = 0;
    int64_t last = 0;
    uint32_t i;

    for (i = 0u; i < 3u; ++i) {
        int64_t reach = (int64_t)(op->counts[i] - 1u) * strides[i];

        reach = reach > far_away ? far_away : reach;
        reach = reach < -far_away ? -far_away : reach;
        first += reach < 0 ? reach : 0;
        last += reach > 0 ? reach : 0;
    }
    lpt_require_extent(checker, address,
                       first < -(int64_t)LPT_OFFSET_OF(address) ? UINT64_MAX
                                                                : (uint64_t)last + op->run_bytes,
                       access, word);
}

void lpt_check_dma_extents(lpt_checker *checker, const lpt_dma *op)
{
    if (op->fill == 0u) {
        require_runs(checker, op, op->source, op->source_strides, LPT_READS,
                     LPT_WORD(LPT_DMA_SOURCE));
    }
    require_runs(checker, op, op->target, op->target_strides, LPT_WRITES,
                 LPT_WORD(LPT_DMA_TARGET));
}
