/* bind.c: finds the engine, and gives it the memory of a segment: lpt_probe, lpt_bind. */

#include "driver.h"

#define KIB 1024u

lpt_code lpt_probe(lpt_device *device, const lpt_host_bus *bus)
{
    uint32_t abi, caps1, caps2, caps3;

    if (device == NULL || bus == NULL || bus->read32 == NULL || bus->write32 == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    device->bus = bus;
    if (lpt_driver_read(device, LPT_REG_ID) != LPT_ID_VALUE) {
        return LPT_ERROR_NO_DEVICE;
    }
    abi = lpt_driver_read(device, LPT_REG_ABI);
    caps1 = lpt_driver_read(device, LPT_REG_CAPS1);
    caps2 = lpt_driver_read(device, LPT_REG_CAPS2);
    caps3 = lpt_driver_read(device, LPT_REG_CAPS3);
    device->hardware_version = lpt_driver_read(device, LPT_REG_HWVER);
    device->build = lpt_driver_read(device, LPT_REG_BUILD);
    device->capabilities = lpt_driver_read(device, LPT_REG_CAPS0);
    device->abi_major = (uint16_t)(abi >> 16);
    device->abi_minor = (uint16_t)(abi & 0xFFFFu);
    device->macs = (uint16_t)(caps1 & 0xFFFFu);
    device->lanes = (uint16_t)(caps1 >> 16);
    device->spm_bytes = (caps2 & 0xFFFFu) * KIB;
    device->wbuf_bytes = (caps2 >> 16) * KIB;
    device->accumulators = caps3 & 0xFFFFu;
    device->line_buffer_bytes = (caps3 >> 16) * KIB;
    return device->abi_major == LPT_ABI_MAJOR ? LPT_OK : LPT_ERROR_DEVICE_ABI;
}

/* The memory behind a binding, and in `size_bytes` how much of it the engine is given. */
static const void *memory_of(const lpt_model *model, const lpt_memory *memory,
                             const lpt_binding *binding, int from_test, uint32_t *size_bytes)
{
    *size_bytes = binding->size_bytes;
    switch (binding->binding) {
    case LPT_BINDING_STREAM:
        *size_bytes = model->sections[LPT_SECTION_STREAM].size_bytes;
        return lpt_driver_section(model, LPT_SECTION_STREAM);
    case LPT_BINDING_CONSTANTS:
        *size_bytes = model->sections[LPT_SECTION_CONSTANTS].size_bytes;
        return lpt_driver_section(model, LPT_SECTION_CONSTANTS);
    case LPT_BINDING_ARENA:
        return memory->arena;
    case LPT_BINDING_INPUT:
        if (from_test) {
            return lpt_driver_section(model, LPT_SECTION_TEST) +
                   lpt_driver_test_input(model, binding->index);
        }
        return memory->inputs != NULL ? memory->inputs[binding->index] : NULL;
    case LPT_BINDING_OUTPUT:
        return memory->outputs != NULL ? memory->outputs[binding->index] : NULL;
    case LPT_BINDING_STATE:
        return memory->state;
    default:
        /* TRACE is a ring: all that there is, in whole records. */
        *size_bytes = memory->trace_bytes / 16u * 16u;
        return memory->trace;
    }
}

static lpt_code check_memory(const lpt_model *model, const lpt_memory *memory,
                             const lpt_binding *binding, const void *bytes, uint32_t size_bytes)
{
    if (bytes == NULL) {
        return LPT_ERROR_MISSING_BUFFER;
    }
    if ((uintptr_t)bytes % LPT_PAYLOAD_ALIGNMENT != 0u) {
        return LPT_ERROR_MISALIGNED_BUFFER;
    }
    if (binding->binding == LPT_BINDING_ARENA && memory->arena_bytes < model->arena_bytes) {
        return LPT_ERROR_SMALL_ARENA;
    }
    if (size_bytes < binding->size_bytes ||
        (binding->binding == LPT_BINDING_STATE && memory->state_bytes < size_bytes)) {
        return LPT_ERROR_SMALL_BUFFER;
    }
    return LPT_OK;
}

static lpt_code bus_address(const lpt_host_bus *bus, uint32_t region, const lpt_binding *binding,
                            const void *bytes, uint32_t size_bytes, uint32_t *address)
{
    const uintptr_t identity = (uintptr_t)bytes;

    if (bus->translate != NULL) {
        const int32_t refused =
            bus->translate(bus->user, region, bytes, size_bytes, binding->attributes, address);

        if (refused != 0 || *address % LPT_PAYLOAD_ALIGNMENT != 0u) {
            return LPT_ERROR_ADDRESS;
        }
    } else {
        if (identity > UINT32_MAX) {
            return LPT_ERROR_ADDRESS;
        }
        *address = (uint32_t)identity;
    }
    return size_bytes <= UINT32_MAX - *address ? LPT_OK : LPT_ERROR_ADDRESS;
}

static lpt_code make_idle(const lpt_device *device)
{
    switch (lpt_driver_read(device, LPT_REG_STATUS) & 3u) {
    case LPT_STATUS_RUNNING:
        return LPT_ERROR_DEVICE_BUSY;
    case LPT_STATUS_FAULT:
        return lpt_reset(device);
    default:
        return LPT_OK;
    }
}

static void write_region(const lpt_device *device, uint32_t region, uint32_t base,
                         uint32_t size_bytes, uint32_t attributes)
{
    const uint32_t offset = region * LPT_REG_REGION_BASE_STRIDE;

    lpt_driver_write(device, LPT_REG_REGION_BASE + offset, base);
    lpt_driver_write(device, LPT_REG_REGION_SIZE + offset, size_bytes);
    lpt_driver_write(device, LPT_REG_REGION_ATTR + offset, attributes);
}

lpt_code lpt_driver_bind(lpt_job *job, const lpt_device *device, const lpt_model *model,
                         uint32_t segment, const lpt_memory *memory, int from_test)
{
    uint32_t addresses[LPT_NUM_REGIONS];
    const uint8_t *record;
    lpt_code code;
    uint32_t region;

    if (segment >= model->num_segments) {
        return LPT_ERROR_NO_SEGMENT;
    }
    code = make_idle(device);
    if (code != LPT_OK) {
        return code;
    }
    record = lpt_driver_segment(model, segment);
    for (region = 0u; region < LPT_NUM_REGIONS; ++region) {
        const lpt_binding binding = lpt_driver_binding(record, region);
        uint32_t size_bytes;
        const void *bytes;

        addresses[region] = 0u;
        if (binding.binding == LPT_BINDING_NONE) {
            continue;
        }
        bytes = memory_of(model, memory, &binding, from_test, &size_bytes);
        code = check_memory(model, memory, &binding, bytes, size_bytes);
        if (code == LPT_OK) {
            code = bus_address(device->bus, region, &binding, bytes, size_bytes,
                               &addresses[region]);
        }
        if (code != LPT_OK) {
            return code;
        }
    }
    for (region = 0u; region < LPT_NUM_REGIONS; ++region) {
        const lpt_binding binding = lpt_driver_binding(record, region);
        uint32_t size_bytes = 0u;

        if (binding.binding != LPT_BINDING_NONE) {
            (void)memory_of(model, memory, &binding, from_test, &size_bytes);
        }
        write_region(device, region, addresses[region], size_bytes, binding.attributes);
    }
    job->device = device;
    job->model = model;
    job->segment = segment;
    job->watchdog_cycles = 0u;
    job->status = LPT_OK;
    return LPT_OK;
}

lpt_code lpt_bind(lpt_job *job, const lpt_device *device, const lpt_model *model, uint32_t segment,
                  const lpt_memory *memory)
{
    if (job == NULL || device == NULL || model == NULL || memory == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    return lpt_driver_bind(job, device, model, segment, memory, 0);
}
