/* npu.h: the driver of lepton-npu, for the core that controls the engine (docs/npu-driver.md).
 *
 * C99 and C++11, freestanding. The driver has no state of its own: every structure is the caller's.
 * Registers are reached through two functions of the caller's, so that one object file drives
 * silicon, emulator and mock. A model is run in four steps:
 *
 *     lpt_probe(&device, bus)                     what engine is there
 *     lpt_load(&model, &device, payload, size)    is the payload whole, and made for this engine
 *     lpt_bind(&job, &device, &model, segment, &memory)   which memory the engine may touch
 *     lpt_invoke(&job)                            run, wait; or lpt_invoke_async, then lpt_poll
 */
#ifndef LEPTON_NPU_H
#define LEPTON_NPU_H

#include <stddef.h>
#include <stdint.h>

#include "lepton/lepton.h"
#include "lepton/npu_isa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* LPT_OK, LPT_BUSY or one of the negative codes below; a number never changes its meaning. */
typedef int32_t lpt_code;

enum {
    LPT_OK = 0,
    LPT_BUSY = 1, /* lpt_poll only: the engine is running */

    /* Wrong use. */
    LPT_ERROR_NULL_ARGUMENT = -1,      /* a pointer that the call needs is NULL */
    LPT_ERROR_MISALIGNED_PAYLOAD = -2, /* the payload does not start at a multiple of 16 */
    LPT_ERROR_MISALIGNED_BUFFER = -3,  /* arena, input, output, state or trace is not 16-byte aligned */
    LPT_ERROR_NO_SEGMENT = -4,         /* the payload has no segment of that number */
    LPT_ERROR_SMALL_ARENA = -5,        /* the arena has fewer bytes than the payload wants */
    LPT_ERROR_SMALL_BUFFER = -6,       /* state or trace has fewer bytes than the segment wants */
    LPT_ERROR_MISSING_BUFFER = -7,     /* the segment uses an arena, port, state or trace that is NULL */
    LPT_ERROR_ADDRESS = -8,            /* `translate` failed, or memory lies above 4 GiB */
    LPT_ERROR_DEVICE_BUSY = -9,        /* the engine is running something else */
    LPT_ERROR_NO_TEST = -10,           /* the payload has no test of that kind, or its model has other segments */

    /* The device. */
    LPT_ERROR_NO_DEVICE = -16,     /* register ID does not answer as a lepton-npu */
    LPT_ERROR_DEVICE_ABI = -17,    /* the device's ABI is of another major than this driver's */
    LPT_ERROR_DEVICE_FAULT = -18,  /* the run ended with a fault: lpt_fault says which, and where */
    LPT_ERROR_TIMEOUT = -19,       /* the caller's `wait` gave up; the run was halted */
    LPT_ERROR_HALTED = -20,        /* the run was halted before its end */
    LPT_ERROR_DEVICE_STUCK = -21,  /* a soft reset did not bring the device back to IDLE */

    /* The payload's container. */
    LPT_ERROR_BAD_MAGIC = -32,         /* it does not begin with LPT1 */
    LPT_ERROR_CONTAINER_VERSION = -33, /* the container's version is not 1.0 */
    LPT_ERROR_TRUNCATED = -34,         /* it has fewer bytes than its header says */
    LPT_ERROR_BAD_HEADER = -35,        /* lengths, flags or reserved words of the header are impossible */
    LPT_ERROR_HEADER_CRC = -36,        /* CRC of header and section table */
    LPT_ERROR_BAD_SECTION = -37,       /* a section's kind, place or alignment is impossible, or it stands twice */
    LPT_ERROR_MISSING_SECTION = -38,   /* SEGMENTS, STREAM, PORTS or STRINGS is not there, or CONSTANTS though bound */
    LPT_ERROR_SECTION_CRC = -39,       /* CRC of a section */
    LPT_ERROR_BAD_SEGMENT = -40,       /* a segment's stream lies outside STREAM or is misaligned */
    LPT_ERROR_BAD_BINDING = -41,       /* a region's binding, index, attributes or size are impossible */
    LPT_ERROR_BAD_PORT = -42,          /* a port's record is impossible */
    LPT_ERROR_BAD_LAYER = -43,         /* a layer names a segment or a string that is not there */
    LPT_ERROR_BAD_STRINGS = -44,       /* STRINGS does not end with a zero byte */
    LPT_ERROR_BAD_TEST = -45,          /* TEST does not fit the ports */

    /* A whole payload, for another engine. */
    LPT_ERROR_ABI = -64,        /* it needs another ABI major, or a later minor */
    LPT_ERROR_MACS = -65,       /* it is for a member of the family with other MACs */
    LPT_ERROR_CAPABILITY = -66, /* it needs capabilities that the device lacks */
    LPT_ERROR_SPM = -67,        /* it needs more scratchpad */
    LPT_ERROR_WBUF = -68,       /* it needs more weight buffer */

    /* The self-test. */
    LPT_ERROR_TEST_MISMATCH = -80 /* an output, or a layer's result, is not what the payload says */
};

/* How the driver reaches the engine. `user` is handed to each function untouched.
 *
 * `read32` and `write32` access the register at a byte offset below LPT_REGISTER_SPACE_BYTES. A
 * store to CTRL must not overtake earlier stores to memory (a fence, where the core has buffers).
 *
 * `translate` gives the bus address of memory that a region is about to be bound to, and returns 0;
 * anything else refuses it. Here a system with caches cleans and invalidates the range
 * (`attributes`: LPT_REGION_ATTR_*). NULL: addresses are the pointers' values.
 *
 * `wait` is called between two looks at STATUS of a blocking call: it may sleep until an interrupt,
 * count, or yield. Anything but 0 gives up. NULL: look again at once; the device's watchdog ends
 * every run.
 */
typedef struct {
    void *user;
    uint32_t (*read32)(void *user, uint32_t offset);
    void (*write32)(void *user, uint32_t offset, uint32_t value);
    int32_t (*translate)(void *user, uint32_t region, const void *memory, uint32_t size_bytes,
                         uint32_t attributes, uint32_t *address);
    int32_t (*wait)(void *user);
} lpt_host_bus;

/* An engine, as lpt_probe found it. */
typedef struct {
    const lpt_host_bus *bus;
    uint32_t hardware_version;
    uint32_t build;
    uint32_t capabilities; /* LPT_CAPABILITY_* */
    uint16_t abi_major;
    uint16_t abi_minor;
    uint16_t macs;
    uint16_t lanes;
    uint32_t spm_bytes;
    uint32_t wbuf_bytes;
    uint32_t accumulators;
    uint32_t line_buffer_bytes;
} lpt_device;

#define LPT_NUM_SECTIONS 8u /* slot 0 stays empty */

/* Kinds of a payload's sections. */
#define LPT_SECTION_SEGMENTS 1u
#define LPT_SECTION_STREAM 2u
#define LPT_SECTION_CONSTANTS 3u
#define LPT_SECTION_PORTS 4u
#define LPT_SECTION_LAYERS 5u
#define LPT_SECTION_STRINGS 6u
#define LPT_SECTION_TEST 7u

/* Where a section lies in the payload; size_bytes 0: it is not there. */
typedef struct {
    uint32_t offset;
    uint32_t size_bytes;
} lpt_section;

/* A payload that was accepted. It points into the payload, which must outlive it. */
typedef struct {
    const uint8_t *payload;
    uint32_t size_bytes;
    uint32_t arena_bytes; /* of the caller's arena */
    uint32_t spm_bytes;
    uint32_t wbuf_bytes;
    uint32_t num_segments;
    uint32_t num_inputs;
    uint32_t num_outputs;
    uint32_t num_layers;
    lpt_section sections[LPT_NUM_SECTIONS];
} lpt_model;

/* Element types of ports. */
#define LPT_DTYPE_I8 1u
#define LPT_DTYPE_U8 2u
#define LPT_DTYPE_I16 3u
#define LPT_DTYPE_U16 4u
#define LPT_DTYPE_I32 5u
#define LPT_DTYPE_I64 6u
#define LPT_DTYPE_F32 7u
#define LPT_DTYPE_BOOL 8u

#define LPT_MAX_RANK 6u

/* An input or output of the model. */
typedef struct {
    const char *name; /* UTF-8, in the payload */
    uint32_t size_bytes;
    uint32_t dtype; /* LPT_DTYPE_*, 0: one that this driver does not know */
    uint32_t rank;
    uint32_t dims[LPT_MAX_RANK];
    uint32_t scale_bits; /* binary32; 0: not quantized */
    int32_t zero_point;
} lpt_port_info;

/* The memory of one run; all of it 16-byte aligned. `inputs` and `outputs` point to the model's
 * ports in order. `state` and `trace` may be NULL if no segment uses them. */
typedef struct {
    void *arena;
    uint32_t arena_bytes;
    const void *const *inputs;
    void *const *outputs;
    void *state;
    uint32_t state_bytes;
    void *trace;
    uint32_t trace_bytes;
} lpt_memory;

/* One segment, bound to memory: what the asynchronous calls and the interrupt handler share. */
typedef struct {
    const lpt_device *device;
    const lpt_model *model;
    uint32_t segment;
    uint32_t watchdog_cycles; /* longest run; 0: 2^30. May be changed between lpt_bind and a run */
    volatile lpt_code status; /* LPT_BUSY while it runs, then its result */
} lpt_job;

/* Why a run ended early. Strings are in the payload, or "". */
typedef struct {
    uint32_t code;       /* LPT_FAULT_* */
    uint32_t packet;     /* byte offset in the payload's STREAM */
    uint32_t opcode;     /* LPT_OPCODE_* of that packet */
    uint32_t sequence;   /* its number in the segment */
    uint32_t word;       /* word of the packet whose field is at fault */
    uint32_t address;    /* region in 31:28, byte offset; 0 if there is none */
    uint32_t segment;
    uint32_t layer;      /* 0: none */
    const char *operation; /* what the layer does */
    const char *nodes;     /* names of the ONNX nodes that it came from */
} lpt_fault_report;

/* A layer of a payload; strings are in the payload, or "". */
typedef struct {
    uint32_t segment;
    uint32_t layer;
    const char *operation; /* what it does */
    const char *nodes;     /* names of the ONNX nodes that it came from */
} lpt_layer_report;

/* Asks a device what it is.
 *
 * LPT_ERROR_NO_DEVICE, LPT_ERROR_DEVICE_ABI. */
lpt_code lpt_probe(lpt_device *device, const lpt_host_bus *bus);

/* Takes a payload of `size_bytes`: checks every length, offset, alignment, count and CRC of it, and
 * that it was made for `device`. Touches no register. The CRCs cost some 12 instructions a byte.
 *
 * All codes from LPT_ERROR_BAD_MAGIC to LPT_ERROR_WBUF; `model` is then unusable. */
lpt_code lpt_load(lpt_model *model, const lpt_device *device, const void *payload,
                  uint32_t size_bytes);

/* The same for a payload that lpt_load has accepted before and that lies in memory which cannot
 * change: without the CRCs. What it costs depends on the numbers of segments, ports and
 * layers, not on the bytes. */
lpt_code lpt_load_again(lpt_model *model, const lpt_device *device, const void *payload,
                        uint32_t size_bytes);

/* Bytes that a payload's header claims, 0 if it is none or misaligned. Reads 12 bytes. */
uint32_t lpt_payload_bytes(const void *payload);

/* Input (is_output 0) or output number `index` of a model; LPT_ERROR_BAD_PORT: there is none. */
lpt_code lpt_port_of(const lpt_model *model, uint32_t is_output, uint32_t index,
                     lpt_port_info *port);

/* Estimated cycles of a segment, 0 if there is none of that number. */
uint64_t lpt_estimated_cycles(const lpt_model *model, uint32_t segment);

/* Binds a segment to memory: writes the device's regions, after a soft reset if it had faulted.
 * Checks all bindings before it writes the first register. A job may run many times; it must be
 * bound again when memory changes or another job was bound in between. */
lpt_code lpt_bind(lpt_job *job, const lpt_device *device, const lpt_model *model, uint32_t segment,
                  const lpt_memory *memory);

/* Runs a bound job to its end: LPT_OK, LPT_ERROR_DEVICE_FAULT, LPT_ERROR_TIMEOUT. */
lpt_code lpt_invoke(lpt_job *job);

/* Starts a bound job, with the interrupts DONE and FAULT enabled; LPT_OK: it runs. */
lpt_code lpt_invoke_async(lpt_job *job);

/* LPT_BUSY, or the result of the job. Needs no interrupt. */
lpt_code lpt_poll(lpt_job *job);

/* Waits for a job that was started, as lpt_invoke does; then masks and clears the interrupts. */
lpt_code lpt_wait(lpt_job *job);

/* Entry for the interrupt handler: clears what the device has raised, notes the job's result in
 * `job->status`, and returns the bits LPT_IRQ_* that it found (0: not this device). */
uint32_t lpt_interrupt(lpt_job *job);

/* Stops a job at the next packet; its status becomes LPT_ERROR_HALTED unless it was done. */
lpt_code lpt_cancel(lpt_job *job);

/* Soft reset: state, faults, interrupts, counters, SPM and WBUF. */
lpt_code lpt_reset(const lpt_device *device);

/* Reports the fault of a job that ended with LPT_ERROR_DEVICE_FAULT, until the next reset. */
lpt_code lpt_fault(const lpt_job *job, lpt_fault_report *report);

/* A sentence for a code, and the specification's name of a LPT_FAULT_*; never NULL. */
const char *lpt_strerror(lpt_code code);
const char *lpt_fault_name(uint32_t fault);

/* Counter LPT_COUNTER_* of the last run; 0 if there is no such counter. */
uint64_t lpt_counter(const lpt_device *device, uint32_t counter);

/* Clears the counters. */
void lpt_clear_counters(const lpt_device *device);

/* Runs the payload's TEST: its inputs, into `memory->outputs`, whose CRCs must be those that the
 * compiler has written. `memory->inputs` is ignored. All CRCs of the payload are checked first.
 *
 * LPT_ERROR_NO_TEST, LPT_ERROR_TEST_MISMATCH (`output`, if not NULL, becomes its number), and what
 * lpt_load, lpt_bind and lpt_invoke return. */
lpt_code lpt_selftest(const lpt_device *device, const lpt_model *model, const lpt_memory *memory,
                      uint32_t *output);

/* Runs the layers of the TEST once more and stores what each one makes of its inputs into
 * `memory->state`, of lpt_diagnosis_bytes (0: the payload cannot). LPT_OK: all are as the compiler
 * has written. LPT_ERROR_TEST_MISMATCH: `report` is the first layer that is not; else as
 * lpt_selftest. */
lpt_code lpt_diagnose(const lpt_device *device, const lpt_model *model, const lpt_memory *memory,
                      lpt_layer_report *report);
uint32_t lpt_diagnosis_bytes(const lpt_model *model);

/* --- What generated code calls, and what it needs of the board (lepton_npu.c) ------------------ */

/* Most bytes of stack that each of the functions below takes below its caller, on rv32, with what
 * it calls; the functions of the board's bus may take LEPTON_NPU_BUS_STACK_BYTES of it. */
#define LEPTON_NPU_STACK_BYTES 512
#define LEPTON_NPU_BUS_STACK_BYTES 64

/* The engine of this system. The board or the application defines it, for one engine. */
const lpt_host_bus *lepton_npu_bus(void);

/* Runs a segment of a payload whose bytes are trusted, as generated code's are (check them once
 * with lpt_load, where flash may fail). LEPTON_ERROR_NULL_ARGUMENT, LEPTON_ERROR_MISALIGNED_ARENA,
 * LEPTON_ERROR_MISALIGNED_BUFFER, or LEPTON_ERROR_DEVICE for all else. */
lepton_status lepton_npu_invoke(const void *payload, uint32_t segment, void *arena,
                                const void *const *inputs, void *const *outputs);

/* A run of a model that goes on beside other work: NAME_start, NAME_poll and NAME_finish share it.
 * The caller gives the memory and leaves the members alone; generated code knows the first five. */
typedef struct {
    const void *inputs;  /* NAME_inputs, NAME_outputs: arrays of pointers */
    const void *outputs;
    void *arena;
    uint32_t step;       /* how many stretches of the core have been run */
    lepton_status status; /* of the newest segment, LEPTON_BUSY while it runs */
    lpt_device device;
    lpt_model model;
    lpt_job job;
} lepton_npu_task;

LEPTON_STATIC_ASSERT(offsetof(lepton_npu_task, step) == 3u * sizeof(void *) &&
                         offsetof(lepton_npu_task, status) == 3u * sizeof(void *) + 4u,
                     generated_code_knows_the_task);

/* Starts a segment on the memory that the task names, with the interrupts DONE and FAULT enabled.
 * LEPTON_BUSY: it runs; else as lepton_npu_invoke. */
lepton_status lepton_npu_start(lepton_npu_task *task, const void *payload, uint32_t segment);

/* The status of the newest segment: LEPTON_BUSY, LEPTON_OK or why it failed. */
lepton_status lepton_npu_poll(lepton_npu_task *task);

/* The same when it has ended: waits as lpt_invoke does. */
lepton_status lepton_npu_wait(lepton_npu_task *task);

/* Entry for the interrupt handler, as lpt_interrupt. A task of zeros is no run: 0. */
uint32_t lepton_npu_interrupt(lepton_npu_task *task);

#ifdef __cplusplus
}
#endif
#endif
