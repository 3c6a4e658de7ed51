/* compute.c: rows of results, tables, requantization; and which function executes which opcode. */

#include "compute.h"

#include "arithmetic.h"

lpt_lookup lpt_load_table(const lpt_emulator *emulator, bool used, uint32_t address)
{
    lpt_lookup lookup = {.used = used};

    if (used) {
        memcpy(lookup.entries, lpt_internal(emulator, address), LPT_TABLE_BYTES);
    }
    return lookup;
}

void lpt_look_up(const lpt_lookup *lookup, int8_t *elements, size_t count)
{
    size_t i;

    if (lookup->used) {
        for (i = 0u; i < count; ++i) {
            elements[i] = lookup->entries[(int32_t)elements[i] + 128];
        }
    }
}

void lpt_store_row(lpt_emulator *emulator, const lpt_map *map, uint32_t y, uint32_t width,
                   uint32_t channels, const int8_t *row)
{
    uint8_t *target = lpt_row_of(emulator, map, y);
    uint32_t x;

    if (map->pixel_stride == channels) {
        memcpy(target, row, (size_t)width * channels);
        return;
    }
    for (x = 0u; x < width; ++x) {
        memcpy(target + (size_t)x * map->pixel_stride, row + (size_t)x * channels, channels);
    }
}

void lpt_requantize_channels(const int32_t *sums, const lpt_weights *weights, size_t channels,
                             int32_t zero_point, int32_t low, int32_t high, int8_t *results)
{
    const float *scales = weights->scales;
    const int32_t *biases = weights->biases;
    size_t i;

    for (i = 0u; i < channels; ++i) {
        const float sum = (float)lpt_wrapping_add(sums[i], biases[i]);

        results[i] = lpt_round_clamped(sum * scales[i], zero_point, low, high);
    }
}

void lpt_requantize(const int32_t *sums, float scale, size_t count, int32_t zero_point,
                    int32_t low, int32_t high, int8_t *results)
{
    size_t i;

    for (i = 0u; i < count; ++i) {
        results[i] = lpt_round_clamped((float)sums[i] * scale, zero_point, low, high);
    }
}

lpt_fault lpt_execute(lpt_emulator *emulator, const lpt_packet *packet)
{
    switch (lpt_get(packet->words, LPT_HEADER_OPCODE)) {
    case LPT_OPCODE_DMA:
        return lpt_execute_dma(emulator, packet);
    case LPT_OPCODE_CONV:
    case LPT_OPCODE_DEPTHWISE:
    case LPT_OPCODE_SEPARABLE:
        return lpt_execute_convolution(emulator, packet);
    case LPT_OPCODE_MATMUL:
        return lpt_execute_matmul(emulator, packet);
    case LPT_OPCODE_ELEMENTWISE:
        return lpt_execute_elementwise(emulator, packet);
    case LPT_OPCODE_POOL:
        return lpt_execute_pool(emulator, packet);
    case LPT_OPCODE_TABLE:
        return lpt_execute_table(emulator, packet);
    case LPT_OPCODE_TRACE:
        return lpt_execute_trace(emulator, packet);
    case LPT_OPCODE_IRQ:
        emulator->irq_tag = lpt_get(packet->words, LPT_IRQ_TAG);
        emulator->irq_raw |= LPT_IRQ_USER;
        break;
    default:
        break;
    }
    return (lpt_fault){LPT_FAULT_NONE, 0u, 0u};
}
