/* convolution.c: CONV, DEPTHWISE and SEPARABLE with their epilogue; docs/lepton-npu.md, section 6. */

#include "arithmetic.h"
#include "compute.h"

static bool has(const lpt_windowed *op, uint32_t flag)
{
    return (op->epilogue & flag) != 0u;
}

/* The inputs of one output pixel and group, in the order of the weights, zero point taken away. */
static void gather_patch(const lpt_emulator *emulator, const lpt_windowed *op, uint32_t y,
                         uint32_t x, uint32_t group, int16_t *LEPTON_RESTRICT patch)
{
    const uint32_t channels = op->ifm_channels / op->groups;
    uint32_t ky;

    for (ky = 0u; ky < op->kernel_height; ++ky) {
        const int32_t v = lpt_input_index(y, ky, op->stride_y, op->dilation_y, op->pad_top,
                                          op->upsample_y, op->ifm_height);
        uint32_t kx;

        for (kx = 0u; kx < op->kernel_width; ++kx, patch += channels) {
            const int32_t h = lpt_input_index(x, kx, op->stride_x, op->dilation_x, op->pad_left,
                                              op->upsample_x, op->ifm_width);

            if (v < 0 || h < 0) {
                memset(patch, 0, channels * sizeof *patch);
            } else {
                const int8_t *inputs =
                    (const int8_t *)lpt_row_of(emulator, &op->ifm, (uint32_t)v) +
                    (size_t)h * op->ifm.pixel_stride + (size_t)group * channels;
                uint32_t c;

                for (c = 0u; c < channels; ++c) {
                    patch[c] = (int16_t)(inputs[c] - op->ifm_zero_point);
                }
            }
        }
    }
}

/* Sums of CONV for `pixels` pixels from x on: [pixel][ofm_channels]. */
static void dense_block(lpt_emulator *emulator, const lpt_windowed *op, uint32_t y, uint32_t x,
                        uint32_t pixels)
{
    const uint32_t outputs = op->ofm_channels / op->groups;
    const size_t products = (size_t)op->kernel_height * op->kernel_width *
                            (op->ifm_channels / op->groups);
    uint32_t group;

    for (group = 0u; group < op->groups; ++group) {
        uint32_t pixel;

        for (pixel = 0u; pixel < pixels; ++pixel) {
            gather_patch(emulator, op, y, x + pixel, group,
                         emulator->patches + pixel * products);
        }
        lpt_dense_sums(emulator->patches, pixels,
                       emulator->weights[0].values + group * outputs * products, outputs,
                       products, emulator->sums + (size_t)group * outputs, op->ofm_channels);
    }
}

static void depthwise_block(lpt_emulator *emulator, const lpt_windowed *op, uint32_t y,
                            uint32_t x, uint32_t pixels)
{
    uint32_t pixel;

    for (pixel = 0u; pixel < pixels; ++pixel) {
        lpt_depthwise_pixel(emulator, op, emulator->weights[0].values, y, x + pixel,
                            emulator->sums + (size_t)pixel * op->ofm_channels);
    }
}

static void separable_block(lpt_emulator *emulator, const lpt_windowed *op, uint32_t y,
                            uint32_t x, uint32_t pixels)
{
    const uint32_t channels = op->ifm_channels;
    uint32_t pixel;

    for (pixel = 0u; pixel < pixels; ++pixel) {
        int16_t *patch = emulator->patches + (size_t)pixel * channels;
        uint32_t c;

        lpt_depthwise_pixel(emulator, op, emulator->weights[1].values, y, x + pixel,
                            emulator->sums);
        lpt_requantize_channels(emulator->sums, &emulator->weights[1], channels,
                                op->stage_zero_point, op->stage_low, op->stage_high,
                                emulator->pixel);
        for (c = 0u; c < channels; ++c) {
            patch[c] = (int16_t)(emulator->pixel[c] - op->stage_zero_point);
        }
    }
    lpt_dense_sums(emulator->patches, pixels, emulator->weights[0].values, op->ofm_channels,
                   channels, emulator->sums, op->ofm_channels);
}

/* The fused addition, in place; the residual is read as the scratchpad stands now. */
static void add_residual(const lpt_emulator *emulator, const lpt_windowed *op, uint32_t y,
                         uint32_t x, int8_t *results)
{
    const int8_t *residual = (const int8_t *)lpt_row_of(emulator, &op->residual, y) +
                             (size_t)x * op->residual.pixel_stride;
    const float result_scale = lpt_binary32(op->result_scale);
    const float residual_scale = lpt_binary32(op->residual_scale);
    const float offset = lpt_binary32(op->add_offset);
    const bool residual_first = has(op, LPT_EPILOGUE_RESIDUAL_FIRST);
    uint32_t o;

    for (o = 0u; o < op->ofm_channels; ++o) {
        const float sum =
            residual_first
                ? lpt_fma(residual[o], residual_scale, lpt_fma(results[o], result_scale, offset))
                : lpt_fma(results[o], result_scale, lpt_fma(residual[o], residual_scale, offset));

        results[o] = lpt_round_clamped(sum, 0, op->add_low, op->add_high);
    }
}

/* POOL2X2: the first of the four pixels of a result is taken, the others are compared. */
static void merge_pixel(uint32_t y, uint32_t x, uint32_t channels, const int8_t *pixel,
                        int8_t *row)
{
    int8_t *merged = row + (size_t)(x / 2u) * channels;
    uint32_t o;

    if (y % 2u == 0u && x % 2u == 0u) {
        memcpy(merged, pixel, channels);
        return;
    }
    for (o = 0u; o < channels; ++o) {
        merged[o] = merged[o] > pixel[o] ? merged[o] : pixel[o];
    }
}

/* From the block's sums to the row of the result. */
static void finish_block(lpt_emulator *emulator, const lpt_windowed *op, const lpt_lookup *lookup,
                         uint32_t y, uint32_t x, uint32_t pixels)
{
    const uint32_t channels = op->ofm_channels;
    const bool pooled = has(op, LPT_EPILOGUE_POOL2X2);
    uint32_t i;

    for (i = 0u; i < pixels; ++i) {
        int8_t *results =
            pooled ? emulator->pixel : emulator->row + (size_t)(x + i) * channels;

        lpt_requantize_channels(emulator->sums + (size_t)i * channels, &emulator->weights[0],
                                channels, op->ofm_zero_point, op->clamp_low, op->clamp_high,
                                results);
        if (has(op, LPT_EPILOGUE_RESIDUAL)) {
            add_residual(emulator, op, y, x + i, results);
        }
        lpt_look_up(lookup, results, channels);
        if (pooled) {
            merge_pixel(y, x + i, channels, results, emulator->row);
        }
    }
}

/* Pixels that are computed together: what the buffers hold. */
static uint32_t block_size(const lpt_emulator *emulator, const lpt_windowed *op)
{
    const size_t products =
        op->opcode == LPT_OPCODE_CONV ? (size_t)op->kernel_height * op->kernel_width *
                                            (op->ifm_channels / op->groups)
                                      : op->ifm_channels;
    const size_t by_patches = emulator->max_weights / products;
    const size_t by_sums = LPT_MAX_SUMS / op->ofm_channels;
    const size_t fitting = by_patches < by_sums ? by_patches : by_sums;

    return fitting < LPT_MAX_BLOCK ? (uint32_t)fitting : LPT_MAX_BLOCK;
}

static void compute_row(lpt_emulator *emulator, const lpt_windowed *op, const lpt_lookup *lookup,
                        uint32_t y, uint32_t width)
{
    const uint32_t block = block_size(emulator, op);
    uint32_t x;

    for (x = 0u; x < width; x += block) {
        const uint32_t pixels = width - x < block ? width - x : block;

        if (op->opcode == LPT_OPCODE_CONV) {
            dense_block(emulator, op, y, x, pixels);
        } else if (op->opcode == LPT_OPCODE_DEPTHWISE) {
            depthwise_block(emulator, op, y, x, pixels);
        } else {
            separable_block(emulator, op, y, x, pixels);
        }
        finish_block(emulator, op, lookup, y, x, pixels);
    }
}

static lpt_fault load_slices(lpt_emulator *emulator, const lpt_windowed *op)
{
    const lpt_config *config = &emulator->config;
    const uint32_t taps = op->kernel_height * op->kernel_width;
    const bool separable = op->opcode == LPT_OPCODE_SEPARABLE;
    const lpt_weights_shape dense = {
        .slice = op->weights,
        .word = LPT_WORD(LPT_CONV_WEIGHTS_ADDRESS),
        .outputs = op->ofm_channels,
        .products = (separable ? 1u : taps) * (op->ifm_channels / op->groups),
        .groups = op->groups,
        .tile = config->modes[op->mode % LPT_MAX_MODES].outputs,
        .depthwise = false,
    };
    const lpt_weights_shape depthwise = {
        .slice = separable ? op->stage_weights : op->weights,
        .word = separable ? LPT_WORD(LPT_SEPARABLE_STAGE_WEIGHTS_ADDRESS)
                          : LPT_WORD(LPT_CONV_WEIGHTS_ADDRESS),
        .outputs = op->ifm_channels,
        .products = taps,
        .groups = 1u,
        .tile = config->depthwise_modes[separable ? op->stage_mode : op->mode].channels,
        .depthwise = true,
    };
    lpt_fault fault;

    if (op->opcode == LPT_OPCODE_DEPTHWISE) {
        return lpt_load_weights(emulator, &depthwise, &emulator->weights[0]);
    }
    fault = lpt_load_weights(emulator, &dense, &emulator->weights[0]);
    if (fault.code == LPT_FAULT_NONE && separable) {
        fault = lpt_load_weights(emulator, &depthwise, &emulator->weights[1]);
    }
    return fault;
}

lpt_fault lpt_execute_convolution(lpt_emulator *emulator, const lpt_packet *packet)
{
    const lpt_windowed op = lpt_windowed_of(packet->words);
    const lpt_lookup lookup =
        lpt_load_table(emulator, has(&op, LPT_EPILOGUE_TABLE), op.table_address);
    const uint32_t scale = has(&op, LPT_EPILOGUE_POOL2X2) ? 2u : 1u;
    const lpt_fault fault = load_slices(emulator, &op);
    uint32_t y;

    if (fault.code != LPT_FAULT_NONE) {
        return fault;
    }
    for (y = 0u; y < op.ofm_height; ++y) {
        uint32_t part;

        for (part = 0u; part < scale; ++part) {
            compute_row(emulator, &op, &lookup, y * scale + part, op.ofm_width * scale);
        }
        lpt_store_row(emulator, &op.ofm, y, op.ofm_width, op.ofm_channels, emulator->row);
    }
    return fault;
}
