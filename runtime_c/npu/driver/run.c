/* run.c: runs a bound job: blocking, polled or by interrupt; reset and counters. */

#include "driver.h"

/* Looks at STATUS before a device that neither halts nor resets is given up. */
#define MAX_LOOKS 1000000u

#define ALL_INTERRUPTS (LPT_IRQ_DONE | LPT_IRQ_FAULT | LPT_IRQ_USER | LPT_IRQ_TRACE_FULL)

static uint32_t state_of(const lpt_device *device)
{
    return lpt_driver_read(device, LPT_REG_STATUS) & 3u;
}

lpt_code lpt_reset(const lpt_device *device)
{
    uint32_t looks;

    if (device == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    lpt_driver_write(device, LPT_REG_CTRL, LPT_CTRL_SOFT_RESET);
    for (looks = 0u; looks < MAX_LOOKS; ++looks) {
        if (state_of(device) == LPT_STATUS_IDLE) {
            return LPT_OK;
        }
    }
    return LPT_ERROR_DEVICE_STUCK;
}

static lpt_code start(lpt_job *job, uint32_t interrupts)
{
    const lpt_device *device = job->device;
    const uint8_t *record = lpt_driver_segment(job->model, job->segment);
    const uint32_t state = state_of(device);

    if (state == LPT_STATUS_RUNNING) {
        return LPT_ERROR_DEVICE_BUSY;
    }
    if (state == LPT_STATUS_FAULT) {
        const lpt_code code = lpt_reset(device);

        if (code != LPT_OK) {
            return code;
        }
    }
    lpt_driver_write(device, LPT_REG_QBASE, lpt_driver_get32(record));
    lpt_driver_write(device, LPT_REG_QSIZE, lpt_driver_get32(record + 4));
    lpt_driver_write(device, LPT_REG_WDOG, job->watchdog_cycles);
    lpt_driver_write(device, LPT_REG_IRQ_CLEAR, ALL_INTERRUPTS);
    lpt_driver_write(device, LPT_REG_IRQ_MASK, interrupts);
    /* Before RUN: the interrupt may come before the next statement. */
    job->status = LPT_BUSY;
    lpt_driver_write(device, LPT_REG_CTRL, LPT_CTRL_RUN);
    return LPT_OK;
}

lpt_code lpt_invoke_async(lpt_job *job)
{
    if (job == NULL || job->device == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    return start(job, LPT_IRQ_DONE | LPT_IRQ_FAULT);
}

lpt_code lpt_poll(lpt_job *job)
{
    if (job == NULL || job->device == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    if (job->status != LPT_BUSY) {
        return job->status;
    }
    switch (state_of(job->device)) {
    case LPT_STATUS_RUNNING:
        return LPT_BUSY;
    case LPT_STATUS_DONE:
        job->status = LPT_OK;
        return LPT_OK;
    case LPT_STATUS_FAULT:
        job->status = LPT_ERROR_DEVICE_FAULT;
        return LPT_ERROR_DEVICE_FAULT;
    default:
        job->status = LPT_ERROR_HALTED;
        return LPT_ERROR_HALTED;
    }
}

uint32_t lpt_interrupt(lpt_job *job)
{
    uint32_t raised;

    if (job == NULL || job->device == NULL) {
        return 0u;
    }
    raised = lpt_driver_read(job->device, LPT_REG_IRQ_RAW);
    if (raised != 0u) {
        lpt_driver_write(job->device, LPT_REG_IRQ_CLEAR, raised);
        (void)lpt_poll(job);
    }
    return raised;
}

lpt_code lpt_cancel(lpt_job *job)
{
    uint32_t looks;

    if (job == NULL || job->device == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    if (lpt_poll(job) != LPT_BUSY) {
        return job->status;
    }
    lpt_driver_write(job->device, LPT_REG_CTRL, LPT_CTRL_HALT);
    for (looks = 0u; looks < MAX_LOOKS; ++looks) {
        if (lpt_poll(job) != LPT_BUSY) {
            return job->status;
        }
    }
    job->status = lpt_reset(job->device) == LPT_OK ? LPT_ERROR_HALTED : LPT_ERROR_DEVICE_STUCK;
    return job->status;
}

lpt_code lpt_invoke(lpt_job *job)
{
    lpt_code code;

    if (job == NULL || job->device == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    /* Something must wake a `wait` that sleeps. */
    code = start(job, job->device->bus->wait != NULL ? LPT_IRQ_DONE | LPT_IRQ_FAULT : 0u);
    return code == LPT_OK ? lpt_wait(job) : code;
}

lpt_code lpt_wait(lpt_job *job)
{
    const lpt_host_bus *bus;
    lpt_code code;

    if (job == NULL || job->device == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    bus = job->device->bus;
    for (code = lpt_poll(job); code == LPT_BUSY; code = lpt_poll(job)) {
        if (bus->wait != NULL && bus->wait(bus->user) != 0) {
            code = lpt_cancel(job);
            job->status = code == LPT_ERROR_HALTED ? LPT_ERROR_TIMEOUT : code;
            code = job->status;
            break;
        }
    }
    lpt_driver_write(job->device, LPT_REG_IRQ_MASK, 0u);
    lpt_driver_write(job->device, LPT_REG_IRQ_CLEAR, ALL_INTERRUPTS);
    return code;
}

uint64_t lpt_counter(const lpt_device *device, uint32_t counter)
{
    const uint32_t offset = LPT_REG_PMU_COUNT + counter * LPT_REG_PMU_COUNT_STRIDE;
    uint32_t low, high, again;

    if (device == NULL || counter >= LPT_NUM_COUNTERS) {
        return 0u;
    }
    high = lpt_driver_read(device, offset + 4u);
    low = lpt_driver_read(device, offset);
    again = lpt_driver_read(device, offset + 4u);
    if (again != high) {
        /* A carry came between; the next one is 2^32 events away. */
        high = again;
        low = lpt_driver_read(device, offset);
    }
    return (uint64_t)high << 32 | low;
}

void lpt_clear_counters(const lpt_device *device)
{
    if (device != NULL) {
        lpt_driver_write(device, LPT_REG_PMU_CTRL, 1u);
    }
}
