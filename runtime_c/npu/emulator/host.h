/* host.h: for emulators inside a process: a bus over the process's own memory, and a log of packets. */
#ifndef LEPTON_NPU_EMULATOR_HOST_H
#define LEPTON_NPU_EMULATOR_HOST_H

#include "emulator.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bus addresses [base, base + size_bytes) are `bytes`. */
typedef struct {
    uint8_t *bytes;
    uint32_t base;
    uint32_t size_bytes;
    uint32_t writable;
} lpt_window;

/* Context of the bus functions below: an access must lie in one window. */
typedef struct {
    const lpt_window *windows;
    uint32_t num_windows;
} lpt_host_memory;

int32_t lpt_host_read(void *context, uint32_t address, void *target, uint32_t size_bytes);
int32_t lpt_host_write(void *context, uint32_t address, const void *source, uint32_t size_bytes);

/* Context of the hook below: the first `capacity` packets are kept, all are counted. */
typedef struct {
    lpt_retired *records;
    uint32_t capacity;
    uint32_t count;
} lpt_log;

void lpt_log_retired(void *context, const lpt_retired *record);

#ifdef __cplusplus
}
#endif
#endif
