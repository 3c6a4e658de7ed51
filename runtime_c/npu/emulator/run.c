/* run.c: the run of a stream: two queues, tokens, time, retirement; docs/lepton-npu.md, section 4. */

#include "state.h"

#define MAX_TOKENS 255u

static const lpt_fault no_fault = {LPT_FAULT_NONE, 0u, 0u};

static uint32_t opcode_of(const lpt_packet *packet)
{
    return lpt_get(packet->words, LPT_HEADER_OPCODE);
}

static void stop(lpt_emulator *emulator, const lpt_packet *packet, lpt_fault fault)
{
    emulator->status = LPT_STATUS_FAULT;
    emulator->irq_raw |= LPT_IRQ_FAULT;
    emulator->fault = fault;
    emulator->fault_pc = packet->pc;
    emulator->fault_layer = lpt_get(packet->words, LPT_HEADER_LAYER);
}

static bool has_tokens(const lpt_emulator *emulator, const lpt_packet *packet)
{
    const uint32_t wait = lpt_get(packet->words, LPT_HEADER_WAIT);
    uint32_t i;

    for (i = 0u; i < LPT_NUM_TOKENS; ++i) {
        if ((wait >> i & 1u) != 0u && emulator->tokens[i] == 0u) {
            return false;
        }
    }
    return true;
}

static void take_tokens(lpt_emulator *emulator, const lpt_packet *packet)
{
    const uint32_t wait = lpt_get(packet->words, LPT_HEADER_WAIT);
    uint32_t i;

    for (i = 0u; i < LPT_NUM_TOKENS; ++i) {
        emulator->tokens[i] -= wait >> i & 1u;
    }
}

static lpt_fault check_signals(const lpt_emulator *emulator, const lpt_packet *packet)
{
    const uint32_t signal = lpt_get(packet->words, LPT_HEADER_SIGNAL);
    uint32_t i;

    for (i = 0u; i < LPT_NUM_TOKENS; ++i) {
        if ((signal >> i & 1u) != 0u && emulator->tokens[i] == MAX_TOKENS) {
            return (lpt_fault){LPT_FAULT_TOKEN_OVERFLOW, 1u, 0u};
        }
    }
    return no_fault;
}

static void signal_tokens(lpt_emulator *emulator, const lpt_packet *packet)
{
    const uint32_t signal = lpt_get(packet->words, LPT_HEADER_SIGNAL);
    uint32_t i;

    for (i = 0u; i < LPT_NUM_TOKENS; ++i) {
        emulator->tokens[i] += signal >> i & 1u;
    }
}

/* What a packet's time beyond the array's is charged to: the largest term, the first if equal. */
static void count_stalls(lpt_emulator *emulator, const lpt_cycles *cycles)
{
    const uint64_t terms[] = {cycles->array, cycles->epilogue, cycles->scratchpad,
                              cycles->weights};
    uint32_t largest = 0u;
    uint32_t i;

    for (i = 1u; i < 4u; ++i) {
        if (terms[i] > terms[largest]) {
            largest = i;
        }
    }
    emulator->counters[LPT_COUNTER_SETUP_CYCLES] += cycles->setup;
    emulator->counters[LPT_COUNTER_ARRAY_CYCLES] += cycles->array;
    emulator->counters[LPT_COUNTER_ARRAY_CYCLES + largest] += terms[largest] - terms[0];
}

LEPTON_STATIC_ASSERT(LPT_COUNTER_EPILOGUE_STALLS == LPT_COUNTER_ARRAY_CYCLES + 1u, order_epilogue);
LEPTON_STATIC_ASSERT(LPT_COUNTER_SPM_STALLS == LPT_COUNTER_ARRAY_CYCLES + 2u, order_scratchpad);
LEPTON_STATIC_ASSERT(LPT_COUNTER_WEIGHT_STALLS == LPT_COUNTER_ARRAY_CYCLES + 3u, order_weights);

static void count_packet(lpt_emulator *emulator, const lpt_cycles *cycles)
{
    count_stalls(emulator, cycles);
    emulator->counters[LPT_COUNTER_MACS] += cycles->macs;
    emulator->counters[LPT_COUNTER_DMA_CYCLES] += cycles->transfer;
    emulator->counters[LPT_COUNTER_SPM_BYTES] += cycles->scratchpad_bytes;
    emulator->counters[LPT_COUNTER_WEIGHTS_DECODED] += cycles->weights_decoded;
    emulator->counters[LPT_COUNTER_OUTPUTS] += cycles->outputs;
}

/* CYCLES, and TOKEN_STALLS as what no compute packet accounts for. */
static void set_time(lpt_emulator *emulator, uint64_t now)
{
    uint64_t *counters = emulator->counters;

    emulator->now = now;
    counters[LPT_COUNTER_CYCLES] = now;
    counters[LPT_COUNTER_TOKEN_STALLS] =
        now - counters[LPT_COUNTER_SETUP_CYCLES] - counters[LPT_COUNTER_ARRAY_CYCLES] -
        counters[LPT_COUNTER_EPILOGUE_STALLS] - counters[LPT_COUNTER_SPM_STALLS] -
        counters[LPT_COUNTER_WEIGHT_STALLS];
}

static void report(const lpt_emulator *emulator, const lpt_packet *packet, uint64_t begin,
                   const lpt_cycles *cycles)
{
    if (emulator->hooks.retired != NULL) {
        const lpt_retired record = {
            .pc = packet->pc,
            .opcode = opcode_of(packet),
            .sequence = lpt_get(packet->words, LPT_HEADER_SEQUENCE),
            .layer = lpt_get(packet->words, LPT_HEADER_LAYER),
            .begin = begin,
            .completion = emulator->now,
            .cycles = *cycles,
        };

        emulator->hooks.retired(emulator->hooks.context, &record);
    }
}

/* Does what the packet does; false if it faulted. */
static bool retire(lpt_emulator *emulator, const lpt_packet *packet, uint64_t begin,
                   const lpt_cycles *cycles)
{
    lpt_fault fault = check_signals(emulator, packet);

    if (fault.code == LPT_FAULT_NONE) {
        fault = lpt_execute(emulator, packet);
    }
    if (fault.code != LPT_FAULT_NONE) {
        stop(emulator, packet, fault);
        return false;
    }
    signal_tokens(emulator, packet);
    count_packet(emulator, cycles);
    set_time(emulator, emulator->now);
    ++emulator->counters[LPT_COUNTER_PACKETS];
    emulator->qread = packet->pc;
    report(emulator, packet, begin, cycles);
    return true;
}

/* Each free queue gets its next packet. Of two faults the one earlier in the stream counts. */
static bool fetch_both(lpt_emulator *emulator)
{
    const lpt_fault faults[] = {lpt_fetch(emulator, 0u), lpt_fetch(emulator, 1u)};
    const lpt_packet *packets[] = {&emulator->queues[0].packet, &emulator->queues[1].packet};
    uint32_t first = faults[0].code != LPT_FAULT_NONE ? 0u : 1u;

    if (faults[0].code != LPT_FAULT_NONE && faults[1].code != LPT_FAULT_NONE &&
        packets[1]->pc < packets[0]->pc) {
        first = 1u;
    }
    if (faults[first].code != LPT_FAULT_NONE) {
        stop(emulator, packets[first], faults[first]);
        return false;
    }
    return true;
}

/* Both queues stand at the same packet, all before it has retired. */
static bool retire_barrier(lpt_emulator *emulator)
{
    static const lpt_cycles nothing;
    const lpt_packet packet = emulator->queues[0].packet;

    if (!has_tokens(emulator, &packet)) {
        stop(emulator, &packet, (lpt_fault){LPT_FAULT_TOKEN_DEADLOCK, 1u, 0u});
        return false;
    }
    take_tokens(emulator, &packet);
    if (!retire(emulator, &packet, emulator->now, &nothing)) {
        return false;
    }
    emulator->queues[0].state = LPT_QUEUE_FREE;
    emulator->queues[1].state = LPT_QUEUE_FREE;
    if (opcode_of(&packet) == LPT_OPCODE_END) {
        emulator->status = LPT_STATUS_DONE;
        emulator->irq_raw |= LPT_IRQ_DONE;
    }
    return emulator->status == LPT_STATUS_RUNNING;
}

static bool earlier_in_stream(const lpt_queue *lhs, const lpt_queue *rhs)
{
    return lhs->packet.pc < rhs->packet.pc;
}

/* Begins a packet whose tokens are there; false if it faults. */
static bool begin(lpt_emulator *emulator, lpt_queue *queue)
{
    const lpt_fault fault = lpt_check_packet(emulator, &queue->packet, &queue->cycles);
    const uint64_t cycles = lpt_total_cycles(&queue->cycles);

    if (fault.code != LPT_FAULT_NONE) {
        stop(emulator, &queue->packet, fault);
        return false;
    }
    take_tokens(emulator, &queue->packet);
    queue->state = LPT_QUEUE_BUSY;
    queue->begin = emulator->now;
    queue->completion = cycles > UINT64_MAX - emulator->now ? UINT64_MAX : emulator->now + cycles;
    return true;
}

/* Of two packets that want the same token the earlier one gets it. */
static bool begin_both(lpt_emulator *emulator)
{
    lpt_queue *queues = emulator->queues;
    const uint32_t first = earlier_in_stream(&queues[0], &queues[1]) ? 0u : 1u;
    uint32_t i;

    for (i = 0u; i < 2u; ++i) {
        lpt_queue *queue = &queues[i == 0u ? first : 1u - first];

        if (queue->state == LPT_QUEUE_WAITING && has_tokens(emulator, &queue->packet) &&
            !begin(emulator, queue)) {
            return false;
        }
    }
    return true;
}

/* The busy queue whose packet completes first; NULL if none is busy. */
static lpt_queue *next_to_complete(lpt_queue *queues)
{
    lpt_queue *next = NULL;
    uint32_t i;

    for (i = 0u; i < 2u; ++i) {
        lpt_queue *queue = &queues[i];

        if (queue->state == LPT_QUEUE_BUSY &&
            (next == NULL || queue->completion < next->completion ||
             (queue->completion == next->completion && earlier_in_stream(queue, next)))) {
            next = queue;
        }
    }
    return next;
}

static void stop_at_deadlock(lpt_emulator *emulator)
{
    const lpt_queue *queues = emulator->queues;
    const bool dma_waits = queues[0].state == LPT_QUEUE_WAITING;
    const bool both_wait = dma_waits && queues[1].state == LPT_QUEUE_WAITING;
    const bool dma_first = both_wait ? earlier_in_stream(&queues[0], &queues[1]) : dma_waits;

    stop(emulator, &queues[dma_first ? 0 : 1].packet,
         (lpt_fault){LPT_FAULT_TOKEN_DEADLOCK, 1u, 0u});
}

/* Retires all that completes at the next moment that something does, if that is no later than
 * `until`; false if nothing more happens. */
static bool complete_next(lpt_emulator *emulator, uint64_t until)
{
    const uint64_t limit =
        emulator->watchdog != 0u ? emulator->watchdog : LPT_DEFAULT_WATCHDOG;
    lpt_queue *queue = next_to_complete(emulator->queues);
    const uint64_t moment = queue == NULL ? UINT64_MAX : queue->completion;

    if (queue == NULL) {
        stop_at_deadlock(emulator);
        return false;
    }
    if (moment > until && until < limit) {
        set_time(emulator, until);
        return false;
    }
    if (moment >= limit) {
        set_time(emulator, limit);
        stop(emulator, &queue->packet, (lpt_fault){LPT_FAULT_WATCHDOG, 0u, 0u});
        return false;
    }
    set_time(emulator, moment);
    while (queue != NULL && queue->completion == moment) {
        if (!retire(emulator, &queue->packet, queue->begin, &queue->cycles)) {
            return false;
        }
        queue->state = LPT_QUEUE_FREE;
        queue = next_to_complete(emulator->queues);
    }
    return true;
}

static bool step(lpt_emulator *emulator, uint64_t until)
{
    const lpt_queue *queues = emulator->queues;

    if (!fetch_both(emulator)) {
        return false;
    }
    if (queues[0].state == LPT_QUEUE_PARKED && queues[1].state == LPT_QUEUE_PARKED) {
        return retire_barrier(emulator);
    }
    return begin_both(emulator) && complete_next(emulator, until);
}

uint32_t lpt_emulator_advance(lpt_emulator *emulator, uint64_t cycles)
{
    const uint64_t now = emulator->now;
    const uint64_t until = cycles > UINT64_MAX - now ? UINT64_MAX : now + cycles;

    while (emulator->status == LPT_STATUS_RUNNING && step(emulator, until)) {
    }
    return emulator->status;
}

void lpt_begin_run(lpt_emulator *emulator)
{
    static const lpt_cycles nothing;
    lpt_packet packet;
    lpt_fault fault;
    uint32_t i;

    memset(emulator->counters, 0, sizeof emulator->counters);
    memset(emulator->tokens, 0, sizeof emulator->tokens);
    memset(emulator->queues, 0, sizeof emulator->queues);
    emulator->trace_position = 0u;
    emulator->now = 0u;
    emulator->status = LPT_STATUS_RUNNING;
    fault = lpt_check_stream(emulator, &packet);
    if (fault.code == LPT_FAULT_NONE && !has_tokens(emulator, &packet)) {
        fault = (lpt_fault){LPT_FAULT_TOKEN_DEADLOCK, 1u, 0u};
    }
    if (fault.code != LPT_FAULT_NONE) {
        stop(emulator, &packet, fault);
        return;
    }
    for (i = 0u; i < 2u; ++i) {
        emulator->queues[i].position = emulator->qbase + 4u * LPT_CHECK_WORDS;
        emulator->queues[i].sequence = 1u;
    }
    (void)retire(emulator, &packet, 0u, &nothing);
}

void lpt_halt(lpt_emulator *emulator)
{
    /* What has begun ends; nothing else begins. */
    while (emulator->status == LPT_STATUS_RUNNING &&
           next_to_complete(emulator->queues) != NULL && complete_next(emulator, UINT64_MAX)) {
    }
    if (emulator->status == LPT_STATUS_RUNNING) {
        emulator->status = LPT_STATUS_IDLE;
    }
}
