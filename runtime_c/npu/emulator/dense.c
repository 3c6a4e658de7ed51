/* dense.c: the inner products of CONV; nearly all time of an emulated model is spent here. */

#include "compute.h"

/* So many products of |x - zero point| <= 383 and |w| <= 128 stay below 2^31. */
#define CHUNK 32768u

LEPTON_STATIC_ASSERT(CHUNK * 383ull * 128ull < 0x80000000ull, a_chunk_does_not_overflow);

/* Four patches by two rows of weights: each number that is loaded serves several sums. */
static void sums_4x2(const int16_t *patches, const int16_t *weights, size_t stride, size_t count,
                     int32_t *sums, size_t sums_stride)
{
    const int16_t *LEPTON_RESTRICT a = patches;
    const int16_t *LEPTON_RESTRICT b = patches + stride;
    const int16_t *LEPTON_RESTRICT c = patches + 2u * stride;
    const int16_t *LEPTON_RESTRICT d = patches + 3u * stride;
    const int16_t *LEPTON_RESTRICT u = weights;
    const int16_t *LEPTON_RESTRICT v = weights + stride;
    int32_t au = 0, av = 0, bu = 0, bv = 0, cu = 0, cv = 0, du = 0, dv = 0;
    size_t i;

    for (i = 0u; i < count; ++i) {
        au += (int32_t)a[i] * u[i];
        av += (int32_t)a[i] * v[i];
        bu += (int32_t)b[i] * u[i];
        bv += (int32_t)b[i] * v[i];
        cu += (int32_t)c[i] * u[i];
        cv += (int32_t)c[i] * v[i];
        du += (int32_t)d[i] * u[i];
        dv += (int32_t)d[i] * v[i];
    }
    sums[0] = (int32_t)((uint32_t)sums[0] + (uint32_t)au);
    sums[1] = (int32_t)((uint32_t)sums[1] + (uint32_t)av);
    sums += sums_stride;
    sums[0] = (int32_t)((uint32_t)sums[0] + (uint32_t)bu);
    sums[1] = (int32_t)((uint32_t)sums[1] + (uint32_t)bv);
    sums += sums_stride;
    sums[0] = (int32_t)((uint32_t)sums[0] + (uint32_t)cu);
    sums[1] = (int32_t)((uint32_t)sums[1] + (uint32_t)cv);
    sums += sums_stride;
    sums[0] = (int32_t)((uint32_t)sums[0] + (uint32_t)du);
    sums[1] = (int32_t)((uint32_t)sums[1] + (uint32_t)dv);
}

static void sums_1x1(const int16_t *LEPTON_RESTRICT patch, const int16_t *LEPTON_RESTRICT weights,
                     size_t count, int32_t *sum)
{
    int32_t partial = 0;
    size_t i;

    for (i = 0u; i < count; ++i) {
        partial += (int32_t)patch[i] * weights[i];
    }
    *sum = (int32_t)((uint32_t)*sum + (uint32_t)partial);
}

static void add_chunk(const int16_t *patches, uint32_t pixels, const int16_t *weights,
                      uint32_t outputs, size_t products, size_t count, int32_t *sums,
                      size_t sums_stride)
{
    uint32_t output = 0u;

    while (output < outputs) {
        const uint32_t width = outputs - output >= 2u ? 2u : 1u;
        const int16_t *rows = weights + output * products;
        uint32_t pixel = 0u;

        for (; width == 2u && pixel + 4u <= pixels; pixel += 4u) {
            sums_4x2(patches + pixel * products, rows, products, count,
                     sums + pixel * sums_stride + output, sums_stride);
        }
        for (; pixel < pixels; ++pixel) {
            uint32_t i;

            for (i = 0u; i < width; ++i) {
                sums_1x1(patches + pixel * products, rows + i * products, count,
                         sums + pixel * sums_stride + output + i);
            }
        }
        output += width;
    }
}

void lpt_dense_sums(const int16_t *patches, uint32_t pixels, const int16_t *weights,
                    uint32_t outputs, size_t products, int32_t *sums, size_t sums_stride)
{
    uint32_t pixel;
    size_t first;

    for (pixel = 0u; pixel < pixels; ++pixel) {
        memset(sums + pixel * sums_stride, 0, outputs * sizeof *sums);
    }
    for (first = 0u; first < products; first += CHUNK) {
        const size_t count = products - first < CHUNK ? products - first : CHUNK;

        add_chunk(patches + first, pixels, weights + first, outputs, products, count, sums,
                  sums_stride);
    }
}
