/* fetch.c: the stream: CHECK, the structure of all packets, and the fetch unit of each queue. */

#include "state.h"

#define UNIT_BYTES 16u
#define BARRIER 2u

typedef struct {
    uint32_t words; /* 0: there is no such opcode */
    uint32_t queue; /* or BARRIER */
    uint32_t capability;
} format;

static format format_of(uint32_t opcode)
{
    switch (opcode) {
    case LPT_OPCODE_NOP:
        return (format){LPT_NOP_WORDS, LPT_COMPUTE_QUEUE, 0u};
    case LPT_OPCODE_CHECK:
        return (format){LPT_CHECK_WORDS, BARRIER, 0u};
    case LPT_OPCODE_DMA:
        return (format){LPT_DMA_WORDS, LPT_DMA_QUEUE, 0u};
    case LPT_OPCODE_CONV:
        return (format){LPT_CONV_WORDS, LPT_COMPUTE_QUEUE, 0u};
    case LPT_OPCODE_DEPTHWISE:
        return (format){LPT_DEPTHWISE_WORDS, LPT_COMPUTE_QUEUE, 0u};
    case LPT_OPCODE_MATMUL:
        return (format){LPT_MATMUL_WORDS, LPT_COMPUTE_QUEUE, LPT_CAPABILITY_MATMUL};
    case LPT_OPCODE_ELEMENTWISE:
        return (format){LPT_ELEMENTWISE_WORDS, LPT_COMPUTE_QUEUE, 0u};
    case LPT_OPCODE_POOL:
        return (format){LPT_POOL_WORDS, LPT_COMPUTE_QUEUE, 0u};
    case LPT_OPCODE_TABLE:
        return (format){LPT_TABLE_WORDS, LPT_COMPUTE_QUEUE, 0u};
    case LPT_OPCODE_SEPARABLE:
        return (format){LPT_SEPARABLE_WORDS, LPT_COMPUTE_QUEUE, LPT_CAPABILITY_SEPARABLE};
    case LPT_OPCODE_FENCE:
        return (format){LPT_FENCE_WORDS, BARRIER, 0u};
    case LPT_OPCODE_TRACE:
        return (format){LPT_TRACE_WORDS, LPT_COMPUTE_QUEUE, LPT_CAPABILITY_TRACE};
    case LPT_OPCODE_IRQ:
        return (format){LPT_IRQ_WORDS, BARRIER, 0u};
    case LPT_OPCODE_END:
        return (format){LPT_END_WORDS, BARRIER, 0u};
    default:
        return (format){0u, 0u, 0u};
    }
}

static lpt_fault fault_at(uint32_t code, uint32_t word)
{
    return (lpt_fault){code, word, 0u};
}

static uint32_t little_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* Offset in region 0 of the first byte behind the stream. */
static uint32_t stream_end(const lpt_emulator *emulator)
{
    return emulator->qbase + emulator->qsize;
}

/* The bytes at an offset, of which `available` are in the stream, at most a packet's; NULL if the
 * bus refuses. */
static const uint8_t *prefetch(lpt_emulator *emulator, lpt_prefetch *ahead, uint32_t offset,
                               uint32_t available)
{
    const uint32_t inside = offset - ahead->begin;

    if (offset < ahead->begin || inside > ahead->size || ahead->size - inside < available) {
        const uint32_t left = stream_end(emulator) - offset;

        ahead->begin = offset;
        ahead->size = left < LPT_PREFETCH_BYTES ? left : LPT_PREFETCH_BYTES;
        if (!lpt_bus_read(emulator, LPT_REGION_STREAM, offset, ahead->bytes, ahead->size)) {
            ahead->size = 0u;
            return NULL;
        }
    }
    return ahead->bytes + (offset - ahead->begin);
}

/* Reads the packet at an offset; checks in this order opcode and length, end of the stream, CRC,
 * sequence, reserved bits; before them, that the first packet is CHECK. */
static lpt_fault read_packet(lpt_emulator *emulator, lpt_prefetch *ahead, uint32_t offset,
                             uint32_t sequence, lpt_packet *packet, format *layout)
{
    const uint32_t left = stream_end(emulator) - offset;
    const uint32_t available =
        left < sizeof packet->words ? left : (uint32_t)sizeof packet->words;
    const uint8_t *bytes = prefetch(emulator, ahead, offset, available);
    uint32_t i;

    packet->pc = offset;
    memset(packet->words, 0, sizeof packet->words);
    if (bytes == NULL) {
        return (lpt_fault){LPT_FAULT_BUS_ERROR, 0u, offset};
    }
    for (i = 0u; i < available / 4u; ++i) {
        packet->words[i] = little_endian(bytes + 4u * i);
    }
    if (available < UNIT_BYTES) {
        return fault_at(LPT_FAULT_STREAM_END, 0u);
    }
    if (offset == emulator->qbase &&
        lpt_get(packet->words, LPT_HEADER_OPCODE) != LPT_OPCODE_CHECK) {
        return fault_at(LPT_FAULT_CHECK_MISSING, 0u);
    }
    *layout = format_of(lpt_get(packet->words, LPT_HEADER_OPCODE));
    if (layout->words == 0u ||
        4u * lpt_get(packet->words, LPT_HEADER_LENGTH) != layout->words ||
        (emulator->config.capabilities & layout->capability) != layout->capability) {
        return fault_at(LPT_FAULT_BAD_OPCODE, 0u);
    }
    if (4u * layout->words > available) {
        return fault_at(LPT_FAULT_STREAM_END, 0u);
    }
    if (lpt_crc32c(0u, bytes, 4u * (layout->words - 1u)) != packet->words[layout->words - 1u]) {
        return fault_at(LPT_FAULT_PACKET_CRC, layout->words - 1u);
    }
    if (lpt_get(packet->words, LPT_HEADER_SEQUENCE) != (sequence & 0xFFFFu)) {
        return fault_at(LPT_FAULT_SEQUENCE_GAP, 0u);
    }
    return lpt_check_reserved(emulator, packet);
}

/* The same of a packet behind CHECK, and its place in the stream. */
static lpt_fault read_next(lpt_emulator *emulator, lpt_prefetch *ahead, uint32_t offset,
                           uint32_t sequence, lpt_packet *packet, format *layout)
{
    const lpt_fault fault = read_packet(emulator, ahead, offset, sequence, packet, layout);
    const uint32_t opcode = lpt_get(packet->words, LPT_HEADER_OPCODE);

    if (fault.code != LPT_FAULT_NONE) {
        return fault;
    }
    if (opcode == LPT_OPCODE_CHECK) {
        return fault_at(LPT_FAULT_CHECK_MISSING, 0u);
    }
    /* END closes the stream, and only END. */
    if ((opcode == LPT_OPCODE_END) != (offset + 4u * layout->words == stream_end(emulator))) {
        return fault_at(LPT_FAULT_STREAM_END, 0u);
    }
    return fault;
}

lpt_fault lpt_fetch(lpt_emulator *emulator, uint32_t queue)
{
    lpt_queue *unit = &emulator->queues[queue];

    while (unit->state == LPT_QUEUE_FREE) {
        format layout;
        /* Checked already, but the memory may have changed since. */
        const lpt_fault fault = read_next(emulator, &unit->prefetch, unit->position,
                                          unit->sequence, &unit->packet, &layout);

        if (fault.code != LPT_FAULT_NONE) {
            return fault;
        }
        unit->position += 4u * layout.words;
        ++unit->sequence;
        if (layout.queue == BARRIER) {
            unit->state = LPT_QUEUE_PARKED;
        } else if (layout.queue == queue) {
            unit->state = LPT_QUEUE_WAITING;
        }
    }
    return fault_at(LPT_FAULT_NONE, 0u);
}

static lpt_fault check_demands(const lpt_emulator *emulator, const uint32_t *words)
{
    const lpt_config *config = &emulator->config;
    const uint32_t first_region = LPT_WORD(LPT_CHECK_REGION0_BYTES);
    uint32_t i;

    if (lpt_get(words, LPT_CHECK_ABI_MAJOR) != LPT_ABI_MAJOR ||
        lpt_get(words, LPT_CHECK_ABI_MINOR) > LPT_ABI_MINOR) {
        return fault_at(LPT_FAULT_INCOMPATIBLE, LPT_WORD(LPT_CHECK_ABI_MAJOR));
    }
    if (lpt_get(words, LPT_CHECK_MACS) != config->macs) {
        return fault_at(LPT_FAULT_INCOMPATIBLE, LPT_WORD(LPT_CHECK_MACS));
    }
    if ((lpt_get(words, LPT_CHECK_CAPABILITIES) & ~config->capabilities) != 0u) {
        return fault_at(LPT_FAULT_INCOMPATIBLE, LPT_WORD(LPT_CHECK_CAPABILITIES));
    }
    if (lpt_get(words, LPT_CHECK_SPM_BYTES) > config->spm_bytes) {
        return fault_at(LPT_FAULT_REGION_TOO_SMALL, LPT_WORD(LPT_CHECK_SPM_BYTES));
    }
    if (lpt_get(words, LPT_CHECK_WBUF_BYTES) > config->wbuf_bytes) {
        return fault_at(LPT_FAULT_REGION_TOO_SMALL, LPT_WORD(LPT_CHECK_WBUF_BYTES));
    }
    for (i = 0u; i < LPT_NUM_REGIONS; ++i) {
        if (words[first_region + i] > emulator->regions[i].size) {
            return fault_at(LPT_FAULT_REGION_TOO_SMALL, first_region + i);
        }
    }
    for (i = 0u; i < LPT_NUM_REGIONS; ++i) {
        if ((lpt_get(words, LPT_CHECK_WRITE_MASK) >> i & 1u) != 0u &&
            (emulator->regions[i].attributes & LPT_REGION_ATTR_WRITE) == 0u) {
            return fault_at(LPT_FAULT_REGION_TOO_SMALL, LPT_WORD(LPT_CHECK_WRITE_MASK));
        }
    }
    return fault_at(LPT_FAULT_NONE, 0u);
}

/* Length and CRC of the stream behind CHECK. */
static lpt_fault check_rest(lpt_emulator *emulator, const uint32_t *words)
{
    const uint32_t end = stream_end(emulator);
    uint32_t offset = emulator->qbase + 4u * LPT_CHECK_WORDS;
    uint32_t crc = 0u;

    if (lpt_get(words, LPT_CHECK_STREAM_BYTES) != emulator->qsize) {
        return fault_at(LPT_FAULT_STREAM_END, LPT_WORD(LPT_CHECK_STREAM_BYTES));
    }
    while (offset < end) {
        const uint32_t size = end - offset < LPT_BOUNCE_BYTES ? end - offset : LPT_BOUNCE_BYTES;

        if (!lpt_bus_read(emulator, LPT_REGION_STREAM, offset, emulator->bounce, size)) {
            return (lpt_fault){LPT_FAULT_BUS_ERROR, 0u, offset};
        }
        crc = lpt_crc32c(crc, emulator->bounce, size);
        offset += size;
    }
    if (crc != lpt_get(words, LPT_CHECK_STREAM_CRC)) {
        return fault_at(LPT_FAULT_STREAM_END, LPT_WORD(LPT_CHECK_STREAM_CRC));
    }
    return fault_at(LPT_FAULT_NONE, 0u);
}

/* The place of the stream in region 0. */
static lpt_fault check_place(const lpt_emulator *emulator)
{
    const lpt_region *region = &emulator->regions[LPT_REGION_STREAM];

    if (emulator->qbase % UNIT_BYTES != 0u) {
        return (lpt_fault){LPT_FAULT_MISALIGNED, 0u, emulator->qbase};
    }
    if ((region->attributes & LPT_REGION_ATTR_READ) == 0u ||
        (uint64_t)emulator->qbase + emulator->qsize > region->size) {
        return (lpt_fault){LPT_FAULT_READ_OUT_OF_BOUNDS, 0u, emulator->qbase};
    }
    return fault_at(LPT_FAULT_NONE, 0u);
}

/* All packets behind CHECK; `packet` is changed only if one is at fault. */
static lpt_fault check_structure(lpt_emulator *emulator, lpt_packet *packet)
{
    lpt_prefetch *ahead = &emulator->queues[0].prefetch;
    uint32_t offset = emulator->qbase + 4u * LPT_CHECK_WORDS;
    uint32_t sequence = 1u;
    lpt_fault fault = fault_at(LPT_FAULT_NONE, 0u);

    if (offset == stream_end(emulator)) {
        return fault_at(LPT_FAULT_STREAM_END, 0u);
    }
    for (; fault.code == LPT_FAULT_NONE && offset < stream_end(emulator); ++sequence) {
        lpt_packet next;
        format layout = {0u, 0u, 0u};

        fault = read_next(emulator, ahead, offset, sequence, &next, &layout);
        if (fault.code != LPT_FAULT_NONE) {
            *packet = next;
        }
        offset += 4u * layout.words;
    }
    return fault;
}

lpt_fault lpt_check_stream(lpt_emulator *emulator, lpt_packet *packet)
{
    lpt_fault fault = check_place(emulator);
    format layout;

    packet->pc = emulator->qbase;
    memset(packet->words, 0, sizeof packet->words);
    if (fault.code == LPT_FAULT_NONE) {
        fault = read_packet(emulator, &emulator->queues[0].prefetch, emulator->qbase, 0u, packet,
                            &layout);
    }
    if (fault.code == LPT_FAULT_NONE) {
        fault = check_demands(emulator, packet->words);
    }
    if (fault.code == LPT_FAULT_NONE) {
        fault = check_rest(emulator, packet->words);
    }
    return fault.code == LPT_FAULT_NONE ? check_structure(emulator, packet) : fault;
}
