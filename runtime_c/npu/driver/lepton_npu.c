/* lepton_npu.c: the call by which generated code runs a segment on the engine of its board. */

#include "driver.h"

/* What generated code knows of the driver's codes. */
static lepton_status status_of(lpt_code code, const void *arena)
{
    switch (code) {
    case LPT_OK:
        return LEPTON_OK;
    case LPT_ERROR_NULL_ARGUMENT:
    case LPT_ERROR_MISSING_BUFFER:
        return LEPTON_ERROR_NULL_ARGUMENT;
    case LPT_ERROR_MISALIGNED_BUFFER:
        return (uintptr_t)arena % LEPTON_ARENA_ALIGNMENT != 0u ? LEPTON_ERROR_MISALIGNED_ARENA
                                                               : LEPTON_ERROR_MISALIGNED_BUFFER;
    default:
        return LEPTON_ERROR_DEVICE;
    }
}

lepton_status lepton_npu_invoke(const void *payload, uint32_t segment, void *arena,
                                const void *const *inputs, void *const *outputs)
{
    lpt_device device;
    lpt_model model;
    lpt_memory memory;
    lpt_job job;
    lpt_code code;

    code = lpt_probe(&device, lepton_npu_bus());
    if (code == LPT_OK) {
        code = lpt_load_again(&model, &device, payload, lpt_payload_bytes(payload));
    }
    if (code != LPT_OK) {
        return status_of(code, arena);
    }
    memory.arena = arena;
    memory.arena_bytes = model.arena_bytes;
    memory.inputs = inputs;
    memory.outputs = outputs;
    memory.state = NULL;
    memory.state_bytes = 0u;
    memory.trace = NULL;
    memory.trace_bytes = 0u;
    code = lpt_bind(&job, &device, &model, segment, &memory);
    if (code == LPT_OK) {
        code = lpt_invoke(&job);
    }
    return status_of(code, arena);
}
