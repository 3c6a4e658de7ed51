/* state.h: the emulator's state and what its files call of each other. */
#ifndef LEPTON_NPU_EMULATOR_STATE_H
#define LEPTON_NPU_EMULATOR_STATE_H

#include "packet.h"

#define LPT_NUM_TOKENS 8u
#define LPT_MAX_CHANNELS 65536u
#define LPT_TABLE_BYTES 256u
#define LPT_TRACE_BYTES 16u
#define LPT_BOUNCE_BYTES 65536u
#define LPT_PREFETCH_BYTES 4096u
#define LPT_MAX_BLOCK 16u                     /* pixels computed together */
#define LPT_MAX_SUMS (2u * LPT_MAX_CHANNELS)  /* of a block */
#define LPT_WEIGHTS_PER_BYTE 8u               /* of SPM: the most that a slice holds */

LEPTON_STATIC_ASSERT(LPT_MAX_SUMS >= LPT_MAX_CHANNELS, a_pixel_fits);

typedef struct {
    uint32_t code;
    uint32_t word;    /* of the packet */
    uint32_t address; /* region in bits 31:28 */
} lpt_fault;

typedef enum {
    LPT_QUEUE_FREE,    /* its next packet is not fetched */
    LPT_QUEUE_WAITING, /* fetched; waits for tokens */
    LPT_QUEUE_BUSY,    /* begun */
    LPT_QUEUE_PARKED   /* at a packet that belongs to both queues */
} lpt_queue_state;

/* What a fetch unit has read ahead. */
typedef struct {
    uint32_t begin; /* byte offset in region 0 */
    uint32_t size;
    uint8_t bytes[LPT_PREFETCH_BYTES];
} lpt_prefetch;

/* A queue with its fetch unit. */
typedef struct {
    lpt_queue_state state;
    lpt_prefetch prefetch;
    uint32_t position; /* byte offset in region 0 of the next packet to look at */
    uint32_t sequence; /* that it must have */
    lpt_packet packet;
    lpt_cycles cycles;
    uint64_t begin;
    uint64_t completion;
} lpt_queue;

typedef struct {
    uint32_t base;
    uint32_t size;
    uint32_t attributes;
} lpt_region;

/* A decoded weight slice: CONV [output][product], DEPTHWISE [tap][channel]. */
typedef struct {
    int16_t *values;
    float *scales;
    int32_t *biases;
} lpt_weights;

struct lpt_emulator {
    lpt_config config;
    lpt_bus bus;
    lpt_hooks hooks;
    uint8_t *spm;
    uint8_t *wbuf;
    lpt_weights weights[2];   /* of the packet; of the depthwise stage of SEPARABLE */
    int8_t *decoded;          /* a slice in the order of its stream */
    size_t max_weights;       /* capacity of `decoded`, of `values`, of `patches` */
    int16_t *patches;         /* inputs of a block of pixels, zero points taken away */
    int32_t *sums;            /* [LPT_MAX_SUMS] */
    int8_t *pixel;            /* [LPT_MAX_CHANNELS] */
    int8_t *row;              /* the row of a result before it is stored, as large as SPM */
    uint8_t *bounce;          /* [LPT_BOUNCE_BYTES] on the way from bus to bus */
    uint32_t status;
    uint32_t qbase;
    uint32_t qsize;
    uint32_t qread;
    uint32_t watchdog;
    uint32_t irq_raw;
    uint32_t irq_mask;
    uint32_t irq_tag;
    uint32_t fault_pc;
    uint32_t fault_layer;
    lpt_fault fault;
    lpt_region regions[LPT_NUM_REGIONS];
    uint64_t counters[LPT_NUM_COUNTERS];
    uint64_t now;
    uint32_t tokens[LPT_NUM_TOKENS];
    uint32_t trace_position;
    lpt_queue queues[2]; /* DMA, compute */
};

enum { LPT_DMA_QUEUE = 0, LPT_COMPUTE_QUEUE = 1 };

static inline bool lpt_is_internal(uint32_t region)
{
    return region == LPT_REGION_SPM || region == LPT_REGION_WBUF;
}

/* A byte of SPM or WBUF that a check has found to be there. */
static inline uint8_t *lpt_internal(const lpt_emulator *emulator, uint32_t address)
{
    uint8_t *memory =
        LPT_REGION_OF(address) == LPT_REGION_SPM ? emulator->spm : emulator->wbuf;

    return memory + LPT_OFFSET_OF(address);
}

/* Element (y, 0, 0) of a map in SPM. */
static inline uint8_t *lpt_row_of(const lpt_emulator *emulator, const lpt_map *map, uint32_t y)
{
    const uint32_t row = map->ring_rows != 0u ? (map->ring_start + y) % map->ring_rows : y;

    return lpt_internal(emulator, map->address) + (size_t)row * map->row_stride;
}

/* bus.c: external regions by offset; each returns false if the bus refuses. */
bool lpt_bus_read(lpt_emulator *emulator, uint32_t region, uint64_t offset, void *target,
                  uint32_t size_bytes);
bool lpt_bus_write(lpt_emulator *emulator, uint32_t region, uint64_t offset, const void *source,
                   uint32_t size_bytes);

/* checks.c: bits that no field claims. */
lpt_fault lpt_check_reserved(const lpt_emulator *emulator, const lpt_packet *packet);
/* All that can be said of a packet that begins, but the content of its weight slices. Computes its
 * cycles. */
lpt_fault lpt_check_packet(const lpt_emulator *emulator, const lpt_packet *packet,
                           lpt_cycles *cycles);

/* fetch.c: CHECK and the structure of the whole stream, before anything runs. `packet` is CHECK, or
 * the packet at fault. */
lpt_fault lpt_check_stream(lpt_emulator *emulator, lpt_packet *packet);
/* Gives a free queue its next packet, or parks it at one for both queues. */
lpt_fault lpt_fetch(lpt_emulator *emulator, uint32_t queue);

/* run.c: RUN and HALT of CTRL. */
void lpt_begin_run(lpt_emulator *emulator);
void lpt_halt(lpt_emulator *emulator);

/* What packets do at their completion. Each returns the fault that kept it from writing. */
lpt_fault lpt_execute(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_convolution(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_matmul(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_elementwise(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_pool(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_table(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_dma(lpt_emulator *emulator, const lpt_packet *packet);
lpt_fault lpt_execute_trace(lpt_emulator *emulator, const lpt_packet *packet);

/* weights.c: decodes a slice of [outputs][products], or [taps][channels] if depthwise. `word` is
 * the packet's word of the slice's address. */
typedef struct {
    lpt_slice slice;
    uint32_t word;
    uint32_t outputs; /* all groups */
    uint32_t products;
    uint32_t groups;
    uint32_t tile; /* outputs side by side in the stream */
    bool depthwise;
} lpt_weights_shape;

lpt_fault lpt_load_weights(lpt_emulator *emulator, const lpt_weights_shape *shape,
                           const lpt_weights *weights);

/* prefix.c: `count` weights in canonical prefix code; returns the bytes that they take, 0 if the
 * stream is not what it should be. */
size_t lpt_decode_prefix(const uint8_t *bytes, size_t size_bytes, uint32_t lanes, size_t count,
                         int8_t *weights);

#endif
