/* emulator.h: the tensor engine of lepton-npu in software, docs/lepton-npu.md; the host's tests, `lepton run` and firmware in Unicorn drive it.
 *
 * The caller gives all memory and the bus. A store of RUN to CTRL begins a run;
 * `lpt_emulator_advance` lets time pass. Same registers, faults, cycles and bytes as the hardware.
 */
#ifndef LEPTON_NPU_EMULATOR_H
#define LEPTON_NPU_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

#include "lepton/npu_isa.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LPT_MAX_MODES 16u
#define LPT_COST_UNIT 4096u /* costs of the epilogue are in 1 / 4096 cycle an element */
#define LPT_RATE_UNIT 16u   /* rates of memories are in 1 / 16 byte a cycle */

/* How the array walks the products of an output: codegen/npu/isa/family.py, Reduction. */
#define LPT_REDUCTION_FLATTENED 0u
#define LPT_REDUCTION_BY_TAP 1u
#define LPT_REDUCTION_BY_TAP_GROUP 2u

typedef struct {
    uint32_t rows;
    uint32_t columns;
    uint32_t outputs;
    uint32_t depth;
    uint32_t reduction;
} lpt_array_mode;

typedef struct {
    uint32_t rows;
    uint32_t columns;
    uint32_t channels;
    uint32_t taps;
    uint32_t cycles;
} lpt_depthwise_mode;

/* Cost of one element in each unit of the epilogue, in 1 / LPT_COST_UNIT cycle. */
typedef struct {
    uint32_t requantize;
    uint32_t add;
    uint32_t mul;
    uint32_t table;
    uint32_t fused_add;
    uint32_t fused_table;
} lpt_epilogue_costs;

/* An external memory. */
typedef struct {
    uint32_t rate;    /* 1 / LPT_RATE_UNIT byte a cycle, not 0 */
    uint32_t latency; /* cycles */
} lpt_port;

/* Everything that decides how long a packet takes, and what fits: codegen/npu/machine.py, Machine. */
typedef struct {
    uint32_t macs;
    uint32_t lanes;
    uint32_t spm_bytes;
    uint32_t wbuf_bytes;
    uint32_t accumulators;
    uint32_t line_buffer_bytes;
    uint32_t decoder_weights; /* a multiple of 8, at most 256 */
    uint32_t capabilities;    /* LPT_CAPABILITY_* */
    uint32_t setup_cycles;
    uint32_t prefix_divisor;  /* how much slower PREFIX slices are decoded, not 0 */
    uint32_t spm_rate;            /* 1 / LPT_RATE_UNIT byte a cycle, not 0 */
    uint32_t constants_in_spm;    /* 1: weight slices count as scratchpad traffic */
    lpt_port constants;           /* regions STREAM and CONSTANTS */
    lpt_port system;              /* all other external regions */
    lpt_epilogue_costs costs;
    uint32_t num_modes;
    uint32_t num_depthwise_modes;
    lpt_array_mode modes[LPT_MAX_MODES];
    lpt_depthwise_mode depthwise_modes[LPT_MAX_MODES];
} lpt_config;

/* The system's memory as the engine, a bus master, sees it. Each function returns 0, or another
 * number for a refused access, which becomes the fault BUS_ERROR. Addresses do not wrap. */
typedef struct {
    void *context;
    int32_t (*read)(void *context, uint32_t address, void *target, uint32_t size_bytes);
    int32_t (*write)(void *context, uint32_t address, const void *source, uint32_t size_bytes);
} lpt_bus;

/* Terms of the cycle equation of one packet, and what the counters count of it. */
typedef struct {
    uint64_t setup;
    uint64_t array;
    uint64_t epilogue;
    uint64_t scratchpad;
    uint64_t weights;
    uint64_t transfer; /* DMA */
    uint64_t macs;
    uint64_t outputs;
    uint64_t scratchpad_bytes;
    uint64_t weights_decoded;
} lpt_cycles;

/* A packet that has retired. */
typedef struct {
    uint32_t pc; /* byte offset in region 0 */
    uint32_t opcode;
    uint32_t sequence;
    uint32_t layer;
    uint64_t begin;
    uint64_t completion;
    lpt_cycles cycles;
} lpt_retired;

/* Called for each packet that retires, in that order; `retired` may be NULL. */
typedef struct {
    void *context;
    void (*retired)(void *context, const lpt_retired *record);
} lpt_hooks;

typedef struct lpt_emulator lpt_emulator;

/* Fills `config` with a member of the family; returns 0 if there is none of so many MACs. */
int32_t lpt_config_native(lpt_config *config, uint32_t macs, lpt_port constants, lpt_port system);

/* Bytes that an emulator takes, any alignment; 0 if the configuration is impossible. Much of it is
 * touched only by large packets. */
size_t lpt_emulator_bytes(const lpt_config *config);

/* Powers an engine up in `memory` of `size_bytes`. `bus` and `config` are copied. Returns NULL if
 * the configuration is impossible or the memory too small. */
lpt_emulator *lpt_emulator_create(void *memory, size_t size_bytes, const lpt_config *config,
                                  const lpt_bus *bus);

/* Installs hooks; NULL takes them away. */
void lpt_emulator_set_hooks(lpt_emulator *emulator, const lpt_hooks *hooks);

/* The host's load and store of the register at a byte offset. Offsets without a register, or not
 * divisible by 4, read 0 and ignore stores. */
uint32_t lpt_emulator_load(const lpt_emulator *emulator, uint32_t offset);
void lpt_emulator_store(lpt_emulator *emulator, uint32_t offset, uint32_t value);

/* Lets up to `cycles` cycles of a run pass; returns LPT_STATUS_*. Nothing happens while idle. */
uint32_t lpt_emulator_advance(lpt_emulator *emulator, uint64_t cycles);

/* 1 while an interrupt that IRQ_MASK lets through is raised. */
uint32_t lpt_emulator_interrupt(const lpt_emulator *emulator);

/* The internal memories, for tests: the host of a real engine cannot see them. */
uint8_t *lpt_emulator_scratchpad(lpt_emulator *emulator);
uint8_t *lpt_emulator_weight_buffer(lpt_emulator *emulator);

/* The cycle equation of the packet in `words` (LPT_*_WORDS of its opcode, with legal fields).
 * Returns 0 if the accumulators hold no tile of it: fault EXCEEDS_CAPACITY. */
int32_t lpt_packet_cycles(const lpt_config *config, const uint32_t *words, lpt_cycles *cycles);

/* Cycles from begin to completion. */
uint64_t lpt_total_cycles(const lpt_cycles *cycles);

/* CRC-32C (RFC 3720): start with 0, give the result for the bytes that follow. */
uint32_t lpt_crc32c(uint32_t crc, const void *bytes, size_t size_bytes);

#ifdef __cplusplus
}
#endif
#endif
