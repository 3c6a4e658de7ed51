/* checks.c: what may be wrong with a packet, in the order of docs/lepton-npu.md, section 10. */

#include "checks.h"

#define MAX_ZERO_POINT 255
#define EXPONENT_MASK 0x7F800000u
#define SIGN_MASK 0x80000000u
#define SLICE_ALIGNMENT 4u

void lpt_require(lpt_checker *checker, bool condition, uint32_t code, uint32_t word,
                 uint32_t address)
{
    if (!condition && checker->fault.code == LPT_FAULT_NONE) {
        checker->fault = (lpt_fault){code, word, address};
    }
}

bool lpt_passed(const lpt_checker *checker)
{
    return checker->fault.code == LPT_FAULT_NONE;
}

void lpt_require_legal(lpt_checker *checker, bool condition, uint32_t word)
{
    lpt_require(checker, condition, LPT_FAULT_ILLEGAL_FIELD, word, 0u);
}

void lpt_require_in_spm(lpt_checker *checker, uint32_t address, uint32_t word)
{
    lpt_require_legal(checker, LPT_REGION_OF(address) == LPT_REGION_SPM, word);
}

void lpt_require_inside(lpt_checker *checker, uint32_t address, uint32_t word)
{
    lpt_require_legal(checker, lpt_is_internal(LPT_REGION_OF(address)), word);
}

void lpt_require_zero_point(lpt_checker *checker, int32_t zero_point, uint32_t word)
{
    lpt_require_legal(checker, zero_point >= -MAX_ZERO_POINT && zero_point <= MAX_ZERO_POINT, word);
}

void lpt_require_clamp(lpt_checker *checker, int32_t low, int32_t high, uint32_t word)
{
    lpt_require_legal(checker, low >= INT8_MIN && low <= high && high <= INT8_MAX, word);
}

static bool is_normal(uint32_t bits)
{
    const uint32_t exponent = bits & EXPONENT_MASK;

    return exponent != 0u && exponent != EXPONENT_MASK;
}

bool lpt_is_positive_normal(uint32_t bits)
{
    return is_normal(bits) && (bits & SIGN_MASK) == 0u;
}

void lpt_require_positive_scale(lpt_checker *checker, uint32_t bits, uint32_t word)
{
    lpt_require(checker, lpt_is_positive_normal(bits), LPT_FAULT_BAD_SCALE, word, 0u);
}

void lpt_require_normal_scale(lpt_checker *checker, uint32_t bits, uint32_t word)
{
    lpt_require(checker, is_normal(bits), LPT_FAULT_BAD_SCALE, word, 0u);
}

void lpt_require_offset(lpt_checker *checker, uint32_t bits, uint32_t word)
{
    const bool is_zero = (bits & ~SIGN_MASK) == 0u;

    lpt_require(checker, is_zero || is_normal(bits), LPT_FAULT_BAD_SCALE, word, 0u);
}

void lpt_require_unused_scale(lpt_checker *checker, uint32_t bits, uint32_t word)
{
    lpt_require(checker, bits == 0u, LPT_FAULT_BAD_SCALE, word, 0u);
}

void lpt_require_ring(lpt_checker *checker, const lpt_map *map, uint32_t height, uint32_t word)
{
    const bool has_rings =
        (checker->emulator->config.capabilities & LPT_CAPABILITY_RINGS) != 0u;

    if (map->ring_rows == 0u) {
        return;
    }
    lpt_require_legal(checker,
                      has_rings && map->ring_start < map->ring_rows && height <= map->ring_rows,
                      word);
}

void lpt_require_extent(lpt_checker *checker, uint32_t address, uint64_t extent,
                        lpt_access access, uint32_t word)
{
    const lpt_region *region = &checker->emulator->regions[LPT_REGION_OF(address)];
    const bool inside =
        extent <= region->size && LPT_OFFSET_OF(address) <= region->size - extent;

    if (access == LPT_READS) {
        lpt_require(checker, inside && (region->attributes & LPT_REGION_ATTR_READ) != 0u,
                    LPT_FAULT_READ_OUT_OF_BOUNDS, word, address);
    } else {
        lpt_require(checker, inside, LPT_FAULT_WRITE_OUT_OF_BOUNDS, word, address);
        lpt_require(checker, (region->attributes & LPT_REGION_ATTR_WRITE) != 0u,
                    LPT_FAULT_WRITE_TO_READ_ONLY, word, address);
    }
}

void lpt_require_slice(lpt_checker *checker, const lpt_slice *slice, uint32_t word)
{
    lpt_require(checker, slice->address % SLICE_ALIGNMENT == 0u, LPT_FAULT_MISALIGNED, word,
                slice->address);
    lpt_require_extent(checker, slice->address, slice->bytes, LPT_READS, word);
}

void lpt_require_map(lpt_checker *checker, const lpt_map *map, lpt_extent extent,
                     lpt_access access, uint32_t word)
{
    const uint64_t rows = map->ring_rows != 0u ? map->ring_rows : extent.height;
    const uint64_t bytes = (rows - 1u) * map->row_stride +
                           (extent.width - 1u) * (uint64_t)map->pixel_stride + extent.channels;

    lpt_require_extent(checker, map->address, bytes, access, word);
}

static void check_reserved_bits(lpt_checker *checker, const lpt_packet *packet,
                                const uint32_t *masks, uint32_t num_words)
{
    uint32_t i;

    for (i = 0u; i < num_words; ++i) {
        lpt_require(checker, (packet->words[i] & masks[i]) == 0u, LPT_FAULT_RESERVED_BITS, i, 0u);
    }
}

#define CHECK_RESERVED(opcode)                                                          \
    do {                                                                                \
        static const uint32_t masks[] = LPT_##opcode##_RESERVED;                        \
        LEPTON_STATIC_ASSERT(sizeof masks == 4u * LPT_##opcode##_WORDS, opcode##_size); \
        check_reserved_bits(checker, packet, masks, LPT_##opcode##_WORDS);              \
    } while (0)

static void check_reserved(lpt_checker *checker, const lpt_packet *packet, uint32_t opcode)
{
    switch (opcode) {
    case LPT_OPCODE_NOP:
        CHECK_RESERVED(NOP);
        break;
    case LPT_OPCODE_CHECK:
        CHECK_RESERVED(CHECK);
        break;
    case LPT_OPCODE_DMA:
        CHECK_RESERVED(DMA);
        break;
    case LPT_OPCODE_CONV:
        CHECK_RESERVED(CONV);
        break;
    case LPT_OPCODE_DEPTHWISE:
        CHECK_RESERVED(DEPTHWISE);
        break;
    case LPT_OPCODE_MATMUL:
        CHECK_RESERVED(MATMUL);
        break;
    case LPT_OPCODE_ELEMENTWISE:
        CHECK_RESERVED(ELEMENTWISE);
        break;
    case LPT_OPCODE_POOL:
        CHECK_RESERVED(POOL);
        break;
    case LPT_OPCODE_TABLE:
        CHECK_RESERVED(TABLE);
        break;
    case LPT_OPCODE_SEPARABLE:
        CHECK_RESERVED(SEPARABLE);
        break;
    case LPT_OPCODE_FENCE:
        CHECK_RESERVED(FENCE);
        break;
    case LPT_OPCODE_TRACE:
        CHECK_RESERVED(TRACE);
        break;
    case LPT_OPCODE_IRQ:
        CHECK_RESERVED(IRQ);
        break;
    default:
        CHECK_RESERVED(END);
        break;
    }
}

/* Legal values, then scales, then what fits and how long it takes, then operands. */
#define CHECK_OPERANDS(kind)                                                            \
    do {                                                                                \
        const lpt_##kind op = lpt_##kind##_of(packet->words);                           \
        lpt_check_##kind##_values(checker, &op);                                        \
        lpt_check_##kind##_scales(checker, &op);                                        \
        check_capacity(checker, packet, cycles);                                        \
        if (lpt_passed(checker)) {                                                      \
            lpt_check_##kind##_extents(checker, &op);                                   \
        }                                                                               \
    } while (0)

/* Needs no scales. */
#define lpt_check_table_scales(checker, op) ((void)(checker), (void)(op))
#define lpt_check_dma_scales(checker, op) ((void)(checker), (void)(op))

static void check_capacity(lpt_checker *checker, const lpt_packet *packet, lpt_cycles *cycles)
{
    const bool is_matmul = lpt_get(packet->words, LPT_HEADER_OPCODE) == LPT_OPCODE_MATMUL;
    const uint32_t word = is_matmul ? LPT_WORD(LPT_MATMUL_MODE) : LPT_WORD(LPT_CONV_MODE);

    if (lpt_passed(checker)) {
        lpt_require(checker,
                    lpt_packet_cycles(&checker->emulator->config, packet->words, cycles) != 0,
                    LPT_FAULT_EXCEEDS_CAPACITY, word, 0u);
    }
}

static void check_operands(lpt_checker *checker, const lpt_packet *packet, uint32_t opcode,
                           lpt_cycles *cycles)
{
    switch (opcode) {
    case LPT_OPCODE_CONV:
    case LPT_OPCODE_DEPTHWISE:
    case LPT_OPCODE_SEPARABLE:
    case LPT_OPCODE_POOL:
        CHECK_OPERANDS(windowed);
        break;
    case LPT_OPCODE_MATMUL:
        CHECK_OPERANDS(matmul);
        break;
    case LPT_OPCODE_ELEMENTWISE:
        CHECK_OPERANDS(elementwise);
        break;
    case LPT_OPCODE_TABLE:
        CHECK_OPERANDS(table);
        break;
    case LPT_OPCODE_DMA:
        CHECK_OPERANDS(dma);
        break;
    case LPT_OPCODE_TRACE:
        lpt_require_extent(checker, LPT_REGION_TRACE << LPT_OFFSET_BITS, LPT_TRACE_BYTES,
                           LPT_WRITES, 0u);
        check_capacity(checker, packet, cycles);
        break;
    default:
        check_capacity(checker, packet, cycles);
        break;
    }
}

lpt_fault lpt_check_reserved(const lpt_emulator *emulator, const lpt_packet *packet)
{
    lpt_checker checker = {emulator, {LPT_FAULT_NONE, 0u, 0u}};

    check_reserved(&checker, packet, lpt_get(packet->words, LPT_HEADER_OPCODE));
    return checker.fault;
}

lpt_fault lpt_check_packet(const lpt_emulator *emulator, const lpt_packet *packet,
                           lpt_cycles *cycles)
{
    lpt_checker checker = {emulator, {LPT_FAULT_NONE, 0u, 0u}};

    memset(cycles, 0, sizeof *cycles);
    check_operands(&checker, packet, lpt_get(packet->words, LPT_HEADER_OPCODE), cycles);
    return checker.fault;
}
