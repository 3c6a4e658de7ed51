/* report.c: says in words what went wrong: codes, faults, the layer and its ONNX nodes. */

#include "driver.h"

static const char *string_at(const lpt_model *model, uint32_t offset)
{
    return (const char *)lpt_driver_section(model, LPT_SECTION_STRINGS) + offset;
}

void lpt_driver_name_layer(const lpt_model *model, uint32_t segment, uint32_t number,
                           lpt_layer_report *report)
{
    const uint8_t *layer = lpt_driver_section(model, LPT_SECTION_LAYERS);
    uint32_t i;

    report->segment = segment;
    report->layer = number;
    report->operation = "";
    report->nodes = "";
    for (i = 0u; i < model->num_layers; ++i, layer += LPT_LAYER_BYTES) {
        if (lpt_driver_get16(layer) == segment && lpt_driver_get16(layer + 2) == number) {
            report->operation = string_at(model, lpt_driver_get32(layer + 4));
            report->nodes = string_at(model, lpt_driver_get32(layer + 8));
            return;
        }
    }
}

lpt_code lpt_fault(const lpt_job *job, lpt_fault_report *report)
{
    lpt_layer_report layer;
    const lpt_section *stream;
    uint32_t info;

    if (job == NULL || job->device == NULL || report == NULL) {
        return LPT_ERROR_NULL_ARGUMENT;
    }
    info = lpt_driver_read(job->device, LPT_REG_FAULT_INFO);
    report->code = lpt_driver_read(job->device, LPT_REG_FAULT_CODE);
    report->packet = lpt_driver_read(job->device, LPT_REG_FAULT_PC);
    report->address = lpt_driver_read(job->device, LPT_REG_FAULT_ADDR);
    report->word = info & 0xFFFFu;
    lpt_driver_name_layer(job->model, job->segment, info >> 16, &layer);
    report->segment = layer.segment;
    report->layer = layer.layer;
    report->operation = layer.operation;
    report->nodes = layer.nodes;
    report->opcode = 0u;
    report->sequence = 0u;
    stream = &job->model->sections[LPT_SECTION_STREAM];
    if (report->packet % 4u == 0u &&
        lpt_driver_is_inside(report->packet, 4u, stream->size_bytes)) {
        const uint32_t head = lpt_driver_get32(job->model->payload + stream->offset + report->packet);

        report->opcode = head >> 24;
        report->sequence = head & 0xFFFFu;
    }
    return LPT_OK;
}

const char *lpt_strerror(lpt_code code)
{
    switch (code) {
    case LPT_OK: return "done";
    case LPT_BUSY: return "the engine is running";
    case LPT_ERROR_NULL_ARGUMENT: return "a pointer that the call needs is NULL";
    case LPT_ERROR_MISALIGNED_PAYLOAD: return "the payload is not 16-byte aligned";
    case LPT_ERROR_MISALIGNED_BUFFER: return "a buffer is not 16-byte aligned";
    case LPT_ERROR_NO_SEGMENT: return "the payload has no segment of that number";
    case LPT_ERROR_SMALL_ARENA: return "the arena is smaller than the payload wants";
    case LPT_ERROR_SMALL_BUFFER: return "state or trace is smaller than the segment wants";
    case LPT_ERROR_MISSING_BUFFER: return "a buffer that the segment uses is NULL";
    case LPT_ERROR_ADDRESS: return "a buffer has no bus address";
    case LPT_ERROR_DEVICE_BUSY: return "the engine is running something else";
    case LPT_ERROR_NO_TEST: return "the payload has no self-test that the engine alone can run";
    case LPT_ERROR_NO_DEVICE: return "there is no lepton-npu";
    case LPT_ERROR_DEVICE_ABI: return "this driver does not know the device's ABI";
    case LPT_ERROR_DEVICE_FAULT: return "the engine stopped with a fault";
    case LPT_ERROR_TIMEOUT: return "the run took longer than the caller waits";
    case LPT_ERROR_HALTED: return "the run was halted";
    case LPT_ERROR_DEVICE_STUCK: return "the engine does not answer a soft reset";
    case LPT_ERROR_BAD_MAGIC: return "this is no payload";
    case LPT_ERROR_CONTAINER_VERSION: return "the container has another version";
    case LPT_ERROR_TRUNCATED: return "the payload is cut off";
    case LPT_ERROR_BAD_HEADER: return "the payload's header is impossible";
    case LPT_ERROR_HEADER_CRC: return "the CRC of the payload's header is wrong";
    case LPT_ERROR_BAD_SECTION: return "a section of the payload is impossible";
    case LPT_ERROR_MISSING_SECTION: return "a section of the payload is missing";
    case LPT_ERROR_SECTION_CRC: return "the CRC of a section is wrong";
    case LPT_ERROR_BAD_SEGMENT: return "a segment's stream is impossible";
    case LPT_ERROR_BAD_BINDING: return "a segment's region is impossible";
    case LPT_ERROR_BAD_PORT: return "an input or output is impossible";
    case LPT_ERROR_BAD_LAYER: return "a layer's record is impossible";
    case LPT_ERROR_BAD_STRINGS: return "the payload's strings have no end";
    case LPT_ERROR_BAD_TEST: return "the self-test does not fit the model";
    case LPT_ERROR_ABI: return "the payload needs another ABI of the engine";
    case LPT_ERROR_MACS: return "the payload is for a member of the family with other MACs";
    case LPT_ERROR_CAPABILITY: return "the payload needs capabilities that the engine lacks";
    case LPT_ERROR_SPM: return "the payload needs more scratchpad";
    case LPT_ERROR_WBUF: return "the payload needs more weight buffer";
    case LPT_ERROR_TEST_MISMATCH: return "the self-test gave another result";
    default: return "unknown code";
    }
}

const char *lpt_fault_name(uint32_t fault)
{
    switch (fault) {
    case LPT_FAULT_NONE: return "NONE";
    case LPT_FAULT_BAD_OPCODE: return "BAD_OPCODE";
    case LPT_FAULT_SEQUENCE_GAP: return "SEQUENCE_GAP";
    case LPT_FAULT_PACKET_CRC: return "PACKET_CRC";
    case LPT_FAULT_CHECK_MISSING: return "CHECK_MISSING";
    case LPT_FAULT_INCOMPATIBLE: return "INCOMPATIBLE";
    case LPT_FAULT_REGION_TOO_SMALL: return "REGION_TOO_SMALL";
    case LPT_FAULT_STREAM_END: return "STREAM_END";
    case LPT_FAULT_READ_OUT_OF_BOUNDS: return "READ_OUT_OF_BOUNDS";
    case LPT_FAULT_WRITE_OUT_OF_BOUNDS: return "WRITE_OUT_OF_BOUNDS";
    case LPT_FAULT_WRITE_TO_READ_ONLY: return "WRITE_TO_READ_ONLY";
    case LPT_FAULT_MISALIGNED: return "MISALIGNED";
    case LPT_FAULT_BUS_ERROR: return "BUS_ERROR";
    case LPT_FAULT_ILLEGAL_FIELD: return "ILLEGAL_FIELD";
    case LPT_FAULT_EXCEEDS_CAPACITY: return "EXCEEDS_CAPACITY";
    case LPT_FAULT_BAD_SCALE: return "BAD_SCALE";
    case LPT_FAULT_WEIGHT_STREAM: return "WEIGHT_STREAM";
    case LPT_FAULT_RESERVED_BITS: return "RESERVED_BITS";
    case LPT_FAULT_WATCHDOG: return "WATCHDOG";
    case LPT_FAULT_TOKEN_DEADLOCK: return "TOKEN_DEADLOCK";
    case LPT_FAULT_TOKEN_OVERFLOW: return "TOKEN_OVERFLOW";
    case LPT_FAULT_SPM_PARITY: return "SPM_PARITY";
    case LPT_FAULT_CONSTANTS_CRC: return "CONSTANTS_CRC";
    default: return "unknown fault";
    }
}
