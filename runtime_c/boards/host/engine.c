/* engine.c: registers of the emulated engine, and windows for the regions that the driver binds. */

#include "engine.h"

#define CYCLES_OF_A_READ 64u
#define CYCLES_OF_A_SLEEP 4096u

static uint32_t read_register(void *user, uint32_t offset)
{
    const lepton_host_engine *engine = (const lepton_host_engine *)user;

    (void)lpt_emulator_advance(engine->emulator, CYCLES_OF_A_READ);
    return lpt_emulator_load(engine->emulator, offset);
}

static void write_register(void *user, uint32_t offset, uint32_t value)
{
    const lepton_host_engine *engine = (const lepton_host_engine *)user;

    lpt_emulator_store(engine->emulator, offset, value);
}

static int32_t open_window(void *user, uint32_t region, const void *memory, uint32_t size_bytes,
                           uint32_t attributes, uint32_t *address)
{
    lepton_host_engine *engine = (lepton_host_engine *)user;
    lpt_window *window = &engine->windows[region];

    if (region >= LPT_NUM_REGIONS || size_bytes > 1u << LPT_OFFSET_BITS) {
        return -1;
    }
    *address = region << LPT_OFFSET_BITS;
    /* The cast takes const away; the window gives it back where the attributes forbid writes. */
    window->bytes = (uint8_t *)(uintptr_t)memory;
    window->base = *address;
    window->size_bytes = size_bytes;
    window->writable = (attributes & LPT_REGION_ATTR_WRITE) != 0u ? 1u : 0u;
    return 0;
}

static int32_t wait_for_engine(void *user)
{
    lepton_host_engine_sleep((const lepton_host_engine *)user);
    return 0;
}

int32_t lepton_host_engine_create(lepton_host_engine *engine, const lpt_config *config,
                                  void *memory, size_t size_bytes)
{
    const lpt_window closed = {NULL, 0u, 0u, 0u};
    lpt_bus bus;
    uint32_t i;

    for (i = 0u; i < LPT_NUM_REGIONS; ++i) {
        engine->windows[i] = closed;
    }
    engine->memory.windows = engine->windows;
    engine->memory.num_windows = LPT_NUM_REGIONS;
    bus.context = &engine->memory;
    bus.read = lpt_host_read;
    bus.write = lpt_host_write;
    engine->emulator = lpt_emulator_create(memory, size_bytes, config, &bus);
    engine->bus.user = engine;
    engine->bus.read32 = read_register;
    engine->bus.write32 = write_register;
    engine->bus.translate = open_window;
    engine->bus.wait = wait_for_engine;
    return engine->emulator != NULL ? 1 : 0;
}

void lepton_host_engine_sleep(const lepton_host_engine *engine)
{
    while (lpt_emulator_interrupt(engine->emulator) == 0u &&
           lpt_emulator_advance(engine->emulator, CYCLES_OF_A_SLEEP) == LPT_STATUS_RUNNING) {
    }
}
