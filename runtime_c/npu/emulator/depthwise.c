/* depthwise.c: the sums of DEPTHWISE and of the first stage of SEPARABLE. */

#include "compute.h"

static void add_tap(const int8_t *LEPTON_RESTRICT inputs, const int16_t *LEPTON_RESTRICT weights,
                    int32_t zero_point, uint32_t channels, int32_t *LEPTON_RESTRICT sums)
{
    uint32_t c;

    for (c = 0u; c < channels; ++c) {
        const int16_t input = (int16_t)(inputs[c] - zero_point);

        sums[c] += (int32_t)input * weights[c];
    }
}

void lpt_depthwise_pixel(const lpt_emulator *emulator, const lpt_windowed *op,
                         const int16_t *weights, uint32_t y, uint32_t x, int32_t *sums)
{
    uint32_t ky;

    memset(sums, 0, op->ifm_channels * sizeof *sums);
    for (ky = 0u; ky < op->kernel_height; ++ky) {
        const int32_t v = lpt_input_index(y, ky, op->stride_y, op->dilation_y, op->pad_top,
                                          op->upsample_y, op->ifm_height);
        const uint8_t *row = v < 0 ? NULL : lpt_row_of(emulator, &op->ifm, (uint32_t)v);
        uint32_t kx;

        for (kx = 0u; kx < op->kernel_width && row != NULL; ++kx) {
            const int32_t h = lpt_input_index(x, kx, op->stride_x, op->dilation_x, op->pad_left,
                                              op->upsample_x, op->ifm_width);
            const size_t tap = (size_t)ky * op->kernel_width + kx;

            if (h >= 0) {
                add_tap((const int8_t *)row + (size_t)h * op->ifm.pixel_stride,
                        weights + tap * op->ifm_channels, op->ifm_zero_point, op->ifm_channels,
                        sums);
            }
        }
    }
}
