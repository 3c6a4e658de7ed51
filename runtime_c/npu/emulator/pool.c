/* pool.c: POOL: the greatest element, or the scaled sum, of what each window has inside the input. */

#include "arithmetic.h"
#include "compute.h"

static void take_greatest(const int8_t *LEPTON_RESTRICT inputs, uint32_t channels,
                          int32_t *LEPTON_RESTRICT results)
{
    uint32_t c;

    for (c = 0u; c < channels; ++c) {
        results[c] = results[c] > inputs[c] ? results[c] : inputs[c];
    }
}

static void take_sum(const int8_t *LEPTON_RESTRICT inputs, uint32_t channels,
                     int32_t *LEPTON_RESTRICT results)
{
    uint32_t c;

    for (c = 0u; c < channels; ++c) {
        results[c] += inputs[c];
    }
}

/* Sums, or greatest elements, of all channels of one window. */
static void reduce_window(lpt_emulator *emulator, const lpt_windowed *op, uint32_t y, uint32_t x)
{
    int32_t *results = emulator->sums;
    const bool is_sum = op->kind == LPT_POOL_SUM;
    uint32_t ky;
    uint32_t c;

    for (c = 0u; c < op->ifm_channels; ++c) {
        results[c] = is_sum ? 0 : INT8_MIN;
    }
    for (ky = 0u; ky < op->kernel_height; ++ky) {
        const int32_t v =
            lpt_input_index(y, ky, op->stride_y, 1u, op->pad_top, 1u, op->ifm_height);
        const uint8_t *row = v < 0 ? NULL : lpt_row_of(emulator, &op->ifm, (uint32_t)v);
        uint32_t kx;

        for (kx = 0u; kx < op->kernel_width && row != NULL; ++kx) {
            const int32_t h =
                lpt_input_index(x, kx, op->stride_x, 1u, op->pad_left, 1u, op->ifm_width);
            const int8_t *inputs =
                (const int8_t *)row + (h < 0 ? 0u : (size_t)h) * op->ifm.pixel_stride;

            if (h >= 0 && is_sum) {
                take_sum(inputs, op->ifm_channels, results);
            } else if (h >= 0) {
                take_greatest(inputs, op->ifm_channels, results);
            }
        }
    }
}

static void finish_window(const lpt_emulator *emulator, const lpt_windowed *op, int8_t *results)
{
    int32_t *sums = emulator->sums;
    uint32_t c;

    if (op->kind == LPT_POOL_SUM) {
        for (c = 0u; c < op->ofm_channels; ++c) {
            sums[c] = (int32_t)((uint32_t)sums[c] - (uint32_t)op->sum_zero_point);
        }
        lpt_requantize(sums, lpt_binary32(op->scale), op->ofm_channels, op->ofm_zero_point,
                       op->clamp_low, op->clamp_high, results);
        return;
    }
    for (c = 0u; c < op->ofm_channels; ++c) {
        const int32_t greatest = sums[c] < op->clamp_low ? op->clamp_low : sums[c];

        results[c] = (int8_t)(greatest > op->clamp_high ? op->clamp_high : greatest);
    }
}

lpt_fault lpt_execute_pool(lpt_emulator *emulator, const lpt_packet *packet)
{
    const lpt_windowed op = lpt_windowed_of(packet->words);
    const lpt_lookup lookup =
        lpt_load_table(emulator, (op.epilogue & LPT_EPILOGUE_TABLE) != 0u, op.table_address);
    uint32_t y;

    for (y = 0u; y < op.ofm_height; ++y) {
        uint32_t x;

        for (x = 0u; x < op.ofm_width; ++x) {
            reduce_window(emulator, &op, y, x);
            finish_window(emulator, &op, emulator->row + (size_t)x * op.ofm_channels);
        }
        lpt_look_up(&lookup, emulator->row, (size_t)op.ofm_width * op.ofm_channels);
        lpt_store_row(emulator, &op.ofm, y, op.ofm_width, op.ofm_channels, emulator->row);
    }
    return (lpt_fault){LPT_FAULT_NONE, 0u, 0u};
}
