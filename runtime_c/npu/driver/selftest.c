/* selftest.c: runs the payload's own test vector and compares the CRCs of its outputs. */

#include "driver.h"

/* So that what an earlier run left behind cannot pass. */
#define STALE 0x5Au

static lpt_code prepare_outputs(const lpt_model *model, const lpt_memory *memory)
{
    uint32_t port, i;

    if (memory->outputs == NULL) {
        return LPT_ERROR_MISSING_BUFFER;
    }
    for (port = 0u; port < model->num_outputs; ++port) {
        const uint32_t size_bytes = lpt_driver_port_bytes(model, model->num_inputs + port);
        uint8_t *bytes = (uint8_t *)memory->outputs[port];

        if (bytes == NULL) {
            return LPT_ERROR_MISSING_BUFFER;
        }
        for (i = 0u; i < size_bytes; ++i) {
            bytes[i] = STALE;
        }
    }
    return LPT_OK;
}

/* Whether the first segment writes the whole of an output of the model. */
static int writes_output(const lpt_model *model, uint32_t output)
{
    const uint8_t *segment = lpt_driver_segment(model, 0u);
    uint32_t region;

    for (region = 0u; region < LPT_NUM_REGIONS; ++region) {
        const lpt_binding binding = lpt_driver_binding(segment, region);

        if (binding.binding == LPT_BINDING_OUTPUT && binding.index == output &&
            (binding.attributes & LPT_REGION_ATTR_WRITE) != 0u &&
            binding.size_bytes == lpt_driver_port_bytes(model, model->num_inputs + output)) {
            return 1;
        }
    }
    return 0;
}

static int has_test(const lpt_model *model)
{
    uint32_t i;

    if (model->sections[LPT_SECTION_TEST].size_bytes == 0u || model->num_segments != 1u) {
        return 0;
    }
    for (i = 0u; i < model->num_outputs; ++i) {
        if (!writes_output(model, i)) {
            return 0;
        }
    }
    return 1;
}

static lpt_code compare_outputs(const lpt_model *model, const lpt_memory *memory, uint32_t *output)
{
    const uint8_t *expected = lpt_driver_section(model, LPT_SECTION_TEST) + LPT_TEST_HEAD_BYTES;
    uint32_t i;

    for (i = 0u; i < model->num_outputs; ++i) {
        const uint8_t *bytes = (const uint8_t *)memory->outputs[i];
        const uint32_t size_bytes = lpt_driver_port_bytes(model, model->num_inputs + i);

        if (lpt_driver_crc32c(0u, bytes, size_bytes) != lpt_driver_get32(expected + 4u * i)) {
            if (output != NULL) {
                *output = i;
            }
            return LPT_ERROR_TEST_MISMATCH;
        }
    }
    return LPT_OK;
}

lpt_code lpt_selftest(const lpt_device *device, const lpt_model *model, const lpt_memory *memory,
                      uint32_t *output)
{
    lpt_job job;
    lpt_code code;

    if (device == NULL || model == NULL || memory == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    if (!has_test(model)) {
        return LPT_ERROR_NO_TEST;
    }
    code = lpt_driver_check_sections(model);
    if (code == LPT_OK) {
        code = prepare_outputs(model, memory);
    }
    if (code == LPT_OK) {
        code = lpt_driver_bind(&job, device, model, 0u, memory, 1);
    }
    if (code == LPT_OK) {
        code = lpt_invoke(&job);
    }
    return code == LPT_OK ? compare_outputs(model, memory, output) : code;
}
