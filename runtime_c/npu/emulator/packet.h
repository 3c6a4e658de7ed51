/* packet.h: a fetched packet, its fields by name, and the operands that several opcodes share. */
#ifndef LEPTON_NPU_EMULATOR_PACKET_H
#define LEPTON_NPU_EMULATOR_PACKET_H

#include <stdbool.h>
#include <string.h>

#include "emulator.h"
#include "lepton/lepton.h"

/* The word of a field: LPT_WORD(LPT_CONV_IFM_HEIGHT). */
#define LPT_FIRST_OF_THREE(word, shift, mask) (word)
#define LPT_WORD(field) LPT_FIRST_OF_THREE_EXPANDED(field)
#define LPT_FIRST_OF_THREE_EXPANDED(...) LPT_FIRST_OF_THREE(__VA_ARGS__)

#define LPT_REGION_OF(address) ((address) >> LPT_OFFSET_BITS)
#define LPT_OFFSET_OF(address) ((address) & ((1u << LPT_OFFSET_BITS) - 1u))

typedef struct {
    uint32_t pc;
    uint32_t words[LPT_MAX_PACKET_WORDS];
} lpt_packet;

/* A feature map without its shape. */
typedef struct {
    uint32_t address;
    uint32_t row_stride;
    uint32_t pixel_stride;
    uint32_t ring_rows;
    uint32_t ring_start;
} lpt_map;

/* A weight slice in WBUF or SPM. */
typedef struct {
    uint32_t address;
    uint32_t bytes;
    uint32_t encoding;
} lpt_slice;

/* CONV, DEPTHWISE, SEPARABLE and POOL; members that an opcode lacks are neutral. */
typedef struct {
    uint32_t opcode;
    lpt_map ifm;
    lpt_map ofm;
    lpt_map residual;
    uint32_t ifm_height;
    uint32_t ifm_width;
    uint32_t ifm_channels;
    uint32_t ofm_height;
    uint32_t ofm_width;
    uint32_t ofm_channels;
    uint32_t kernel_height;
    uint32_t kernel_width;
    uint32_t stride_y;
    uint32_t stride_x;
    uint32_t dilation_y;
    uint32_t dilation_x;
    uint32_t upsample_y;
    uint32_t upsample_x;
    int32_t pad_top;
    int32_t pad_left;
    int32_t ofm_zero_point;
    int32_t ifm_zero_point;
    int32_t clamp_low;
    int32_t clamp_high;
    lpt_slice weights;
    uint32_t mode;
    uint32_t groups;
    uint32_t epilogue;
    uint32_t result_scale; /* binary32 as it is encoded, like all scales here */
    uint32_t residual_scale;
    uint32_t add_offset;
    int32_t add_low;
    int32_t add_high;
    uint32_t table_address;
    lpt_slice stage_weights;
    uint32_t stage_mode;
    int32_t stage_zero_point;
    int32_t stage_low;
    int32_t stage_high;
    uint32_t kind; /* POOL from here on */
    int32_t sum_zero_point;
    uint32_t scale;
} lpt_windowed;

typedef struct {
    uint32_t lhs_address;
    uint32_t lhs_row_stride;
    uint32_t lhs_batch_stride;
    uint32_t rhs_address;
    uint32_t rhs_depth_stride;
    uint32_t rhs_column_stride;
    uint32_t rhs_batch_stride;
    uint32_t ofm_address;
    uint32_t ofm_row_stride;
    uint32_t ofm_batch_stride;
    uint32_t batch;
    uint32_t rows;
    uint32_t columns;
    uint32_t depth;
    int32_t lhs_zero_point;
    int32_t rhs_zero_point;
    int32_t ofm_zero_point;
    uint32_t mode;
    int32_t clamp_low;
    int32_t clamp_high;
    uint32_t scale;
    uint32_t epilogue;
    uint32_t table_address;
} lpt_matmul;

typedef struct {
    lpt_map lhs;
    lpt_map rhs;
    lpt_map ofm;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t kind;
    uint32_t epilogue;
    uint32_t rhs_repeats_channel;
    uint32_t lhs_scale;
    uint32_t rhs_scale;
    uint32_t offset;
    int32_t lhs_zero_point;
    int32_t rhs_zero_point;
    int32_t clamp_low;
    int32_t clamp_high;
    uint32_t table_address;
} lpt_elementwise;

typedef struct {
    lpt_map ifm;
    lpt_map ofm;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t table_address;
} lpt_table;

typedef struct {
    uint32_t source;
    uint32_t target;
    uint32_t run_bytes;
    uint32_t counts[3]; /* loop 1 first */
    int32_t source_strides[3];
    int32_t target_strides[3];
    uint32_t fill;
    uint32_t fill_byte;
} lpt_dma;

static inline uint32_t lpt_get(const uint32_t *words, uint32_t word, uint32_t shift, uint32_t mask)
{
    return (words[word] >> shift) & mask;
}

static inline int32_t lpt_get_signed(const uint32_t *words, uint32_t word, uint32_t shift,
                                     uint32_t mask)
{
    const uint32_t sign = (mask >> 1) + 1u;

    return (int32_t)((((words[word] >> shift) & mask) ^ sign) - sign);
}

static inline float lpt_binary32(uint32_t bits)
{
    float number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

lpt_windowed lpt_windowed_of(const uint32_t *words);
lpt_matmul lpt_matmul_of(const uint32_t *words);
lpt_elementwise lpt_elementwise_of(const uint32_t *words);
lpt_table lpt_table_of(const uint32_t *words);
lpt_dma lpt_dma_of(const uint32_t *words);

#endif
