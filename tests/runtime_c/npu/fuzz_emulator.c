/* fuzz_emulator.c: runs mutated streams on the emulator, under sanitizers; prints how often each fault came.
 *
 * fuzz_emulator CORPUS COUNT SEED. The corpus is a sequence of cases, made by test_emulator_sources.py:
 * five u32 (MACs; bytes of the stream, of constants, of input, of output and trace) and the bytes of
 * stream, constants and input.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "host.h"

#define CHECK_BYTES (4u * LPT_CHECK_WORDS)
#define WATCHDOG 20000u
#define HEADER_WORDS 5u

typedef struct {
    uint32_t macs;
    uint32_t stream_bytes;
    uint32_t constants_bytes;
    uint32_t input_bytes;
    uint32_t output_bytes;
    const uint8_t *content;
} test_case;

static uint64_t state;

/* xorshift64* */
static uint32_t draw(uint32_t limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1Dull) >> 33) % limit;
}

static void put_word(uint8_t *bytes, uint32_t word)
{
    memcpy(bytes, &word, sizeof word);
}

static uint32_t get_word(const uint8_t *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

static uint32_t changed(uint32_t word)
{
    static const uint32_t interesting[] = {
        0u, 1u, 0xFFFFFFFFu, 0x7F800000u, 0x80000000u, 0x30000000u, 0x400000FFu, 0x70000000u,
        0x10000000u, 0xFFFF0001u, 0x0001FFFFu, 0x3001FFFCu,
    };

    switch (draw(6u)) {
    case 0u:
        return word ^ 1u << draw(32u);
    case 1u:
        return interesting[draw(sizeof interesting / sizeof interesting[0])];
    case 2u:
        return word + draw(7u) - 3u;
    case 3u:
        return (word & 0xFFFF0000u) | draw(64u);
    case 4u:
        return (word & 0xFFFFu) | draw(64u) << 16;
    default:
        return word ^ draw(0xFFFFFFFFu);
    }
}

/* Changes a word of a packet; mostly with its CRC mended, so that the field itself is judged. */
static void change_packet(uint8_t *stream, uint32_t stream_bytes)
{
    uint32_t skipped = draw(40u);
    uint32_t offset = 0u;
    uint32_t size = 16u * stream[2];
    uint8_t *word;

    while (skipped-- != 0u && offset + size + 16u <= stream_bytes) {
        offset += size;
        size = 16u * stream[offset + 2u];
    }
    if (size < 16u || offset + size > stream_bytes) {
        return;
    }
    word = stream + offset + 4u * draw(size / 4u);
    put_word(word, changed(get_word(word)));
    if (draw(32u) != 0u) {
        put_word(stream + offset + size - 4u, lpt_crc32c(0u, stream + offset, size - 4u));
    }
}

static void mend_check(uint8_t *stream, uint32_t stream_bytes)
{
    put_word(stream + 32, lpt_crc32c(0u, stream + CHECK_BYTES, stream_bytes - CHECK_BYTES));
    put_word(stream + CHECK_BYTES - 4u, lpt_crc32c(0u, stream, CHECK_BYTES - 4u));
}

static uint8_t *copy_of(const uint8_t *bytes, uint32_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size + 1u);

    if (copy == NULL) {
        exit(2);
    }
    memcpy(copy, bytes, size);
    return copy;
}

static void set_region(lpt_emulator *emulator, lpt_window *window, uint32_t region, uint8_t *bytes,
                       uint32_t size)
{
    const uint32_t registers = region * LPT_REG_REGION_BASE_STRIDE;

    window[region] = (lpt_window){bytes, region << LPT_OFFSET_BITS, size, 1u};
    lpt_emulator_store(emulator, LPT_REG_REGION_BASE + registers, region << LPT_OFFSET_BITS);
    lpt_emulator_store(emulator, LPT_REG_REGION_SIZE + registers, size);
    lpt_emulator_store(emulator, LPT_REG_REGION_ATTR + registers,
                       region == LPT_REGION_CONSTANTS ? LPT_REGION_ATTR_READ : 3u);
}

static uint32_t run(const test_case *of, void *memory, size_t memory_bytes,
                    const lpt_config *config)
{
    uint8_t *stream = copy_of(of->content, of->stream_bytes);
    uint8_t *constants = copy_of(of->content + of->stream_bytes, of->constants_bytes);
    uint8_t *input =
        copy_of(of->content + of->stream_bytes + of->constants_bytes, of->input_bytes);
    uint8_t *output = copy_of(input, of->output_bytes);
    lpt_window windows[LPT_NUM_REGIONS] = {{0}};
    lpt_host_memory host = {windows, LPT_NUM_REGIONS};
    const lpt_bus bus = {&host, lpt_host_read, lpt_host_write};
    lpt_emulator *emulator = lpt_emulator_create(memory, memory_bytes, config, &bus);
    uint32_t changes = draw(4u);
    uint32_t fault;

    if (emulator == NULL) {
        exit(2);
    }
    while (changes-- != 0u) {
        change_packet(stream, of->stream_bytes);
    }
    if (draw(4u) == 0u) {
        constants[draw(of->constants_bytes)] ^= (uint8_t)(1u << draw(8u));
    }
    if (draw(32u) != 0u) {
        mend_check(stream, of->stream_bytes);
    }
    set_region(emulator, windows, LPT_REGION_STREAM, stream, of->stream_bytes);
    set_region(emulator, windows, LPT_REGION_CONSTANTS, constants, of->constants_bytes);
    set_region(emulator, windows, LPT_REGION_INPUT0, input, of->input_bytes);
    set_region(emulator, windows, LPT_REGION_OUTPUT0, output, of->output_bytes);
    set_region(emulator, windows, LPT_REGION_TRACE, output, of->output_bytes);
    lpt_emulator_store(emulator, LPT_REG_QSIZE, of->stream_bytes - (draw(64u) == 0u ? 16u : 0u));
    lpt_emulator_store(emulator, LPT_REG_WDOG, WATCHDOG);
    lpt_emulator_store(emulator, LPT_REG_CTRL, LPT_CTRL_RUN);
    if (draw(16u) == 0u) {
        (void)lpt_emulator_advance(emulator, draw(WATCHDOG));
        lpt_emulator_store(emulator, LPT_REG_CTRL, LPT_CTRL_HALT);
    }
    (void)lpt_emulator_advance(emulator, UINT64_MAX);
    if ((lpt_emulator_load(emulator, LPT_REG_STATUS) & 3u) == LPT_STATUS_RUNNING) {
        exit(3);
    }
    fault = lpt_emulator_load(emulator, LPT_REG_FAULT_CODE);
    free(stream);
    free(constants);
    free(input);
    free(output);
    return fault;
}

static test_case read_case(const uint8_t **corpus)
{
    const uint8_t *header = *corpus;
    test_case of = {get_word(header),      get_word(header + 4),  get_word(header + 8),
                    get_word(header + 12), get_word(header + 16), header + 4u * HEADER_WORDS};

    *corpus = of.content + of.stream_bytes + of.constants_bytes + of.input_bytes;
    return of;
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *content;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        exit(2);
    }
    *size = (size_t)ftell(file);
    rewind(file);
    content = (uint8_t *)malloc(*size);
    if (content == NULL || fread(content, 1, *size, file) != *size) {
        exit(2);
    }
    fclose(file);
    return content;
}

int main(int argc, char **argv)
{
    const lpt_port port = {64u, 10u};
    size_t corpus_bytes;
    uint8_t *corpus = argc == 4 ? read_file(argv[1], &corpus_bytes) : NULL;
    const uint8_t *next = corpus;
    uint32_t faults[256] = {0u};
    uint32_t left;
    uint32_t code;

    if (corpus == NULL) {
        return 2;
    }
    state = strtoull(argv[3], NULL, 10) * 2u + 1u;
    for (left = (uint32_t)strtoul(argv[2], NULL, 10); left != 0u; --left) {
        const test_case of = read_case(&next);
        lpt_config config;
        size_t memory_bytes;
        void *memory;

        if (lpt_config_native(&config, of.macs, port, port) == 0) {
            return 2;
        }
        memory_bytes = lpt_emulator_bytes(&config);
        memory = malloc(memory_bytes);
        if (memory == NULL) {
            return 2;
        }
        ++faults[run(&of, memory, memory_bytes, &config) & 255u];
        free(memory);
        if (next == corpus + corpus_bytes) {
            next = corpus;
        }
    }
    for (code = 0u; code < 256u; ++code) {
        if (faults[code] != 0u) {
            printf("%u %u\n", code, faults[code]);
        }
    }
    free(corpus);
    return 0;
}
