/* weights.c: a weight slice from WBUF or SPM: channel table, encoded weights, padding; docs/lepton-npu.md, section 7. */

#include "checks.h"

#define CHANNEL_BYTES 8u
#define BLOCK 8u

static uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* Each decoder gives the bytes that `count` weights took, 0 if the stream is wrong. */
static size_t decode_raw8(const uint8_t *bytes, size_t size_bytes, size_t count, int8_t *weights)
{
    if (count > size_bytes) {
        return 0u;
    }
    memcpy(weights, bytes, count);
    return count;
}

static size_t decode_raw4(const uint8_t *bytes, size_t size_bytes, size_t count, int8_t *weights)
{
    const size_t used = (count + 1u) / 2u;
    size_t i;

    if (used > size_bytes || (count % 2u != 0u && bytes[used - 1u] >> 4 != 0u)) {
        return 0u;
    }
    for (i = 0u; i < count; ++i) {
        const uint32_t nibble = (uint32_t)bytes[i / 2u] >> (i % 2u * 4u) & 15u;

        weights[i] = (int8_t)((int32_t)(nibble ^ 8u) - 8);
    }
    return used;
}

/* A mask byte and the nonzero weights of a block; what it took, 0 if it is wrong. */
static size_t decode_block(const uint8_t *bytes, size_t size_bytes, size_t count, int8_t *weights)
{
    size_t used = 1u;
    uint32_t mask;
    size_t bit;

    if (size_bytes == 0u) {
        return 0u;
    }
    mask = bytes[0];
    if (mask >> count != 0u) {
        return 0u;
    }
    for (bit = 0u; bit < count; ++bit) {
        if ((mask >> bit & 1u) != 0u) {
            if (used == size_bytes) {
                return 0u;
            }
            weights[bit] = (int8_t)bytes[used];
            ++used;
        }
    }
    return used;
}

static size_t decode_bitmap(const uint8_t *bytes, size_t size_bytes, size_t count,
                            int8_t *weights)
{
    size_t used = 0u;
    uint32_t blocks = 0u; /* of the group at hand; bit 0 is the next one */
    size_t i;

    memset(weights, 0, count);
    for (i = 0u; i < count; i += BLOCK, blocks >>= 1) {
        const size_t in_block = count - i < BLOCK ? count - i : BLOCK;
        size_t block_bytes = 0u;

        if (i % (BLOCK * BLOCK) == 0u) {
            if (used == size_bytes) {
                return 0u;
            }
            blocks = bytes[used];
            ++used;
        }
        if ((blocks & 1u) != 0u) {
            block_bytes = decode_block(bytes + used, size_bytes - used, in_block, weights + i);
            if (block_bytes == 0u) {
                return 0u;
            }
        }
        used += block_bytes;
    }
    return blocks == 0u ? used : 0u;
}

static size_t decode(const lpt_config *config, uint32_t encoding, const uint8_t *bytes,
                     size_t size_bytes, size_t count, int8_t *weights)
{
    switch (encoding) {
    case LPT_ENCODING_RAW8:
        return decode_raw8(bytes, size_bytes, count, weights);
    case LPT_ENCODING_RAW4:
        return decode_raw4(bytes, size_bytes, count, weights);
    case LPT_ENCODING_BITMAP:
        return decode_bitmap(bytes, size_bytes, count, weights);
    default:
        return lpt_decode_prefix(bytes, size_bytes, config->decoder_weights / 8u, count, weights);
    }
}

/* From tiles of outputs to [output][product]. */
static void order_dense(const lpt_weights_shape *shape, const int8_t *decoded, int16_t *values)
{
    const uint32_t of_group = shape->outputs / shape->groups;
    const size_t products = shape->products;
    uint32_t group;

    for (group = 0u; group < shape->groups; ++group) {
        uint32_t first;

        for (first = 0u; first < of_group; first += shape->tile) {
            const uint32_t left = of_group - first;
            const uint32_t width = left < shape->tile ? left : shape->tile;
            int16_t *tile = values + ((size_t)group * of_group + first) * products;
            uint32_t output;
            size_t product;

            for (output = 0u; output < width; ++output) {
                for (product = 0u; product < products; ++product) {
                    tile[output * products + product] = decoded[product * width + output];
                }
            }
            decoded += products * width;
        }
    }
}

/* From tiles of channels to [tap][channel]. */
static void order_depthwise(const lpt_weights_shape *shape, const int8_t *decoded,
                            int16_t *values)
{
    uint32_t first;

    for (first = 0u; first < shape->outputs; first += shape->tile) {
        const uint32_t left = shape->outputs - first;
        const uint32_t width = left < shape->tile ? left : shape->tile;
        uint32_t tap;

        for (tap = 0u; tap < shape->products; ++tap) {
            int16_t *row = values + (size_t)tap * shape->outputs + first;
            uint32_t channel;

            for (channel = 0u; channel < width; ++channel) {
                row[channel] = decoded[channel];
            }
            decoded += width;
        }
    }
}

/* Decodes what follows the channel table; false if it is not exactly the slice. */
static bool decode_slice(lpt_emulator *emulator, const lpt_weights_shape *shape,
                         const uint8_t *bytes, size_t size_bytes)
{
    const size_t count = (size_t)shape->outputs * shape->products;
    size_t used;

    if (count > emulator->max_weights) {
        return false;
    }
    used = decode(&emulator->config, shape->slice.encoding, bytes, size_bytes, count,
                  emulator->decoded);
    if (used == 0u || size_bytes - used > 3u || (used + 3u) / 4u * 4u != size_bytes) {
        return false;
    }
    for (; used < size_bytes; ++used) {
        if (bytes[used] != 0u) {
            return false;
        }
    }
    return true;
}

/* The channel table; false if a scale is not normal and positive. */
static bool read_channels(const uint8_t *bytes, uint32_t channels, const lpt_weights *weights)
{
    uint32_t i;

    for (i = 0u; i < channels; ++i, bytes += CHANNEL_BYTES) {
        const uint32_t scale = word_at(bytes);

        if (!lpt_is_positive_normal(scale)) {
            return false;
        }
        weights->scales[i] = lpt_binary32(scale);
        weights->biases[i] = (int32_t)word_at(bytes + 4);
    }
    return true;
}

lpt_fault lpt_load_weights(lpt_emulator *emulator, const lpt_weights_shape *shape,
                           const lpt_weights *weights)
{
    const lpt_slice *slice = &shape->slice;
    const uint8_t *bytes = lpt_internal(emulator, slice->address);
    const uint32_t table_bytes = CHANNEL_BYTES * shape->outputs;
    lpt_fault fault = {LPT_FAULT_NONE, shape->word, slice->address};

    if (slice->bytes < table_bytes) {
        fault.code = LPT_FAULT_WEIGHT_STREAM;
    } else if (!read_channels(bytes, shape->outputs, weights)) {
        fault.code = LPT_FAULT_BAD_SCALE;
    } else if (!decode_slice(emulator, shape, bytes + table_bytes, slice->bytes - table_bytes)) {
        fault.code = LPT_FAULT_WEIGHT_STREAM;
    } else if (shape->depthwise) {
        order_depthwise(shape, emulator->decoded, weights->values);
    } else {
        order_dense(shape, emulator->decoded, weights->values);
    }
    return fault;
}
