/* engine.h: the emulated engine as a device of a program on the host: what npu.h's driver is given there. */
#ifndef LEPTON_HOST_ENGINE_H
#define LEPTON_HOST_ENGINE_H

#include "lepton/npu.h"

#include "emulator.h"
#include "host.h"

/* An engine and the memory that its regions are bound to. It must not move after creation. */
typedef struct {
    lpt_window windows[LPT_NUM_REGIONS]; /* at bus address region << LPT_OFFSET_BITS */
    lpt_host_memory memory;
    lpt_emulator *emulator;
    lpt_host_bus bus; /* for lpt_probe */
} lepton_host_engine;

/* Powers an engine up in `memory`, of lpt_emulator_bytes(config) bytes; returns 0 if it cannot.
 *
 * Time passes while registers are read, and in `wait`. The engine reaches only what regions are
 * bound to: a bus address is the region's number and a byte offset. */
int32_t lepton_host_engine_create(lepton_host_engine *engine, const lpt_config *config,
                                  void *memory, size_t size_bytes);

/* Lets time pass until the engine stops or interrupts. */
void lepton_host_engine_sleep(const lepton_host_engine *engine);

#endif
