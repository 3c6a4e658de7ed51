/* selftest.c: runs the payload's own test vector and compares the CRCs of its outputs, and of each layer's result. */

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

/* Whether the payload's second segment stores the results of layers. */
static int has_diagnosis(const lpt_model *model)
{
    uint32_t words;

    if (model->sections[LPT_SECTION_TEST].size_bytes == 0u || model->num_segments != 2u) {
        return 0;
    }
    words = lpt_driver_result_words(model);
    return words != 0u && words % 2u == 0u;
}

static int has_test(const lpt_model *model)
{
    uint32_t i;

    if (model->sections[LPT_SECTION_TEST].size_bytes == 0u ||
        (model->num_segments != 1u && !has_diagnosis(model))) {
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

static uint32_t aligned(uint32_t size_bytes)
{
    return (size_bytes + LPT_PAYLOAD_ALIGNMENT - 1u) / LPT_PAYLOAD_ALIGNMENT * LPT_PAYLOAD_ALIGNMENT;
}

uint32_t lpt_diagnosis_bytes(const lpt_model *model)
{
    uint32_t region;

    if (model != NULL && has_diagnosis(model)) {
        for (region = 0u; region < LPT_NUM_REGIONS; ++region) {
            const lpt_binding binding = lpt_driver_binding(lpt_driver_segment(model, 1u), region);

            if (binding.binding == LPT_BINDING_STATE) {
                return binding.size_bytes;
            }
        }
    }
    return 0u;
}

static lpt_code compare_layers(const lpt_model *model, const uint8_t *results, uint32_t size_bytes,
                               lpt_layer_report *report)
{
    const uint8_t *expected = lpt_driver_section(model, LPT_SECTION_TEST) + LPT_TEST_HEAD_BYTES +
                              4u * model->num_outputs;
    const uint32_t num_results = lpt_driver_result_words(model) / 2u;
    uint32_t offset = 0u;
    uint32_t i;

    for (i = 0u; i < num_results; ++i, expected += 8) {
        const uint32_t bytes = lpt_driver_get32(expected);

        if (!lpt_driver_is_inside(offset, bytes, size_bytes)) {
            return LPT_ERROR_BAD_TEST;
        }
        if (lpt_driver_crc32c(0u, results + offset, bytes) != lpt_driver_get32(expected + 4)) {
            lpt_driver_name_layer(model, 1u, i + 1u, report);
            return LPT_ERROR_TEST_MISMATCH;
        }
        /* Inside of what was bound, whose end is far from 2^32: it does not wrap. */
        offset += aligned(bytes);
    }
    return LPT_OK;
}

lpt_code lpt_diagnose(const lpt_device *device, const lpt_model *model, const lpt_memory *memory,
                      lpt_layer_report *report)
{
    uint8_t *results;
    uint32_t size_bytes, i;
    lpt_job job;
    lpt_code code;

    if (device == NULL || model == NULL || memory == NULL || report == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    size_bytes = lpt_diagnosis_bytes(model);
    if (size_bytes == 0u) {
        return LPT_ERROR_NO_TEST;
    }
    results = (uint8_t *)memory->state;
    if (results == NULL) {
        return LPT_ERROR_MISSING_BUFFER;
    }
    if (memory->state_bytes < size_bytes) {
        return LPT_ERROR_SMALL_BUFFER;
    }
    for (i = 0u; i < size_bytes; ++i) {
        results[i] = STALE;
    }
    code = lpt_driver_check_sections(model);
    if (code == LPT_OK) {
        code = lpt_driver_bind(&job, device, model, 1u, memory, 1);
    }
    if (code == LPT_OK) {
        code = lpt_invoke(&job);
    }
    return code == LPT_OK ? compare_layers(model, results, size_bytes, report) : code;
}
