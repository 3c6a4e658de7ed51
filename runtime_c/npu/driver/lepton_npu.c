/* lepton_npu.c: the calls by which generated code runs a segment on the engine of its board, waiting or not. */

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

/* Binds a segment of a trusted payload; device, model and job are filled. */
static lpt_code prepare(lpt_device *device, lpt_model *model, lpt_job *job, const void *payload,
                        uint32_t segment, void *arena, const void *const *inputs,
                        void *const *outputs)
{
    lpt_memory memory;
    lpt_code code;

    code = lpt_probe(device, lepton_npu_bus());
    if (code == LPT_OK) {
        code = lpt_load_again(model, device, payload, lpt_payload_bytes(payload));
    }
    if (code != LPT_OK) {
        return code;
    }
    memory.arena = arena;
    memory.arena_bytes = model->arena_bytes;
    memory.inputs = inputs;
    memory.outputs = outputs;
    memory.state = NULL;
    memory.state_bytes = 0u;
    memory.trace = NULL;
    memory.trace_bytes = 0u;
    return lpt_bind(job, device, model, segment, &memory);
}

lepton_status lepton_npu_invoke(const void *payload, uint32_t segment, void *arena,
                                const void *const *inputs, void *const *outputs)
{
    lpt_device device;
    lpt_model model;
    lpt_job job;
    lpt_code code =
        prepare(&device, &model, &job, payload, segment, arena, inputs, outputs);

    if (code == LPT_OK) {
        code = lpt_invoke(&job);
    }
    return status_of(code, arena);
}

lepton_status lepton_npu_start(lepton_npu_task *task, const void *payload, uint32_t segment)
{
    lpt_code code;

    if (task == NULL) {
        return LEPTON_ERROR_NULL_ARGUMENT;
    }
    /* An interrupt handler may look at the task at any time: it has no job until there is one. */
    task->job.device = NULL;
    code = prepare(&task->device, &task->model, &task->job, payload, segment, task->arena,
                   (const void *const *)task->inputs, (void *const *)task->outputs);
    if (code == LPT_OK) {
        task->status = LEPTON_BUSY;
        code = lpt_invoke_async(&task->job);
    }
    if (code != LPT_OK) {
        task->status = status_of(code, task->arena);
    }
    return task->status;
}

lepton_status lepton_npu_poll(lepton_npu_task *task)
{
    if (task == NULL) {
        return LEPTON_ERROR_NULL_ARGUMENT;
    }
    if (task->status == LEPTON_BUSY && lpt_poll(&task->job) != LPT_BUSY) {
        task->status = status_of(lpt_wait(&task->job), task->arena);
    }
    return task->status;
}

lepton_status lepton_npu_wait(lepton_npu_task *task)
{
    if (task == NULL) {
        return LEPTON_ERROR_NULL_ARGUMENT;
    }
    if (task->status == LEPTON_BUSY) {
        task->status = status_of(lpt_wait(&task->job), task->arena);
    }
    return task->status;
}

uint32_t lepton_npu_interrupt(lepton_npu_task *task)
{
    return task == NULL ? 0u : lpt_interrupt(&task->job);
}
