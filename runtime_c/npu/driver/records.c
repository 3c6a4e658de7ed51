/* records.c: segments, ports, layers and test of a payload: the second half of lpt_load.
 *
 * Everything that lpt_bind, lpt_fault and lpt_selftest read later is checked here, so that they
 * need no checks of their own.
 */

#include "driver.h"

#define BINARY32_INFINITY 0x7F800000u

lpt_code lpt_load(lpt_model *model, const lpt_device *device, const void *payload,
                  uint32_t size_bytes)
{
    lpt_code code;

    if (model == NULL || device == NULL || payload == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    code = lpt_driver_open(model, device, (const uint8_t *)payload, size_bytes, 0);
    if (code == LPT_OK) {
        code = lpt_driver_check_sections(model);
    }
    return code == LPT_OK ? lpt_driver_check_records(model) : code;
}

lpt_code lpt_load_again(lpt_model *model, const lpt_device *device, const void *payload,
                        uint32_t size_bytes)
{
    lpt_code code;

    if (model == NULL || device == NULL || payload == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    code = lpt_driver_open(model, device, (const uint8_t *)payload, size_bytes, 1);
    return code == LPT_OK ? lpt_driver_check_records(model) : code;
}

static lpt_code count_records(lpt_model *model)
{
    const lpt_section *sections = model->sections;
    const lpt_section *strings = &sections[LPT_SECTION_STRINGS];

    if (sections[LPT_SECTION_SEGMENTS].size_bytes == 0u ||
        sections[LPT_SECTION_STREAM].size_bytes == 0u ||
        sections[LPT_SECTION_PORTS].size_bytes == 0u || strings->size_bytes == 0u) {
        return LPT_ERROR_MISSING_SECTION;
    }
    if (sections[LPT_SECTION_SEGMENTS].size_bytes % LPT_SEGMENT_BYTES != 0u) {
        return LPT_ERROR_BAD_SEGMENT;
    }
    if (sections[LPT_SECTION_PORTS].size_bytes % LPT_PORT_BYTES != 0u) {
        return LPT_ERROR_BAD_PORT;
    }
    if (sections[LPT_SECTION_LAYERS].size_bytes % LPT_LAYER_BYTES != 0u) {
        return LPT_ERROR_BAD_LAYER;
    }
    if (lpt_driver_section(model, LPT_SECTION_STRINGS)[strings->size_bytes - 1u] != 0u) {
        return LPT_ERROR_BAD_STRINGS;
    }
    model->num_segments = sections[LPT_SECTION_SEGMENTS].size_bytes / LPT_SEGMENT_BYTES;
    model->num_layers = sections[LPT_SECTION_LAYERS].size_bytes / LPT_LAYER_BYTES;
    return LPT_OK;
}

static int is_string(const lpt_model *model, uint32_t offset)
{
    return offset < model->sections[LPT_SECTION_STRINGS].size_bytes;
}

/* Whether the dimensions and the element type give the port's bytes; unused dimensions are 0. */
static int sizes_agree(const uint8_t *port)
{
    static const uint8_t element_bytes[LPT_DTYPE_BOOL + 1u] = {0u, 1u, 1u, 2u, 2u, 4u, 8u, 4u, 1u};
    const uint32_t size_bytes = lpt_driver_get32(port + 4);
    uint64_t product = element_bytes[port[1]];
    uint32_t i;

    for (i = 0u; i < LPT_MAX_RANK; ++i) {
        const uint32_t dim = lpt_driver_get32(port + 20u + 4u * i);

        if (i < port[2]) {
            product *= dim;
            /* Any product that is too large, once cut, would stay so or become 0 by a later 0. */
            product = product > UINT32_MAX ? (uint64_t)UINT32_MAX + 1u : product;
        } else if (dim != 0u) {
            return 0;
        }
    }
    return port[1] == 0u || product == size_bytes;
}

static lpt_code check_ports(lpt_model *model)
{
    const uint32_t num_ports = model->sections[LPT_SECTION_PORTS].size_bytes / LPT_PORT_BYTES;
    uint32_t i;

    model->num_inputs = 0u;
    model->num_outputs = 0u;
    for (i = 0u; i < num_ports; ++i) {
        const uint8_t *port = lpt_driver_port(model, i);
        const uint32_t is_output = port[0];

        if (is_output > 1u || port[1] > LPT_DTYPE_BOOL || port[2] > LPT_MAX_RANK ||
            port[3] != 0u || lpt_driver_get32(port + 44) != 0u ||
            !is_string(model, lpt_driver_get32(port + 8)) ||
            lpt_driver_get32(port + 12) >= BINARY32_INFINITY || !sizes_agree(port) ||
            (is_output == 0u && model->num_outputs != 0u)) {
            return LPT_ERROR_BAD_PORT;
        }
        model->num_inputs += 1u - is_output;
        model->num_outputs += is_output;
    }
    return LPT_OK;
}

/* What a region may be bound to, with which attributes, and how large it may be. */
static lpt_code check_binding(const lpt_model *model, uint32_t region, const lpt_binding *binding)
{
    const uint32_t write = binding->attributes & LPT_REGION_ATTR_WRITE;
    const uint32_t num_ports =
        binding->binding == LPT_BINDING_INPUT    ? model->num_inputs
        : binding->binding == LPT_BINDING_OUTPUT ? model->num_outputs
                                                 : 1u;
    uint32_t limit = UINT32_MAX;

    if ((binding->binding == LPT_BINDING_STREAM) != (region == LPT_REGION_STREAM)) {
        return LPT_ERROR_BAD_BINDING;
    }
    if (binding->binding == LPT_BINDING_NONE) {
        return binding->index == 0u && binding->attributes == 0u && binding->size_bytes == 0u
                   ? LPT_OK
                   : LPT_ERROR_BAD_BINDING;
    }
    if (region == LPT_REGION_SPM || region == LPT_REGION_WBUF || region == LPT_RESERVED_REGION ||
        binding->binding > LPT_BINDING_TRACE || binding->index >= num_ports ||
        binding->attributes == 0u ||
        binding->attributes > (LPT_REGION_ATTR_READ | LPT_REGION_ATTR_WRITE)) {
        return LPT_ERROR_BAD_BINDING;
    }
    switch (binding->binding) {
    case LPT_BINDING_STREAM:
        limit = write != 0u ? 0u : model->sections[LPT_SECTION_STREAM].size_bytes;
        break;
    case LPT_BINDING_CONSTANTS:
        if (model->sections[LPT_SECTION_CONSTANTS].size_bytes == 0u) {
            return LPT_ERROR_MISSING_SECTION;
        }
        limit = write != 0u ? 0u : model->sections[LPT_SECTION_CONSTANTS].size_bytes;
        break;
    case LPT_BINDING_ARENA:
        limit = model->arena_bytes;
        break;
    case LPT_BINDING_INPUT:
        limit = write != 0u ? 0u : lpt_driver_port_bytes(model, binding->index);
        break;
    case LPT_BINDING_OUTPUT:
        limit = lpt_driver_port_bytes(model, model->num_inputs + binding->index);
        break;
    default:
        break;
    }
    if ((write != 0u && limit == 0u) || binding->size_bytes > limit) {
        return LPT_ERROR_BAD_BINDING;
    }
    return LPT_OK;
}

static lpt_code check_segments(const lpt_model *model)
{
    uint32_t i, region;

    for (i = 0u; i < model->num_segments; ++i) {
        const uint8_t *segment = lpt_driver_segment(model, i);
        const uint32_t offset = lpt_driver_get32(segment);
        const uint32_t size_bytes = lpt_driver_get32(segment + 4);

        if (offset % LPT_PAYLOAD_ALIGNMENT != 0u || size_bytes % LPT_PAYLOAD_ALIGNMENT != 0u ||
            size_bytes == 0u ||
            !lpt_driver_is_inside(offset, size_bytes,
                                  model->sections[LPT_SECTION_STREAM].size_bytes)) {
            return LPT_ERROR_BAD_SEGMENT;
        }
        for (region = 0u; region < LPT_NUM_REGIONS; ++region) {
            const lpt_binding binding = lpt_driver_binding(segment, region);
            const lpt_code code = check_binding(model, region, &binding);

            if (code != LPT_OK) {
                return code;
            }
        }
    }
    return LPT_OK;
}

static lpt_code check_layers(const lpt_model *model)
{
    const uint8_t *layer = lpt_driver_section(model, LPT_SECTION_LAYERS);
    uint32_t i;

    for (i = 0u; i < model->num_layers; ++i, layer += LPT_LAYER_BYTES) {
        if (lpt_driver_get16(layer) >= model->num_segments ||
            !is_string(model, lpt_driver_get32(layer + 4)) ||
            !is_string(model, lpt_driver_get32(layer + 8)) || lpt_driver_get32(layer + 12) != 0u) {
            return LPT_ERROR_BAD_LAYER;
        }
    }
    return LPT_OK;
}

static lpt_code check_test(const lpt_model *model)
{
    const uint8_t *test = lpt_driver_section(model, LPT_SECTION_TEST);
    const uint32_t size_bytes = model->sections[LPT_SECTION_TEST].size_bytes;
    uint64_t end;
    uint32_t i;

    if (size_bytes == 0u) {
        return LPT_OK;
    }
    if (size_bytes < LPT_TEST_HEAD_BYTES || lpt_driver_get32(test) != model->num_inputs ||
        lpt_driver_get32(test + 4) != model->num_outputs || lpt_driver_get32(test + 12) != 0u) {
        return LPT_ERROR_BAD_TEST;
    }
    end = LPT_TEST_HEAD_BYTES +
          4u * ((uint64_t)model->num_outputs + lpt_driver_get32(test + 8));
    for (i = 0u; i < model->num_inputs && end <= size_bytes; ++i) {
        end = (end + LPT_PAYLOAD_ALIGNMENT - 1u) / LPT_PAYLOAD_ALIGNMENT * LPT_PAYLOAD_ALIGNMENT +
              lpt_driver_port_bytes(model, i);
    }
    return i == model->num_inputs && end == size_bytes ? LPT_OK : LPT_ERROR_BAD_TEST;
}

lpt_code lpt_driver_check_records(lpt_model *model)
{
    lpt_code code = count_records(model);

    if (code == LPT_OK) {
        code = check_ports(model);
    }
    if (code == LPT_OK) {
        code = check_segments(model);
    }
    if (code == LPT_OK) {
        code = check_layers(model);
    }
    return code == LPT_OK ? check_test(model) : code;
}

uint32_t lpt_driver_test_input(const lpt_model *model, uint32_t input)
{
    const uint8_t *test = lpt_driver_section(model, LPT_SECTION_TEST);
    uint32_t offset =
        LPT_TEST_HEAD_BYTES + 4u * (model->num_outputs + lpt_driver_get32(test + 8));
    uint32_t i;

    for (i = 0u; i < input; ++i) {
        offset += (LPT_PAYLOAD_ALIGNMENT - offset % LPT_PAYLOAD_ALIGNMENT) % LPT_PAYLOAD_ALIGNMENT;
        offset += lpt_driver_port_bytes(model, i);
    }
    return offset + (LPT_PAYLOAD_ALIGNMENT - offset % LPT_PAYLOAD_ALIGNMENT) % LPT_PAYLOAD_ALIGNMENT;
}

lpt_code lpt_port_of(const lpt_model *model, uint32_t is_output, uint32_t index,
                     lpt_port_info *port)
{
    const uint8_t *record;
    uint32_t i;

    if (model == NULL || port == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    if (index >= (is_output != 0u ? model->num_outputs : model->num_inputs)) {
        return LPT_ERROR_BAD_PORT;
    }
    record = lpt_driver_port(model, is_output != 0u ? model->num_inputs + index : index);
    port->name = (const char *)lpt_driver_section(model, LPT_SECTION_STRINGS) +
                 lpt_driver_get32(record + 8);
    port->dtype = record[1];
    port->rank = record[2];
    port->size_bytes = lpt_driver_get32(record + 4);
    port->scale_bits = lpt_driver_get32(record + 12);
    port->zero_point = (int32_t)lpt_driver_get32(record + 16);
    for (i = 0u; i < LPT_MAX_RANK; ++i) {
        port->dims[i] = lpt_driver_get32(record + 20u + 4u * i);
    }
    return LPT_OK;
}

uint64_t lpt_estimated_cycles(const lpt_model *model, uint32_t segment)
{
    const uint8_t *record;

    if (model == NULL || segment >= model->num_segments) {
        return 0u;
    }
    record = lpt_driver_segment(model, segment);
    return lpt_driver_get32(record + 8) | (uint64_t)lpt_driver_get32(record + 12) << 32;
}
