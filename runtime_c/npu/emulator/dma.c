/* dma.c: DMA, and what TRACE appends: all traffic with the system's memory but the stream's. */

#include "state.h"

/* Fewer bytes of use than one in so many: runs are read one by one instead of the whole extent. */
#define MAX_GATHER_RATIO 8u

typedef struct {
    uint32_t region;
    int64_t offset;
    int64_t strides[3];
} end_point;

/* Loops that remain, innermost first; after merging, `run_bytes` may span several runs. */
typedef struct {
    end_point source;
    end_point target;
    uint64_t run_bytes;
    uint32_t counts[3];
    bool fill;
    uint8_t fill_byte;
} transfer;

static lpt_fault no_fault(void)
{
    return (lpt_fault){LPT_FAULT_NONE, 0u, 0u};
}

static lpt_fault bus_error(uint32_t word, uint32_t region, int64_t offset)
{
    return (lpt_fault){LPT_FAULT_BUS_ERROR, word, region << LPT_OFFSET_BITS | (uint32_t)offset};
}

static uint8_t *memory_of(const lpt_emulator *emulator, uint32_t region, int64_t offset)
{
    return (region == LPT_REGION_SPM ? emulator->spm : emulator->wbuf) + offset;
}

static end_point end_point_of(uint32_t address, const int32_t *strides)
{
    return (end_point){LPT_REGION_OF(address),
                       (int64_t)LPT_OFFSET_OF(address),
                       {strides[0], strides[1], strides[2]}};
}

/* Bytes of both ends that are in different memories cannot overlap. */
static bool is_apart(const transfer *of)
{
    const bool source_inside = lpt_is_internal(of->source.region);
    const bool target_inside = lpt_is_internal(of->target.region);

    return of->fill || source_inside != target_inside ||
           (source_inside && of->source.region != of->target.region);
}

/* Takes loops that continue a run into the run: fewer, longer accesses of the bus. */
static void merge_loops(transfer *of)
{
    uint32_t i;

    for (i = 0u; i < 3u; ++i) {
        const int64_t bytes = (int64_t)of->run_bytes;
        const bool continues = of->target.strides[0] == bytes &&
                               (of->fill || of->source.strides[0] == bytes);

        if (of->counts[0] != 1u && !continues) {
            return;
        }
        of->run_bytes *= of->counts[0];
        of->counts[0] = of->counts[1];
        of->counts[1] = of->counts[2];
        of->counts[2] = 1u;
        of->source.strides[0] = of->source.strides[1];
        of->source.strides[1] = of->source.strides[2];
        of->target.strides[0] = of->target.strides[1];
        of->target.strides[1] = of->target.strides[2];
    }
}

static lpt_fault fill_run(lpt_emulator *emulator, const transfer *of, int64_t target)
{
    uint64_t done = 0u;

    if (lpt_is_internal(of->target.region)) {
        memset(memory_of(emulator, of->target.region, target), of->fill_byte,
               (size_t)of->run_bytes);
        return no_fault();
    }
    while (done < of->run_bytes) {
        const uint64_t left = of->run_bytes - done;
        const uint32_t size = left < LPT_BOUNCE_BYTES ? (uint32_t)left : LPT_BOUNCE_BYTES;

        memset(emulator->bounce, of->fill_byte, size);
        if (!lpt_bus_write(emulator, of->target.region, (uint64_t)target + done, emulator->bounce,
                           size)) {
            return bus_error(LPT_WORD(LPT_DMA_TARGET), of->target.region,
                             target + (int64_t)done);
        }
        done += size;
    }
    return no_fault();
}

/* From bus to bus in pieces, from the end that is not overwritten before it is read. */
static lpt_fault copy_on_bus(lpt_emulator *emulator, const transfer *of, int64_t source,
                             int64_t target)
{
    const uint64_t from =
        emulator->regions[of->source.region].base + (uint64_t)source;
    const uint64_t to = emulator->regions[of->target.region].base + (uint64_t)target;
    uint64_t done = 0u;

    while (done < of->run_bytes) {
        const uint64_t left = of->run_bytes - done;
        const uint32_t size = left < LPT_BOUNCE_BYTES ? (uint32_t)left : LPT_BOUNCE_BYTES;
        const uint64_t at = to > from ? left - size : done;

        if (!lpt_bus_read(emulator, of->source.region, (uint64_t)source + at, emulator->bounce,
                          size)) {
            return bus_error(LPT_WORD(LPT_DMA_SOURCE), of->source.region, source + (int64_t)at);
        }
        if (!lpt_bus_write(emulator, of->target.region, (uint64_t)target + at, emulator->bounce,
                           size)) {
            return bus_error(LPT_WORD(LPT_DMA_TARGET), of->target.region, target + (int64_t)at);
        }
        done += size;
    }
    return no_fault();
}

static lpt_fault copy_run(lpt_emulator *emulator, const transfer *of, int64_t source,
                          int64_t target)
{
    const bool source_inside = lpt_is_internal(of->source.region);
    const bool target_inside = lpt_is_internal(of->target.region);

    if (source_inside && target_inside) {
        memmove(memory_of(emulator, of->target.region, target),
                memory_of(emulator, of->source.region, source), (size_t)of->run_bytes);
    } else if (target_inside) {
        if (!lpt_bus_read(emulator, of->source.region, (uint64_t)source,
                          memory_of(emulator, of->target.region, target),
                          (uint32_t)of->run_bytes)) {
            return bus_error(LPT_WORD(LPT_DMA_SOURCE), of->source.region, source);
        }
    } else if (source_inside) {
        if (!lpt_bus_write(emulator, of->target.region, (uint64_t)target,
                           memory_of(emulator, of->source.region, source),
                           (uint32_t)of->run_bytes)) {
            return bus_error(LPT_WORD(LPT_DMA_TARGET), of->target.region, target);
        }
    } else {
        return copy_on_bus(emulator, of, source, target);
    }
    return no_fault();
}

/* Whether loop 1 is better read from the bus as one extent: many short runs, near each other. */
static bool gathers(const transfer *of)
{
    const int64_t stride = of->source.strides[0];
    const uint64_t distance = (uint64_t)(stride < 0 ? -stride : stride);

    return !of->fill && is_apart(of) && !lpt_is_internal(of->source.region) &&
           of->counts[0] > 1u && distance <= MAX_GATHER_RATIO * of->run_bytes &&
           (of->counts[0] - 1u) * distance + of->run_bytes <= LPT_BOUNCE_BYTES;
}

static lpt_fault gather_loop(lpt_emulator *emulator, const transfer *of, int64_t source,
                             int64_t target)
{
    const int64_t reach = (int64_t)(of->counts[0] - 1u) * of->source.strides[0];
    const int64_t first = reach < 0 ? source + reach : source;
    const uint64_t extent = (uint64_t)(reach < 0 ? -reach : reach) + of->run_bytes;
    const uint8_t *from = emulator->bounce + (source - first);
    uint32_t i;

    if (!lpt_bus_read(emulator, of->source.region, (uint64_t)first, emulator->bounce,
                      (uint32_t)extent)) {
        return bus_error(LPT_WORD(LPT_DMA_SOURCE), of->source.region, first);
    }
    for (i = 0u; i < of->counts[0]; ++i) {
        memcpy(memory_of(emulator, of->target.region, target + i * of->target.strides[0]),
               from + i * of->source.strides[0], (size_t)of->run_bytes);
    }
    return no_fault();
}

static lpt_fault transfer_loop(lpt_emulator *emulator, const transfer *of, int64_t source,
                               int64_t target)
{
    lpt_fault fault = no_fault();
    uint32_t i;

    if (gathers(of)) {
        return gather_loop(emulator, of, source, target);
    }
    for (i = 0u; i < of->counts[0] && fault.code == LPT_FAULT_NONE; ++i) {
        fault = of->fill ? fill_run(emulator, of, target) : copy_run(emulator, of, source, target);
        source += of->source.strides[0];
        target += of->target.strides[0];
    }
    return fault;
}

static void count_bytes(lpt_emulator *emulator, const lpt_dma *op)
{
    const uint64_t bytes =
        (uint64_t)op->run_bytes * op->counts[0] * op->counts[1] * op->counts[2];
    const uint32_t source = LPT_REGION_OF(op->source);

    if (op->fill == 0u && !lpt_is_internal(source)) {
        const bool constant = source == LPT_REGION_STREAM || source == LPT_REGION_CONSTANTS;

        emulator->counters[constant ? LPT_COUNTER_CONSTANT_BYTES
                                    : LPT_COUNTER_SYSTEM_READ_BYTES] += bytes;
    }
    if (!lpt_is_internal(LPT_REGION_OF(op->target))) {
        emulator->counters[LPT_COUNTER_SYSTEM_WRITE_BYTES] += bytes;
    }
}

lpt_fault lpt_execute_dma(lpt_emulator *emulator, const lpt_packet *packet)
{
    const lpt_dma op = lpt_dma_of(packet->words);
    transfer of = {
        .source = end_point_of(op.source, op.source_strides),
        .target = end_point_of(op.target, op.target_strides),
        .run_bytes = op.run_bytes,
        .counts = {op.counts[0], op.counts[1], op.counts[2]},
        .fill = op.fill != 0u,
        .fill_byte = (uint8_t)op.fill_byte,
    };
    lpt_fault fault = no_fault();
    uint32_t i3;
    uint32_t i2;

    if (is_apart(&of)) {
        merge_loops(&of);
    }
    for (i3 = 0u; i3 < of.counts[2] && fault.code == LPT_FAULT_NONE; ++i3) {
        for (i2 = 0u; i2 < of.counts[1] && fault.code == LPT_FAULT_NONE; ++i2) {
            fault = transfer_loop(
                emulator, &of,
                of.source.offset + i3 * of.source.strides[2] + i2 * of.source.strides[1],
                of.target.offset + i3 * of.target.strides[2] + i2 * of.target.strides[1]);
        }
    }
    if (fault.code == LPT_FAULT_NONE) {
        count_bytes(emulator, &op);
    }
    return fault;
}

static void put_word(uint8_t *bytes, uint32_t word)
{
    uint32_t i;

    for (i = 0u; i < 4u; ++i) {
        bytes[i] = (uint8_t)(word >> 8u * i);
    }
}

lpt_fault lpt_execute_trace(lpt_emulator *emulator, const lpt_packet *packet)
{
    const uint32_t size = emulator->regions[LPT_REGION_TRACE].size;
    const uint32_t position = emulator->trace_position;
    uint8_t entry[LPT_TRACE_BYTES];

    put_word(entry, lpt_get(packet->words, LPT_HEADER_LAYER) << 16 |
                        lpt_get(packet->words, LPT_HEADER_SEQUENCE));
    put_word(entry + 4, lpt_get(packet->words, LPT_TRACE_TAG));
    put_word(entry + 8, (uint32_t)emulator->now);
    put_word(entry + 12, (uint32_t)(emulator->now >> 32));
    if (!lpt_bus_write(emulator, LPT_REGION_TRACE, position, entry, sizeof entry)) {
        return bus_error(0u, LPT_REGION_TRACE, position);
    }
    emulator->counters[LPT_COUNTER_SYSTEM_WRITE_BYTES] += sizeof entry;
    emulator->trace_position = position + LPT_TRACE_BYTES;
    if (emulator->trace_position > size - LPT_TRACE_BYTES) {
        emulator->trace_position = 0u;
        emulator->irq_raw |= LPT_IRQ_TRACE_FULL;
    }
    return no_fault();
}
