/* arithmetic.h: binary32 as docs/numerics.md writes it: fl, RNE, fma, clamp. Exact on every IEEE machine. */
#ifndef LEPTON_NPU_EMULATOR_ARITHMETIC_H
#define LEPTON_NPU_EMULATOR_ARITHMETIC_H

#include <float.h>
#include <string.h>

#include "packet.h"

LEPTON_STATIC_ASSERT(FLT_EVAL_METHOD == 0, binary32_arithmetic_is_not_widened);
LEPTON_STATIC_ASSERT(sizeof(double) == 8, double_is_binary64);

/* 32-bit two's complement, as the hardware wraps. */
static inline int32_t lpt_wrapping_add(int32_t lhs, int32_t rhs)
{
    return (int32_t)((uint32_t)lhs + (uint32_t)rhs);
}

/* clamp(low, high, RNE(number) + zero_point); |zero_point| <= 255, the bounds fit i8. */
static inline int8_t lpt_round_clamped(float number, int32_t zero_point, int32_t low, int32_t high)
{
    /* Beyond the limit the clamp decides; below it, adding 1.5 * 2^23 leaves an integer. */
    const float limit = 1048576.0f;
    const float magic = 12582912.0f;
    int32_t result;

    number = number < -limit ? -limit : number;
    number = number > limit ? limit : number;
    result = (int32_t)((number + magic) - magic) + zero_point;
    result = result < low ? low : result;
    result = result > high ? high : result;
    return (int8_t)result;
}

/* fma(a, b, c), rounded once: the product is exact in binary64; the sum is rounded to odd there, so
 * that the rounding to binary32 sees on which side it lies (Boldo and Melquiond, 2008). */
static inline float lpt_fma(int32_t a, float b, float c)
{
    const double product = (double)a * (double)b;
    double sum = product + (double)c;
    const double part = sum - product;
    const double error = (product - (sum - part)) + ((double)c - part);
    uint64_t bits;

    if (error > 0.0 || error < 0.0) {
        memcpy(&bits, &sum, sizeof bits);
        if ((bits & 1u) == 0u) {
            bits = (error > 0.0) == (sum > 0.0) ? bits + 1u : bits - 1u;
            memcpy(&sum, &bits, sizeof sum);
        }
    }
    return (float)sum;
}

#endif
