/* device.c: the engine as its host sees it: memory layout, power-up, registers, interrupts. */

#include "state.h"

#if defined(__has_feature)
#define HAS_ADDRESS_SANITIZER __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#else
#define HAS_ADDRESS_SANITIZER 0
#endif
#if HAS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#define FORBID(address, size) __asan_poison_memory_region((address), (size))
#define PERMIT(address, size) __asan_unpoison_memory_region((address), (size))
#else
#define FORBID(address, size) ((void)(address), (void)(size))
#define PERMIT(address, size) ((void)(address), (void)(size))
#endif

#define ALIGNMENT 64u
#define KIB 1024u
#define HARDWARE_VERSION 0x00010000u
#define BUILD_EMULATOR 0x4C554D45u /* "EMUL" in memory order */
#define MAX_DECODER_WEIGHTS 256u
#define MAX_MEMORY_BYTES (1u << LPT_OFFSET_BITS)

/* lepton_cc/npu/abi.py has the same layouts. */
LEPTON_STATIC_ASSERT(sizeof(lpt_config) == 4u * (24u + 2u * 5u * LPT_MAX_MODES), config_layout);
LEPTON_STATIC_ASSERT(sizeof(lpt_cycles) == 80u, cycles_layout);
LEPTON_STATIC_ASSERT(sizeof(lpt_retired) == 32u + sizeof(lpt_cycles), retired_layout);

static size_t aligned(size_t size)
{
    return (size + (ALIGNMENT - 1u)) / ALIGNMENT * ALIGNMENT;
}

static bool modes_are_possible(const lpt_config *config)
{
    uint32_t i;

    if (config->num_modes == 0u || config->num_modes > LPT_MAX_MODES ||
        config->num_depthwise_modes == 0u || config->num_depthwise_modes > LPT_MAX_MODES) {
        return false;
    }
    for (i = 0u; i < config->num_modes; ++i) {
        const lpt_array_mode *mode = &config->modes[i];

        if (mode->rows == 0u || mode->columns == 0u || mode->outputs == 0u ||
            mode->depth == 0u || mode->reduction > LPT_REDUCTION_BY_TAP_GROUP) {
            return false;
        }
    }
    for (i = 0u; i < config->num_depthwise_modes; ++i) {
        const lpt_depthwise_mode *mode = &config->depthwise_modes[i];

        if (mode->rows == 0u || mode->columns == 0u || mode->channels == 0u ||
            mode->taps == 0u || mode->cycles == 0u) {
            return false;
        }
    }
    return true;
}

static bool is_possible(const lpt_config *config)
{
    return config->spm_bytes != 0u && config->spm_bytes <= MAX_MEMORY_BYTES &&
           config->wbuf_bytes != 0u && config->wbuf_bytes <= MAX_MEMORY_BYTES &&
           config->decoder_weights != 0u && config->decoder_weights % 8u == 0u &&
           config->decoder_weights <= MAX_DECODER_WEIGHTS && config->spm_rate != 0u &&
           config->prefix_divisor != 0u &&
           config->constants.rate != 0u && config->system.rate != 0u &&
           modes_are_possible(config);
}

/* Of a slice; products of an output and channels of a depthwise stage are no more than that. */
static size_t max_weights(const lpt_config *config)
{
    return LPT_WEIGHTS_PER_BYTE * (size_t)config->spm_bytes;
}

/* What lies behind the state, in this order. */
typedef enum {
    PIECE_SPM,
    PIECE_WBUF,
    PIECE_VALUES,
    PIECE_SCALES,
    PIECE_BIASES,
    PIECE_STAGE_VALUES,
    PIECE_STAGE_SCALES,
    PIECE_STAGE_BIASES,
    PIECE_DECODED,
    PIECE_PATCHES,
    PIECE_SUMS,
    PIECE_PIXEL,
    PIECE_ROW,
    PIECE_BOUNCE,
    NUM_PIECES
} piece;

static size_t piece_bytes(const lpt_config *config, piece which)
{
    switch (which) {
    case PIECE_SPM:
    case PIECE_ROW:
        return config->spm_bytes;
    case PIECE_WBUF:
        return config->wbuf_bytes;
    case PIECE_VALUES:
    case PIECE_STAGE_VALUES:
    case PIECE_PATCHES:
        return max_weights(config) * sizeof(int16_t);
    case PIECE_SCALES:
    case PIECE_STAGE_SCALES:
        return LPT_MAX_CHANNELS * sizeof(float);
    case PIECE_BIASES:
    case PIECE_STAGE_BIASES:
        return LPT_MAX_CHANNELS * sizeof(int32_t);
    case PIECE_DECODED:
        return max_weights(config);
    case PIECE_SUMS:
        return LPT_MAX_SUMS * sizeof(int32_t);
    case PIECE_PIXEL:
        return LPT_MAX_CHANNELS;
    default:
        return LPT_BOUNCE_BYTES;
    }
}

/* Between the pieces lies what nobody may touch. */
static void lay_out(lpt_emulator *emulator, uint8_t *next)
{
    uint8_t *pieces[NUM_PIECES];
    uint32_t i;

    for (i = 0u; i < NUM_PIECES; ++i) {
        pieces[i] = next;
        next += aligned(piece_bytes(&emulator->config, (piece)i)) + ALIGNMENT;
        FORBID(next - ALIGNMENT, ALIGNMENT);
    }
    emulator->max_weights = max_weights(&emulator->config);
    emulator->spm = pieces[PIECE_SPM];
    emulator->wbuf = pieces[PIECE_WBUF];
    emulator->weights[0].values = (int16_t *)(void *)pieces[PIECE_VALUES];
    emulator->weights[0].scales = (float *)(void *)pieces[PIECE_SCALES];
    emulator->weights[0].biases = (int32_t *)(void *)pieces[PIECE_BIASES];
    emulator->weights[1].values = (int16_t *)(void *)pieces[PIECE_STAGE_VALUES];
    emulator->weights[1].scales = (float *)(void *)pieces[PIECE_STAGE_SCALES];
    emulator->weights[1].biases = (int32_t *)(void *)pieces[PIECE_STAGE_BIASES];
    emulator->decoded = (int8_t *)pieces[PIECE_DECODED];
    emulator->patches = (int16_t *)(void *)pieces[PIECE_PATCHES];
    emulator->sums = (int32_t *)(void *)pieces[PIECE_SUMS];
    emulator->pixel = (int8_t *)pieces[PIECE_PIXEL];
    emulator->row = (int8_t *)pieces[PIECE_ROW];
    emulator->bounce = pieces[PIECE_BOUNCE];
}

size_t lpt_emulator_bytes(const lpt_config *config)
{
    size_t bytes = ALIGNMENT + aligned(sizeof(lpt_emulator));
    uint32_t i;

    if (!is_possible(config)) {
        return 0u;
    }
    for (i = 0u; i < NUM_PIECES; ++i) {
        bytes += aligned(piece_bytes(config, (piece)i)) + ALIGNMENT;
    }
    return bytes;
}

static void reset(lpt_emulator *emulator)
{
    memset(emulator->spm, 0, emulator->config.spm_bytes);
    memset(emulator->wbuf, 0, emulator->config.wbuf_bytes);
    memset(emulator->counters, 0, sizeof emulator->counters);
    memset(emulator->tokens, 0, sizeof emulator->tokens);
    memset(emulator->queues, 0, sizeof emulator->queues);
    memset(&emulator->fault, 0, sizeof emulator->fault);
    emulator->status = LPT_STATUS_IDLE;
    emulator->qbase = 0u;
    emulator->qsize = 0u;
    emulator->qread = 0u;
    emulator->watchdog = 0u;
    emulator->irq_raw = 0u;
    emulator->irq_mask = 0u;
    emulator->irq_tag = 0u;
    emulator->fault_pc = 0u;
    emulator->fault_layer = 0u;
    emulator->trace_position = 0u;
    emulator->now = 0u;
}

lpt_emulator *lpt_emulator_create(void *memory, size_t size_bytes, const lpt_config *config,
                                  const lpt_bus *bus)
{
    const size_t needed = lpt_emulator_bytes(config);
    const lpt_region internal = {0u, 0u, LPT_REGION_ATTR_READ | LPT_REGION_ATTR_WRITE};
    uint8_t *first = (uint8_t *)memory;
    lpt_emulator *emulator;

    if (memory == NULL || needed == 0u || size_bytes < needed) {
        return NULL;
    }
    first += (ALIGNMENT - (uintptr_t)first % ALIGNMENT) % ALIGNMENT;
    emulator = (lpt_emulator *)(void *)first;
    PERMIT(memory, needed);
    memset(emulator, 0, sizeof *emulator);
    emulator->config = *config;
    emulator->bus = *bus;
    lay_out(emulator, first + aligned(sizeof *emulator));
    emulator->regions[LPT_REGION_SPM] = internal;
    emulator->regions[LPT_REGION_SPM].size = config->spm_bytes;
    emulator->regions[LPT_REGION_WBUF] = internal;
    emulator->regions[LPT_REGION_WBUF].size = config->wbuf_bytes;
    reset(emulator);
    return emulator;
}

void lpt_emulator_set_hooks(lpt_emulator *emulator, const lpt_hooks *hooks)
{
    static const lpt_hooks none;

    emulator->hooks = hooks != NULL ? *hooks : none;
}

static uint32_t load_capabilities(const lpt_config *config, uint32_t offset)
{
    switch (offset) {
    case LPT_REG_CAPS0:
        return config->capabilities;
    case LPT_REG_CAPS1:
        return config->macs | config->lanes << 16;
    case LPT_REG_CAPS2:
        return config->spm_bytes / KIB | config->wbuf_bytes / KIB << 16;
    default:
        return config->accumulators | config->line_buffer_bytes / KIB << 16;
    }
}

static uint32_t load_status(const lpt_emulator *emulator)
{
    const bool is_running = emulator->status == LPT_STATUS_RUNNING;
    const uint32_t dma = is_running && emulator->queues[0].state == LPT_QUEUE_BUSY ? 1u : 0u;
    const uint32_t compute = is_running && emulator->queues[1].state == LPT_QUEUE_BUSY ? 1u : 0u;

    return emulator->status | dma << 8 | compute << 9;
}

static uint32_t load_region(const lpt_emulator *emulator, uint32_t offset)
{
    const uint32_t inside = offset - LPT_REG_REGION_BASE;
    const lpt_region *region = &emulator->regions[inside / LPT_REG_REGION_BASE_STRIDE];

    switch (LPT_REG_REGION_BASE + inside % LPT_REG_REGION_BASE_STRIDE) {
    case LPT_REG_REGION_BASE:
        return region->base;
    case LPT_REG_REGION_SIZE:
        return region->size;
    case LPT_REG_REGION_ATTR:
        return region->attributes;
    default:
        return 0u;
    }
}

static uint32_t load_counter(const lpt_emulator *emulator, uint32_t offset)
{
    const uint32_t inside = offset - LPT_REG_PMU_COUNT;
    const uint64_t count = emulator->counters[inside / LPT_REG_PMU_COUNT_STRIDE];

    return (uint32_t)(inside % LPT_REG_PMU_COUNT_STRIDE == 0u ? count : count >> 32);
}

static bool is_region_register(uint32_t offset)
{
    return offset >= LPT_REG_REGION_BASE &&
           offset < LPT_REG_REGION_BASE + LPT_NUM_REGIONS * LPT_REG_REGION_BASE_STRIDE;
}

static bool is_counter_register(uint32_t offset)
{
    return offset >= LPT_REG_PMU_COUNT &&
           offset < LPT_REG_PMU_COUNT + LPT_NUM_COUNTERS * LPT_REG_PMU_COUNT_STRIDE;
}

uint32_t lpt_emulator_load(const lpt_emulator *emulator, uint32_t offset)
{
    if (offset % 4u != 0u) {
        return 0u;
    }
    if (is_region_register(offset)) {
        return load_region(emulator, offset);
    }
    if (is_counter_register(offset)) {
        return load_counter(emulator, offset);
    }
    switch (offset) {
    case LPT_REG_ID:
        return LPT_ID_VALUE;
    case LPT_REG_HWVER:
        return HARDWARE_VERSION;
    case LPT_REG_ABI:
        return LPT_ABI_MAJOR << 16 | LPT_ABI_MINOR;
    case LPT_REG_CAPS0:
    case LPT_REG_CAPS1:
    case LPT_REG_CAPS2:
    case LPT_REG_CAPS3:
        return load_capabilities(&emulator->config, offset);
    case LPT_REG_BUILD:
        return BUILD_EMULATOR;
    case LPT_REG_STATUS:
        return load_status(emulator);
    case LPT_REG_QBASE:
        return emulator->qbase;
    case LPT_REG_QSIZE:
        return emulator->qsize;
    case LPT_REG_QREAD:
        return emulator->qread;
    case LPT_REG_WDOG:
        return emulator->watchdog;
    case LPT_REG_IRQ_RAW:
        return emulator->irq_raw;
    case LPT_REG_IRQ_MASK:
        return emulator->irq_mask;
    case LPT_REG_IRQ_TAG:
        return emulator->irq_tag;
    case LPT_REG_FAULT_CODE:
        return emulator->fault.code;
    case LPT_REG_FAULT_PC:
        return emulator->fault_pc;
    case LPT_REG_FAULT_ADDR:
        return emulator->fault.address;
    case LPT_REG_FAULT_INFO:
        return emulator->fault_layer << 16 | emulator->fault.word;
    default:
        return 0u;
    }
}

static void control(lpt_emulator *emulator, uint32_t value)
{
    if ((value & LPT_CTRL_SOFT_RESET) != 0u) {
        reset(emulator);
    } else if ((value & LPT_CTRL_HALT) != 0u) {
        lpt_halt(emulator);
    } else if ((value & LPT_CTRL_RUN) != 0u && (emulator->status == LPT_STATUS_IDLE ||
                                                emulator->status == LPT_STATUS_DONE)) {
        lpt_begin_run(emulator);
    }
}

static void store_region(lpt_emulator *emulator, uint32_t offset, uint32_t value)
{
    const uint32_t inside = offset - LPT_REG_REGION_BASE;
    const uint32_t index = inside / LPT_REG_REGION_BASE_STRIDE;
    lpt_region *region = &emulator->regions[index];

    if (lpt_is_internal(index) || index == LPT_RESERVED_REGION) {
        return;
    }
    switch (LPT_REG_REGION_BASE + inside % LPT_REG_REGION_BASE_STRIDE) {
    case LPT_REG_REGION_BASE:
        region->base = value & ~15u;
        break;
    case LPT_REG_REGION_SIZE:
        region->size = value;
        break;
    case LPT_REG_REGION_ATTR:
        region->attributes = value & (LPT_REGION_ATTR_READ | LPT_REGION_ATTR_WRITE);
        break;
    default:
        break;
    }
}

/* Registers that a run depends on. */
static void store_setting(lpt_emulator *emulator, uint32_t offset, uint32_t value)
{
    if (is_region_register(offset)) {
        store_region(emulator, offset, value);
    } else if (offset == LPT_REG_QBASE) {
        emulator->qbase = value;
    } else if (offset == LPT_REG_QSIZE) {
        emulator->qsize = value;
    } else if (offset == LPT_REG_WDOG) {
        emulator->watchdog = value;
    } else if (offset == LPT_REG_PMU_CTRL && (value & 1u) != 0u) {
        memset(emulator->counters, 0, sizeof emulator->counters);
    }
}

void lpt_emulator_store(lpt_emulator *emulator, uint32_t offset, uint32_t value)
{
    if (offset % 4u != 0u) {
        return;
    }
    switch (offset) {
    case LPT_REG_CTRL:
        control(emulator, value);
        break;
    case LPT_REG_IRQ_MASK:
        emulator->irq_mask = value;
        break;
    case LPT_REG_IRQ_CLEAR:
        emulator->irq_raw &= ~value;
        break;
    default:
        if (emulator->status != LPT_STATUS_RUNNING) {
            store_setting(emulator, offset, value);
        }
        break;
    }
}

uint32_t lpt_emulator_interrupt(const lpt_emulator *emulator)
{
    return (emulator->irq_raw & emulator->irq_mask) != 0u ? 1u : 0u;
}

uint8_t *lpt_emulator_scratchpad(lpt_emulator *emulator)
{
    return emulator->spm;
}

uint8_t *lpt_emulator_weight_buffer(lpt_emulator *emulator)
{
    return emulator->wbuf;
}
