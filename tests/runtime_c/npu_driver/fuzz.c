/* fuzz.c: mutated payloads against driver and emulated engine: PAYLOAD SEED COUNT MACS.
 *
 * Every buffer has its exact size, so that the sanitizers see a byte too many. What was refused,
 * what faulted and what ran is printed, a line for each kind. An engine that asks the bus for a byte
 * outside its regions ends the program, as does a changed payload or input.
 */

#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PORTS 256u
#define MAX_CODES 128
#define HEADER_BYTES 64u
#define ENTRY_BYTES 16u
#define CHECK_BYTES (4u * LPT_CHECK_WORDS)

enum strategy { FLIP, TRUNCATE, HEADER, SECTION, PACKET, CONSTANTS, NUM_STRATEGIES };

typedef struct {
    uint8_t *bytes;
    uint32_t size;
} buffer;

static uint64_t random_state;
static uint32_t refusals[MAX_CODES];
static uint32_t faults[256];
static uint32_t ran;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static uint32_t below(uint32_t limit)
{
    return limit == 0u ? 0u : next_random() % limit;
}

static void fail(const char *reason)
{
    (void)fprintf(stderr, "%s\n", reason);
    abort();
}

static buffer allocate(uint32_t size)
{
    buffer made = {NULL, size};
    void *memory = NULL;

    if (posix_memalign(&memory, 16u, size != 0u ? size : 1u) != 0) {
        fail("no memory");
    }
    made.bytes = (uint8_t *)memory;
    return made;
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void put32(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
    bytes[2] = (uint8_t)(value >> 16);
    bytes[3] = (uint8_t)(value >> 24);
}

/* --- Mutation ---------------------------------------------------------------------------------- */

static uint32_t num_entries(const buffer *payload)
{
    return (uint32_t)payload->bytes[22] | (uint32_t)payload->bytes[23] << 8;
}

static uint8_t *entry_of(const buffer *payload, uint32_t kind)
{
    uint32_t i;

    for (i = 0u; i < num_entries(payload); ++i) {
        uint8_t *entry = payload->bytes + HEADER_BYTES + ENTRY_BYTES * i;

        if (get32(entry) == kind) {
            return entry;
        }
    }
    return NULL; /* payloads of models with kernels have no TEST */
}

static void repair_header(const buffer *payload)
{
    const uint32_t size = HEADER_BYTES + ENTRY_BYTES * num_entries(payload);

    if (size <= payload->size) {
        put32(payload->bytes + 12, 0u);
        put32(payload->bytes + 12, lpt_crc32c(0u, payload->bytes, size));
    }
}

static void repair_section(const buffer *payload, uint32_t kind)
{
    uint8_t *entry = entry_of(payload, kind);

    put32(entry + 12, lpt_crc32c(0u, payload->bytes + get32(entry + 4), get32(entry + 8)));
    repair_header(payload);
}

static void change_word(uint8_t *bytes)
{
    static const uint32_t values[] = {0u,      1u,          0xFFFFFFFFu, 0x80000000u, 0x7FFFFFFFu,
                                      0xFFFFu, 0x10000000u, 0x7FC00000u, 0x00800000u, 16u};
    const uint32_t old = get32(bytes);
    const uint32_t amount = 1u + below(40u);

    switch (below(5u)) {
    case 0u:
        put32(bytes, old ^ 1u << below(32u));
        break;
    case 1u:
        put32(bytes, values[below(sizeof values / sizeof values[0])]);
        break;
    case 2u:
        put32(bytes, old + amount);
        break;
    case 3u:
        put32(bytes, old - amount);
        break;
    default:
        bytes[below(4u)] = (uint8_t)next_random();
        break;
    }
}

static void change_packet(const buffer *payload)
{
    const uint8_t *entry = entry_of(payload, LPT_SECTION_STREAM);
    uint8_t *stream = payload->bytes + get32(entry + 4);
    const uint32_t size = get32(entry + 8);
    const uint32_t chosen = below(size / 16u) * 16u;
    uint32_t at = 0u, length = CHECK_BYTES;

    while (at + length <= chosen) {
        at += length;
        length = (get32(stream + at) >> 16 & 0xFFu) * 16u;
        if (length == 0u || length > size - at) {
            return; /* an earlier change was to a length */
        }
    }
    change_word(stream + at + 4u * below(length / 4u - 1u));
    put32(stream + at + length - 4u, lpt_crc32c(0u, stream + at, length - 4u));
    if (at != 0u) {
        put32(stream + 32u, lpt_crc32c(0u, stream + CHECK_BYTES, size - CHECK_BYTES));
        put32(stream + CHECK_BYTES - 4u, lpt_crc32c(0u, stream, CHECK_BYTES - 4u));
    }
    repair_section(payload, LPT_SECTION_STREAM);
}

static void change_section(const buffer *payload, uint32_t kind)
{
    const uint8_t *entry = entry_of(payload, kind);
    uint32_t size;

    if (entry == NULL) {
        return;
    }
    size = get32(entry + 8);
    if (kind == LPT_SECTION_TEST && below(2u) == 0u) {
        size = 64u; /* the numbers, and not the inputs */
    }
    change_word(payload->bytes + get32(entry + 4) + 4u * below(size / 4u));
    repair_section(payload, kind);
}

static void mutate(buffer *payload)
{
    static const uint32_t kinds[] = {LPT_SECTION_SEGMENTS, LPT_SECTION_PORTS, LPT_SECTION_LAYERS,
                                     LPT_SECTION_STRINGS,  LPT_SECTION_TEST};
    uint32_t times = 1u + below(3u);

    switch ((enum strategy)below(NUM_STRATEGIES)) {
    case FLIP:
        for (; times != 0u; --times) {
            payload->bytes[below(payload->size)] ^= (uint8_t)(1u << below(8u));
        }
        break;
    case TRUNCATE:
        payload->size = below(payload->size);
        break;
    case HEADER:
        change_word(payload->bytes + 4u * below((HEADER_BYTES + ENTRY_BYTES * num_entries(payload)) / 4u));
        repair_header(payload);
        break;
    case SECTION:
        change_section(payload, kinds[below(sizeof kinds / sizeof kinds[0])]);
        break;
    case PACKET:
        for (; times != 0u; --times) {
            change_packet(payload);
        }
        break;
    default:
        change_section(payload, LPT_SECTION_CONSTANTS);
        break;
    }
}

/* --- Running ------------------------------------------------------------------------------------ */

static void read_report(const lpt_job *job)
{
    lpt_fault_report report;

    if (lpt_fault(job, &report) != LPT_OK) {
        fail("no report");
    }
    if (report.code == LPT_FAULT_NONE || report.code == LPT_FAULT_BUS_ERROR ||
        report.code >= 256u) {
        (void)fprintf(stderr, "fault %s at %u, address %x\n", lpt_fault_name(report.code),
                      (unsigned)report.packet, (unsigned)report.address);
        fail("the engine left its regions");
    }
    if (strlen(report.operation) + strlen(report.nodes) > 100000u) {
        fail("a name is too long");
    }
    ++faults[report.code];
}

static lpt_code run_segment(const lpt_device *device, const lpt_model *model, uint32_t segment,
                            const lpt_memory *memory)
{
    const uint64_t estimate = lpt_estimated_cycles(model, segment);
    lpt_job job;
    lpt_code code = lpt_bind(&job, device, model, segment, memory);

    if (code == LPT_OK) {
        job.watchdog_cycles = (uint32_t)(estimate < 100000u ? 8u * estimate + 1000u : 800000u);
        code = lpt_invoke(&job);
    }
    if (code == LPT_ERROR_DEVICE_FAULT) {
        read_report(&job);
    } else if (code != LPT_OK) {
        ++refusals[-code];
    } else {
        ++ran;
    }
    return code;
}

static void run_tests(const lpt_device *device, const lpt_model *model, const lpt_memory *memory)
{
    lpt_layer_report report;
    uint32_t output;
    lpt_code code = model->num_segments == 1u ? lpt_selftest(device, model, memory, &output)
                                              : lpt_diagnose(device, model, memory, &report);

    if (model->num_segments > 1u && code == LPT_ERROR_TEST_MISMATCH &&
        strlen(report.operation) + strlen(report.nodes) > 100000u) {
        fail("a name is too long");
    }
    if (code != LPT_OK) {
        ++refusals[-code];
    }
}

static void run(const lpt_device *device, const lpt_model *model)
{
    buffer ports[MAX_PORTS];
    buffer arena, trace, state, given;
    const void *inputs[MAX_PORTS];
    void *outputs[MAX_PORTS];
    lpt_memory memory;
    lpt_port_info port;
    lpt_code code = LPT_ERROR_NO_SEGMENT;
    uint32_t i;

    if (model->num_inputs + model->num_outputs > MAX_PORTS) {
        return;
    }
    for (i = 0u; i < model->num_inputs + model->num_outputs; ++i) {
        const uint32_t is_output = i >= model->num_inputs ? 1u : 0u;

        if (lpt_port_of(model, is_output, is_output != 0u ? i - model->num_inputs : i, &port) !=
            LPT_OK) {
            fail("no port");
        }
        if (port.size_bytes > 1u << 22) {
            port.size_bytes = 0u; /* more than this machine gives; the run is not started */
        }
        if (strlen(port.name) > 100000u) {
            fail("a port's name is too long");
        }
        ports[i] = allocate(port.size_bytes);
        memset(ports[i].bytes, (int)(i + 3u), port.size_bytes);
    }
    for (i = 0u; i < model->num_inputs; ++i) {
        inputs[i] = ports[i].size != 0u ? ports[i].bytes : NULL;
    }
    for (i = 0u; i < model->num_outputs; ++i) {
        const buffer *made = &ports[model->num_inputs + i];

        outputs[i] = made->size != 0u ? made->bytes : NULL;
    }
    arena = allocate(model->arena_bytes < 1u << 22 ? model->arena_bytes : 0u);
    trace = allocate(256u);
    state = allocate(4096u);
    given = allocate(ports[0].size);
    memcpy(given.bytes, ports[0].bytes, given.size);
    memory.arena = arena.bytes;
    memory.arena_bytes = arena.size;
    memory.inputs = inputs;
    memory.outputs = outputs;
    memory.state = state.bytes;
    memory.state_bytes = state.size;
    memory.trace = trace.bytes;
    memory.trace_bytes = trace.size;
    for (i = 0u; i < model->num_segments; ++i) {
        code = run_segment(device, model, i, &memory);
    }
    /* A stream that ran in time does so again. */
    if (code == LPT_OK) {
        run_tests(device, model, &memory);
    }
    if (model->num_inputs != 0u && memcmp(given.bytes, ports[0].bytes, given.size) != 0) {
        fail("an input was changed");
    }
    for (i = 0u; i < model->num_inputs + model->num_outputs; ++i) {
        free(ports[i].bytes);
    }
    free(arena.bytes);
    free(trace.bytes);
    free(state.bytes);
    free(given.bytes);
}

static void try_payload(const lpt_device *device, const buffer *base)
{
    buffer wide = allocate(base->size);
    buffer payload;
    lpt_model model, again;
    lpt_code code;

    memcpy(wide.bytes, base->bytes, base->size);
    mutate(&wide);
    payload = allocate(wide.size);
    memcpy(payload.bytes, wide.bytes, wide.size);
    code = lpt_load(&model, device, payload.bytes, payload.size);
    if (code != LPT_OK) {
        ++refusals[-code];
        /* The lighter check must be as safe with what it lets pass. */
        code = lpt_load_again(&again, device, payload.bytes, payload.size);
        if (code == LPT_OK) {
            run(device, &again);
        }
    } else {
        run(device, &model);
    }
    if (memcmp(payload.bytes, wide.bytes, wide.size) != 0) {
        fail("the payload was changed");
    }
    free(payload.bytes);
    free(wide.bytes);
}

static buffer read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    buffer content;
    long size;

    if (file == NULL || fseek(file, 0L, SEEK_END) != 0 || (size = ftell(file)) <= 0L ||
        fseek(file, 0L, SEEK_SET) != 0) {
        fail("cannot read the payload");
    }
    content = allocate((uint32_t)size);
    if (fread(content.bytes, 1u, content.size, file) != content.size) {
        fail("cannot read the payload");
    }
    (void)fclose(file);
    return content;
}

int main(int argc, char **argv)
{
    static const lpt_port constants = {16u, 20u}, memory = {64u, 10u};
    static lepton_host_engine engine;
    lpt_config config;
    lpt_device device;
    buffer base, state;
    uint32_t i, count;

    if (argc != 5) {
        fail("PAYLOAD SEED COUNT MACS");
    }
    base = read_file(argv[1]);
    random_state = 0x9E3779B97F4A7C15u ^ strtoull(argv[2], NULL, 10) << 20;
    count = (uint32_t)strtoul(argv[3], NULL, 10);
    if (lpt_config_native(&config, (uint32_t)strtoul(argv[4], NULL, 10), constants, memory) == 0) {
        fail("no such member");
    }
    state = allocate((uint32_t)lpt_emulator_bytes(&config));
    if (lepton_host_engine_create(&engine, &config, state.bytes, state.size) == 0 ||
        lpt_probe(&device, &engine.bus) != LPT_OK) {
        fail("no engine");
    }
    for (i = 0u; i < count; ++i) {
        try_payload(&device, &base);
    }
    for (i = 0u; i < MAX_CODES; ++i) {
        if (refusals[i] != 0u) {
            (void)printf("refused %d %u\n", -(int)i, (unsigned)refusals[i]);
        }
    }
    for (i = 0u; i < 256u; ++i) {
        if (faults[i] != 0u) {
            (void)printf("fault %u %u\n", (unsigned)i, (unsigned)faults[i]);
        }
    }
    (void)printf("ran 0 %u\n", (unsigned)ran);
    free(state.bytes);
    free(base.bytes);
    return 0;
}
