/* elementwise.c: ELEMENTWISE and TABLE, row by row. */

#include "arithmetic.h"
#include "compute.h"

/* One run of elements; the step of rhs is 0 where one element serves all. */
typedef struct {
    const int8_t *lhs;
    const int8_t *rhs;
    size_t rhs_step;
    uint32_t count;
    int8_t *results;
} run;

static void add(const lpt_elementwise *op, const run *of)
{
    const float lhs_scale = lpt_binary32(op->lhs_scale);
    const float rhs_scale = lpt_binary32(op->rhs_scale);
    const float offset = lpt_binary32(op->offset);
    uint32_t i;

    for (i = 0u; i < of->count; ++i) {
        const float inner = lpt_fma(of->rhs[i * of->rhs_step], rhs_scale, offset);

        of->results[i] = lpt_round_clamped(lpt_fma(of->lhs[i], lhs_scale, inner), 0,
                                           op->clamp_low, op->clamp_high);
    }
}

static void multiply(const lpt_elementwise *op, const run *of)
{
    const float scale = lpt_binary32(op->lhs_scale);
    const float offset = lpt_binary32(op->offset);
    uint32_t i;

    for (i = 0u; i < of->count; ++i) {
        const int32_t product = (of->lhs[i] - op->lhs_zero_point) *
                                (of->rhs[i * of->rhs_step] - op->rhs_zero_point);
        const float scaled = (float)product * scale;

        of->results[i] =
            lpt_round_clamped(scaled + offset, 0, op->clamp_low, op->clamp_high);
    }
}

static void choose(const lpt_elementwise *op, const run *of)
{
    const bool greater = op->kind == LPT_ELEMENTWISE_MAX;
    uint32_t i;

    for (i = 0u; i < of->count; ++i) {
        const int32_t lhs = of->lhs[i];
        const int32_t rhs = of->rhs[i * of->rhs_step];
        int32_t result = (lhs > rhs) == greater ? lhs : rhs;

        result = result < op->clamp_low ? op->clamp_low : result;
        of->results[i] = (int8_t)(result > op->clamp_high ? op->clamp_high : result);
    }
}

static void compute(const lpt_elementwise *op, const run *of)
{
    if (op->kind == LPT_ELEMENTWISE_ADD) {
        add(op, of);
    } else if (op->kind == LPT_ELEMENTWISE_MUL) {
        multiply(op, of);
    } else {
        choose(op, of);
    }
}

static void compute_row(lpt_emulator *emulator, const lpt_elementwise *op, uint32_t y)
{
    const uint32_t rhs_y = op->rhs.row_stride != 0u ? y : 0u;
    const int8_t *lhs = (const int8_t *)lpt_row_of(emulator, &op->lhs, y);
    const int8_t *rhs = (const int8_t *)lpt_row_of(emulator, &op->rhs, rhs_y);
    const uint32_t channels = op->channels;
    uint32_t x;

    if (op->rhs_repeats_channel == 0u && op->lhs.pixel_stride == channels &&
        op->rhs.pixel_stride == channels) {
        const run whole = {lhs, rhs, 1u, op->width * channels, emulator->row};

        compute(op, &whole);
        return;
    }
    for (x = 0u; x < op->width; ++x) {
        const run pixel = {
            lhs + (size_t)x * op->lhs.pixel_stride,
            rhs + (size_t)x * op->rhs.pixel_stride,
            op->rhs_repeats_channel != 0u ? 0u : 1u,
            channels,
            emulator->row + (size_t)x * channels,
        };

        compute(op, &pixel);
    }
}

lpt_fault lpt_execute_elementwise(lpt_emulator *emulator, const lpt_packet *packet)
{
    const lpt_elementwise op = lpt_elementwise_of(packet->words);
    const lpt_lookup lookup =
        lpt_load_table(emulator, (op.epilogue & LPT_EPILOGUE_TABLE) != 0u, op.table_address);
    uint32_t y;

    for (y = 0u; y < op.height; ++y) {
        compute_row(emulator, &op, y);
        lpt_look_up(&lookup, emulator->row, (size_t)op.width * op.channels);
        lpt_store_row(emulator, &op.ofm, y, op.width, op.channels, emulator->row);
    }
    return (lpt_fault){LPT_FAULT_NONE, 0u, 0u};
}

lpt_fault lpt_execute_table(lpt_emulator *emulator, const lpt_packet *packet)
{
    const lpt_table op = lpt_table_of(packet->words);
    const lpt_lookup lookup = lpt_load_table(emulator, true, op.table_address);
    uint32_t y;

    for (y = 0u; y < op.height; ++y) {
        const uint8_t *row = lpt_row_of(emulator, &op.ifm, y);
        uint32_t x;

        for (x = 0u; x < op.width; ++x) {
            memcpy(emulator->row + (size_t)x * op.channels,
                   row + (size_t)x * op.ifm.pixel_stride, op.channels);
        }
        lpt_look_up(&lookup, emulator->row, (size_t)op.width * op.channels);
        lpt_store_row(emulator, &op.ofm, y, op.width, op.channels, emulator->row);
    }
    return (lpt_fault){LPT_FAULT_NONE, 0u, 0u};
}
