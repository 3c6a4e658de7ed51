/* host.c: bus and log of an emulator inside a process. */

#include "host.h"

#include <string.h>

#include "lepton/lepton.h"

/* lepton_cc/npu/abi.py has the same layouts. */
LEPTON_STATIC_ASSERT(sizeof(lpt_window) == 2u * sizeof(void *) + 8u, window_layout);

static const lpt_window *window_of(const lpt_host_memory *memory, uint32_t address,
                                   uint32_t size_bytes)
{
    uint32_t i;

    for (i = 0u; i < memory->num_windows; ++i) {
        const lpt_window *window = &memory->windows[i];

        if (address >= window->base && size_bytes <= window->size_bytes &&
            address - window->base <= window->size_bytes - size_bytes) {
            return window;
        }
    }
    return NULL;
}

int32_t lpt_host_read(void *context, uint32_t address, void *target, uint32_t size_bytes)
{
    const lpt_window *window = window_of((const lpt_host_memory *)context, address, size_bytes);

    if (window == NULL) {
        return -1;
    }
    memcpy(target, window->bytes + (address - window->base), size_bytes);
    return 0;
}

int32_t lpt_host_write(void *context, uint32_t address, const void *source, uint32_t size_bytes)
{
    const lpt_window *window = window_of((const lpt_host_memory *)context, address, size_bytes);

    if (window == NULL || window->writable == 0u) {
        return -1;
    }
    memcpy(window->bytes + (address - window->base), source, size_bytes);
    return 0;
}

void lpt_log_retired(void *context, const lpt_retired *record)
{
    lpt_log *log = (lpt_log *)context;

    if (log->count < log->capacity) {
        log->records[log->count] = *record;
    }
    ++log->count;
}
