/* driver.h: what the files of the lepton-npu driver share: reading the container, docs/lepton-npu.md, section 13.
 *
 * Names with the prefix lpt_driver_ are not API.
 */
#ifndef LEPTON_NPU_DRIVER_H
#define LEPTON_NPU_DRIVER_H

#include "lepton/npu.h"

#define LPT_PAYLOAD_MAGIC 0x3154504Cu
#define LPT_CONTAINER_MAJOR 1u
#define LPT_CONTAINER_MINOR 0u
#define LPT_PAYLOAD_ALIGNMENT 16u
#define LPT_HEADER_BYTES 64u
#define LPT_ENTRY_BYTES 16u
#define LPT_SEGMENT_BYTES 144u
#define LPT_SEGMENT_HEAD_BYTES 16u
#define LPT_REGION_BINDING_BYTES 8u
#define LPT_PORT_BYTES 48u
#define LPT_LAYER_BYTES 16u
#define LPT_TEST_HEAD_BYTES 16u

#define LPT_BINDING_NONE 0u
#define LPT_BINDING_STREAM 1u
#define LPT_BINDING_CONSTANTS 2u
#define LPT_BINDING_ARENA 3u
#define LPT_BINDING_INPUT 4u
#define LPT_BINDING_OUTPUT 5u
#define LPT_BINDING_STATE 6u
#define LPT_BINDING_TRACE 7u

LEPTON_STATIC_ASSERT(LPT_SEGMENT_BYTES ==
                         LPT_SEGMENT_HEAD_BYTES + LPT_NUM_REGIONS * LPT_REGION_BINDING_BYTES,
                     segment_holds_all_regions);
LEPTON_STATIC_ASSERT(LPT_SECTION_TEST < LPT_NUM_SECTIONS, sections_fit);
LEPTON_STATIC_ASSERT(sizeof(lpt_code) == sizeof(lepton_status), codes_have_32_bits);
LEPTON_STATIC_ASSERT(sizeof(lpt_section) == 8u, sections_are_two_words);

/* What a segment's record says of one region. */
typedef struct {
    uint32_t binding; /* LPT_BINDING_* */
    uint32_t index;   /* of the model's port */
    uint32_t attributes;
    uint32_t size_bytes;
} lpt_binding;

/* Numbers of the container; `bytes` is a multiple of 2 or 4, for payload and sections begin at 16. */
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
typedef uint16_t __attribute__((may_alias)) lpt_halfword;
typedef uint32_t __attribute__((may_alias)) lpt_word;

static inline uint32_t lpt_driver_get16(const uint8_t *bytes)
{
    return *(const lpt_halfword *)(const void *)bytes;
}

static inline uint32_t lpt_driver_get32(const uint8_t *bytes)
{
    return *(const lpt_word *)(const void *)bytes;
}
#else
static inline uint32_t lpt_driver_get16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static inline uint32_t lpt_driver_get32(const uint8_t *bytes)
{
    return lpt_driver_get16(bytes) | lpt_driver_get16(bytes + 2) << 16;
}
#endif

/* Whether [offset, offset + size) lies in [0, limit). */
static inline int lpt_driver_is_inside(uint32_t offset, uint32_t size, uint32_t limit)
{
    return offset <= limit && size <= limit - offset;
}

static inline uint32_t lpt_driver_min(uint32_t lhs, uint32_t rhs)
{
    return lhs < rhs ? lhs : rhs;
}

static inline const uint8_t *lpt_driver_section(const lpt_model *model, uint32_t kind)
{
    return model->payload + model->sections[kind].offset;
}

static inline const uint8_t *lpt_driver_segment(const lpt_model *model, uint32_t segment)
{
    return lpt_driver_section(model, LPT_SECTION_SEGMENTS) + segment * LPT_SEGMENT_BYTES;
}

static inline lpt_binding lpt_driver_binding(const uint8_t *segment, uint32_t region)
{
    const uint8_t *record =
        segment + LPT_SEGMENT_HEAD_BYTES + region * LPT_REGION_BINDING_BYTES;
    lpt_binding binding;

    binding.binding = record[0];
    binding.index = record[1];
    binding.attributes = lpt_driver_get16(record + 2);
    binding.size_bytes = lpt_driver_get32(record + 4);
    return binding;
}

static inline const uint8_t *lpt_driver_port(const lpt_model *model, uint32_t port)
{
    return lpt_driver_section(model, LPT_SECTION_PORTS) + port * LPT_PORT_BYTES;
}

static inline uint32_t lpt_driver_port_bytes(const lpt_model *model, uint32_t port)
{
    return lpt_driver_get32(lpt_driver_port(model, port) + 4);
}

static inline uint32_t lpt_driver_read(const lpt_device *device, uint32_t offset)
{
    return device->bus->read32(device->bus->user, offset);
}

static inline void lpt_driver_write(const lpt_device *device, uint32_t offset, uint32_t value)
{
    device->bus->write32(device->bus->user, offset, value);
}

/* CRC-32C (RFC 3720): start with 0, give the result for the bytes that follow. */
uint32_t lpt_driver_crc32c(uint32_t crc, const uint8_t *bytes, uint32_t size_bytes);

/* Header and section table of a payload: fills `model` but for the counts of records. `is_known`:
 * without the CRC. */
lpt_code lpt_driver_open(lpt_model *model, const lpt_device *device, const uint8_t *payload,
                         uint32_t size_bytes, int is_known);

/* The CRCs of all sections that are there. */
lpt_code lpt_driver_check_sections(const lpt_model *model);

/* The records of all sections, and that they agree; fills the counts. */
lpt_code lpt_driver_check_records(lpt_model *model);

/* Words of TEST that say what layers make of its inputs: bytes and CRC of each result. */
static inline uint32_t lpt_driver_result_words(const lpt_model *model)
{
    return lpt_driver_get32(lpt_driver_section(model, LPT_SECTION_TEST) + 8);
}

/* Byte offset in TEST of an input's bytes; of the first input behind the last: of TEST's end. */
uint32_t lpt_driver_test_input(const lpt_model *model, uint32_t input);

/* Fills `report` with a layer of a segment, and what LAYERS says of it. */
void lpt_driver_name_layer(const lpt_model *model, uint32_t segment, uint32_t number,
                           lpt_layer_report *report);

/* As lpt_bind; `from_test`: the inputs are those of the payload's TEST. */
lpt_code lpt_driver_bind(lpt_job *job, const lpt_device *device, const lpt_model *model,
                         uint32_t segment, const lpt_memory *memory, int from_test);

#endif
