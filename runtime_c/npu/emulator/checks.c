/* checks.c: what may be wrong with a packet, in the order of docs/lepton-npu.md, section 10. */

#include "checks.h"

#define MAX_ZERO_POINT 255
#define EXPONENT_MASK 0x7F800000u
#define SIGN_MASK 0x80000000u

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
    lpt_require(checker, LPT_REGION_OF(address) == LPT_REGION_SPM, LPT_FAULT_ILLEGAL_FIELD, word,
                address);
}

void lpt_require_inside(lpt_checker *checker, uint32_t address, uint32_t word)
{
    lpt_require(checker, lpt_is_internal(LPT_REGION_OF(address)), LPT_FAULT_ILLEGAL_FIELD, word,
                address);
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

void lpt_require_ring(lpt_checker *checker, const lpt_map *map, uint32_t height, uint32_t word)
{
    const bool has_rings =
        (checker->emulator->config.capabilities & LPT_CAPABILITY_RINGS) != 0u;

    if (map->ring_rows == 0u) {
        lpt_require_legal(checker, map->ring_start == 0u, word);
    } else {
        lpt_require_legal(checker,
                          has_rings && map->ring_start < map->ring_rows && height <= map->ring_rows,
                          word);
    }
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
        lpt_require(checker, (region->attributes & LPT_REGION_ATTR_WRITE) != 0u,
                    LPT_FAULT_WRITE_TO_READ_ONLY, word, address);
        lpt_require(checker, inside, LPT_FAULT_WRITE_OUT_OF_BOUNDS, word, address);
    }
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

/* Fields and shapes, then what fits and how long it takes, then extents. */
#define CHECK_OPERANDS(kind)                                                                   \
    do {                                                                                       \
        const lpt_##kind op = lpt_##kind##_of(packet->words);                                  \
        lpt_check_##kind##_fields(checker, &op);                                               \
        if (lpt_passed(checker)) {                                                             \
            lpt_require(checker, lpt_packet_cycles(config, packet->words, cycles) != 0,        \
                        LPT_FAULT_EXCEEDS_CAPACITY, mode_word, 0u);                            \
            lpt_check_##kind##_extents(checker, &op);                                          \
        }                                                                                      \
    } while (0)

static void check_operands(lpt_checker *checker, const lpt_packet *packet, uint32_t opcode,
                           lpt_cycles *cycles)
{
    const lpt_config *config = &checker->emulator->config;
    const uint32_t mode_word =
        opcode == LPT_OPCODE_MATMUL ? LPT_WORD(LPT_MATMUL_MODE) : LPT_WORD(LPT_CONV_MODE);

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
        (void)lpt_packet_cycles(config, packet->words, cycles);
        break;
    default:
        (void)lpt_packet_cycles(config, packet->words, cycles);
        break;
    }
}

lpt_fault lpt_check_packet(const lpt_emulator *emulator, const lpt_packet *packet,
                           lpt_cycles *cycles)
{
    const uint32_t opcode = lpt_get(packet->words, LPT_HEADER_OPCODE);
    lpt_checker checker = {emulator, {LPT_FAULT_NONE, 0u, 0u}};

    memset(cycles, 0, sizeof *cycles);
    check_reserved(&checker, packet, opcode);
    if (lpt_passed(&checker)) {
        check_operands(&checker, packet, opcode, cycles);
    }
    return checker.fault;
}
