/* prefix.c: decodes weights in canonical prefix code; docs/lepton-npu.md, section 7. */

#include "state.h"

#define MAX_LENGTH 15u
#define MAX_SYMBOLS 256u
#define MAX_LANES 32u

typedef struct {
    uint32_t codes[MAX_LENGTH + 1u]; /* number of codes of each length */
    int8_t symbols[MAX_SYMBOLS];     /* in the order of their codes */
} code_table;

/* Bits of one lane; `position` may pass the end, which is checked when the lane is done. */
typedef struct {
    const uint8_t *bytes;
    uint32_t num_bits;
    uint32_t position;
} lane;

static bool is_complete(const code_table *table)
{
    uint32_t used = 0u;
    uint32_t length;

    for (length = 1u; length <= MAX_LENGTH; ++length) {
        used += table->codes[length] << (MAX_LENGTH - length);
    }
    return used == 1u << MAX_LENGTH || (used == 1u << (MAX_LENGTH - 1u) && table->codes[1] == 1u);
}

static uint32_t length_of(const uint8_t *lengths, uint32_t symbol)
{
    return (uint32_t)lengths[symbol / 2u] >> (symbol % 2u * 4u) & 15u;
}

static bool read_table(const uint8_t *lengths, uint32_t num_symbols, int32_t least,
                       code_table *table)
{
    uint32_t next = 0u;
    uint32_t length;
    uint32_t symbol;

    memset(table->codes, 0, sizeof table->codes);
    for (length = 1u; length <= MAX_LENGTH; ++length) {
        for (symbol = 0u; symbol < num_symbols; ++symbol) {
            if (length_of(lengths, symbol) == length) {
                table->symbols[next] = (int8_t)(least + (int32_t)symbol);
                ++next;
                ++table->codes[length];
            }
        }
    }
    return is_complete(table);
}

/* The next symbol's place in `symbols`; MAX_SYMBOLS if there is no such code or no more bits. */
static uint32_t next_symbol(const code_table *table, lane *from)
{
    uint32_t code = 0u;
    uint32_t first = 0u; /* code of the first symbol of this length */
    uint32_t index = 0u; /* of that symbol */
    uint32_t length;

    for (length = 1u; length <= MAX_LENGTH && from->position < from->num_bits; ++length) {
        code |= (uint32_t)from->bytes[from->position / 8u] >> from->position % 8u & 1u;
        ++from->position;
        if (code - first < table->codes[length]) {
            return index + (code - first);
        }
        index += table->codes[length];
        first = (first + table->codes[length]) << 1;
        code <<= 1;
    }
    return MAX_SYMBOLS;
}

/* A lane ends in the byte of its last bit, with zeros. */
static bool is_used_up(const lane *of)
{
    if (of->num_bits - of->position >= 8u) {
        return false;
    }
    return of->position == of->num_bits ||
           of->bytes[of->position / 8u] >> of->position % 8u == 0u;
}

size_t lpt_decode_prefix(const uint8_t *bytes, size_t size_bytes, uint32_t lanes, size_t count,
                         int8_t *weights)
{
    const size_t table_begin = 4u + 2u * (size_t)lanes;
    const uint32_t num_symbols = size_bytes >= 4u ? bytes[1] + 1u : 0u;
    const size_t table_bytes = (num_symbols + 7u) / 8u * 4u;
    size_t end = table_begin + table_bytes;
    lane of[MAX_LANES];
    code_table table;
    size_t i;

    if (num_symbols == 0u || end > size_bytes || bytes[2] != 0u || bytes[3] != 0u ||
        (int8_t)bytes[0] + (int32_t)num_symbols - 1 > INT8_MAX ||
        !read_table(bytes + table_begin, num_symbols, (int8_t)bytes[0], &table)) {
        return 0u;
    }
    for (i = num_symbols; i < 2u * table_bytes; ++i) {
        if (length_of(bytes + table_begin, (uint32_t)i) != 0u) {
            return 0u;
        }
    }
    for (i = 0u; i < lanes; ++i) {
        const uint32_t lane_bytes = (uint32_t)bytes[4u + 2u * i] |
                                    (uint32_t)bytes[5u + 2u * i] << 8;

        if (lane_bytes > size_bytes - end) {
            return 0u;
        }
        of[i] = (lane){bytes + end, 8u * lane_bytes, 0u};
        end += lane_bytes;
    }
    for (i = 0u; i < count; ++i) {
        const uint32_t index = next_symbol(&table, &of[i % lanes]);

        if (index == MAX_SYMBOLS) {
            return 0u;
        }
        weights[i] = table.symbols[index];
    }
    for (i = 0u; i < lanes; ++i) {
        if (!is_used_up(&of[i])) {
            return 0u;
        }
    }
    return end;
}
