/* compute.h: what the packets that compute share: rows of results, tables, requantization. */
#ifndef LEPTON_NPU_EMULATOR_COMPUTE_H
#define LEPTON_NPU_EMULATOR_COMPUTE_H

#include "state.h"

/* A packet's 256-entry table, read when the packet completes, before its first row. */
typedef struct {
    bool used;
    int8_t entries[LPT_TABLE_BYTES];
} lpt_lookup;

lpt_lookup lpt_load_table(const lpt_emulator *emulator, bool used, uint32_t address);
void lpt_look_up(const lpt_lookup *lookup, int8_t *elements, size_t count);

/* Stores a row of pixels, [width][channels], as row y of the map. */
void lpt_store_row(lpt_emulator *emulator, const lpt_map *map, uint32_t y, uint32_t width,
                   uint32_t channels, const int8_t *row);

/* clamp(RNE(fl(f32(sum + bias) scale)) + zero_point) of each channel. */
void lpt_requantize_channels(const int32_t *sums, const lpt_weights *weights, size_t channels,
                             int32_t zero_point, int32_t low, int32_t high, int8_t *results);
/* The same with one scale, and without biases. */
void lpt_requantize(const int32_t *sums, float scale, size_t count, int32_t zero_point,
                    int32_t low, int32_t high, int8_t *results);

/* Row and column of the input at a position of the window, or -1: there is only padding. */
static inline int32_t lpt_input_index(uint32_t output, uint32_t tap, uint32_t stride,
                                      uint32_t dilation, int32_t pad, uint32_t upsample,
                                      uint32_t size)
{
    const int32_t position = (int32_t)(output * stride + tap * dilation) - pad;

    if (position < 0 || (uint32_t)position % upsample != 0u ||
        (uint32_t)position / upsample >= size) {
        return -1;
    }
    return (int32_t)((uint32_t)position / upsample);
}

/* depthwise.c: sums of all channels at one computed pixel. */
void lpt_depthwise_pixel(const lpt_emulator *emulator, const lpt_windowed *op,
                         const int16_t *weights, uint32_t y, uint32_t x, int32_t *sums);

/* dense.c: sums[p * sums_stride + o] of `pixels` patches and `outputs` rows of weights, each of
 * `products` numbers. */
void lpt_dense_sums(const int16_t *patches, uint32_t pixels, const int16_t *weights,
                    uint32_t outputs, size_t products, int32_t *sums, size_t sums_stride);

#endif
