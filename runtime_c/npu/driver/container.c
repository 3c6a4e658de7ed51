/* container.c: header, section table and CRCs of a payload: the first half of lpt_load. */

#include "driver.h"

#define MAX_ENTRIES (LPT_NUM_SECTIONS - 1u)

/* Byte offsets in the header. */
#define AT_MAJOR 4u
#define AT_MINOR 6u
#define AT_TOTAL 8u
#define AT_CRC 12u
#define AT_ABI 16u
#define AT_MACS 20u
#define AT_SECTIONS 22u
#define AT_CAPABILITIES 24u
#define AT_SPM 28u
#define AT_WBUF 32u
#define AT_ARENA 36u
#define AT_FLAGS 40u
#define AT_LAST 60u /* bytes 44 to 59 are the model's hash */

uint32_t lpt_payload_bytes(const void *payload)
{
    const uint8_t *header = (const uint8_t *)payload;

    if (header == NULL || (uintptr_t)header % LPT_PAYLOAD_ALIGNMENT != 0u ||
        lpt_driver_get32(header) != LPT_PAYLOAD_MAGIC) {
        return 0u;
    }
    return lpt_driver_get32(header + AT_TOTAL);
}

static lpt_code check_shape(const uint8_t *header, uint32_t size_bytes)
{
    uint32_t total, table_end;

    if (size_bytes < 4u) {
        return LPT_ERROR_TRUNCATED;
    }
    if (lpt_driver_get32(header) != LPT_PAYLOAD_MAGIC) {
        return LPT_ERROR_BAD_MAGIC;
    }
    if (size_bytes < LPT_HEADER_BYTES) {
        return LPT_ERROR_TRUNCATED;
    }
    if (lpt_driver_get16(header + AT_MAJOR) != LPT_CONTAINER_MAJOR ||
        lpt_driver_get16(header + AT_MINOR) > LPT_CONTAINER_MINOR) {
        return LPT_ERROR_CONTAINER_VERSION;
    }
    total = lpt_driver_get32(header + AT_TOTAL);
    if (total > size_bytes) {
        return LPT_ERROR_TRUNCATED;
    }
    table_end = LPT_HEADER_BYTES + LPT_ENTRY_BYTES * lpt_driver_get16(header + AT_SECTIONS);
    if (total % LPT_PAYLOAD_ALIGNMENT != 0u || table_end > total ||
        table_end > LPT_HEADER_BYTES + LPT_ENTRY_BYTES * MAX_ENTRIES ||
        lpt_driver_get32(header + AT_FLAGS) != 0u || lpt_driver_get32(header + AT_LAST) != 0u) {
        return LPT_ERROR_BAD_HEADER;
    }
    return LPT_OK;
}

static lpt_code check_crc(const uint8_t *header)
{
    static const uint8_t no_crc[4] = {0u, 0u, 0u, 0u};
    const uint32_t table_bytes = LPT_ENTRY_BYTES * lpt_driver_get16(header + AT_SECTIONS);
    uint32_t crc = lpt_driver_crc32c(0u, header, AT_CRC);

    crc = lpt_driver_crc32c(crc, no_crc, 4u);
    crc = lpt_driver_crc32c(crc, header + AT_ABI, LPT_HEADER_BYTES - AT_ABI + table_bytes);
    return crc == lpt_driver_get32(header + AT_CRC) ? LPT_OK : LPT_ERROR_HEADER_CRC;
}

static lpt_code check_engine(const uint8_t *header, const lpt_device *device)
{
    const uint32_t abi = lpt_driver_get32(header + AT_ABI);

    if (abi >> 16 != device->abi_major || (abi & 0xFFFFu) > device->abi_minor) {
        return LPT_ERROR_ABI;
    }
    if (lpt_driver_get16(header + AT_MACS) != device->macs) {
        return LPT_ERROR_MACS;
    }
    if ((lpt_driver_get32(header + AT_CAPABILITIES) & ~device->capabilities) != 0u) {
        return LPT_ERROR_CAPABILITY;
    }
    if (lpt_driver_get32(header + AT_SPM) > device->spm_bytes) {
        return LPT_ERROR_SPM;
    }
    if (lpt_driver_get32(header + AT_WBUF) > device->wbuf_bytes) {
        return LPT_ERROR_WBUF;
    }
    return LPT_OK;
}

static int overlaps_another(const lpt_model *model, const lpt_section *section)
{
    uint32_t kind;

    for (kind = 1u; kind < LPT_NUM_SECTIONS; ++kind) {
        const lpt_section *other = &model->sections[kind];

        if (other->size_bytes != 0u && section->offset < other->offset + other->size_bytes &&
            other->offset < section->offset + section->size_bytes) {
            return 1;
        }
    }
    return 0;
}

static lpt_code read_section_table(lpt_model *model, uint32_t num_entries)
{
    const uint32_t table_end = LPT_HEADER_BYTES + LPT_ENTRY_BYTES * num_entries;
    uint32_t i;

    for (i = 0u; i < LPT_NUM_SECTIONS; ++i) {
        model->sections[i].offset = 0u;
        model->sections[i].size_bytes = 0u;
    }
    for (i = 0u; i < num_entries; ++i) {
        const uint8_t *entry = model->payload + LPT_HEADER_BYTES + LPT_ENTRY_BYTES * i;
        const uint32_t kind = lpt_driver_get32(entry);
        lpt_section section;

        section.offset = lpt_driver_get32(entry + 4);
        section.size_bytes = lpt_driver_get32(entry + 8);
        if (kind == 0u || kind >= LPT_NUM_SECTIONS || section.size_bytes == 0u ||
            model->sections[kind].size_bytes != 0u || section.offset < table_end ||
            section.offset % LPT_PAYLOAD_ALIGNMENT != 0u ||
            !lpt_driver_is_inside(section.offset, section.size_bytes, model->size_bytes) ||
            overlaps_another(model, &section)) {
            return LPT_ERROR_BAD_SECTION;
        }
        model->sections[kind] = section;
    }
    return LPT_OK;
}

lpt_code lpt_driver_open(lpt_model *model, const lpt_device *device, const uint8_t *payload,
                         uint32_t size_bytes, int is_known)
{
    lpt_code code;

    if ((uintptr_t)payload % LPT_PAYLOAD_ALIGNMENT != 0u) {
        return LPT_ERROR_MISALIGNED_PAYLOAD;
    }
    code = check_shape(payload, size_bytes);
    if (code == LPT_OK && !is_known) {
        code = check_crc(payload);
    }
    if (code == LPT_OK) {
        code = check_engine(payload, device);
    }
    if (code != LPT_OK) {
        return code;
    }
    model->payload = payload;
    model->size_bytes = lpt_driver_get32(payload + AT_TOTAL);
    model->arena_bytes = lpt_driver_get32(payload + AT_ARENA);
    model->spm_bytes = lpt_driver_get32(payload + AT_SPM);
    model->wbuf_bytes = lpt_driver_get32(payload + AT_WBUF);
    return read_section_table(model, lpt_driver_get16(payload + AT_SECTIONS));
}

lpt_code lpt_driver_check_sections(const lpt_model *model)
{
    const uint32_t num_entries = lpt_driver_get16(model->payload + AT_SECTIONS);
    uint32_t i;

    for (i = 0u; i < num_entries; ++i) {
        const uint8_t *entry = model->payload + LPT_HEADER_BYTES + LPT_ENTRY_BYTES * i;
        const uint8_t *content = model->payload + lpt_driver_get32(entry + 4);

        if (lpt_driver_crc32c(0u, content, lpt_driver_get32(entry + 8)) !=
            lpt_driver_get32(entry + 12)) {
            return LPT_ERROR_SECTION_CRC;
        }
    }
    return LPT_OK;
}
