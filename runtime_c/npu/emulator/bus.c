/* bus.c: the external regions on the system's bus. */

#include "state.h"

static bool bus_address(const lpt_emulator *emulator, uint32_t region, uint64_t offset,
                        uint32_t size_bytes, uint32_t *address)
{
    const uint64_t first = emulator->regions[region].base + offset;

    *address = (uint32_t)first;
    return first + size_bytes <= (uint64_t)UINT32_MAX + 1u;
}

bool lpt_bus_read(lpt_emulator *emulator, uint32_t region, uint64_t offset, void *target,
                  uint32_t size_bytes)
{
    uint32_t address;

    return bus_address(emulator, region, offset, size_bytes, &address) &&
           emulator->bus.read(emulator->bus.context, address, target, size_bytes) == 0;
}

bool lpt_bus_write(lpt_emulator *emulator, uint32_t region, uint64_t offset, const void *source,
                   uint32_t size_bytes)
{
    uint32_t address;

    return bus_address(emulator, region, offset, size_bytes, &address) &&
           emulator->bus.write(emulator->bus.context, address, source, size_bytes) == 0;
}
