/* board.h: what the start-up code, the model's glue and the emulator of the control-core board share.
 *
 * Memory map: flash (XIP, read and execute) at 0x20000000, SRAM at 0x80000000, the registers of the
 * tensor engine at LEPTON_BOARD_NPU, one page of test device at LEPTON_BOARD_DEVICE. The test
 * device's registers are 32-bit and write-only.
 */
#ifndef LEPTON_BOARD_H
#define LEPTON_BOARD_H

#define LEPTON_BOARD_DEVICE 0x10000000
#define LEPTON_BOARD_NPU 0x40000000 /* the tensor engine, where there is one */

#define LEPTON_BOARD_CONSOLE 0x00 /* a byte of text */
#define LEPTON_BOARD_EXIT 0x04    /* the model's status; the core stops */
#define LEPTON_BOARD_MARK 0x08    /* LEPTON_BOARD_BEGIN or LEPTON_BOARD_END of the measured part */
#define LEPTON_BOARD_MEPC 0x0c    /* after a trap, before FAULT: the instruction */
#define LEPTON_BOARD_MTVAL 0x10   /* after a trap, before FAULT: the address or instruction word */
#define LEPTON_BOARD_FAULT 0x14   /* mcause of a trap; the core stops */

#define LEPTON_BOARD_UNHANDLED_INTERRUPT 0x8000000b /* mcause of the machine external interrupt */

#define LEPTON_BOARD_BEGIN 1
#define LEPTON_BOARD_END 2

#define LEPTON_BOARD_STACK_PAINT 0xa5c3f00d
#define LEPTON_BOARD_VERSION 1

/* Unused bytes behind every buffer: the emulator sees when a model has written there. */
#define LEPTON_BOARD_GUARD_BYTES 16

#ifndef __ASSEMBLER__

#include "lepton/application.h"

/* Memory that the start-up code leaves as it is: the emulator has written the inputs there. */
#define LEPTON_BOARD_UNZEROED __attribute__((section(".bss.lepton_unzeroed")))

/* One input or output buffer; `name` is the ONNX model's, in UTF-8. */
typedef struct {
    const char *name;
    void *data;
    uint32_t size_bytes;
} lepton_board_port;

/* What the image runs and where its buffers are; the emulator reads this table from the ELF. */
typedef struct {
    uint32_t version; /* LEPTON_BOARD_VERSION */
    lepton_status (*run)(void);
    uint32_t num_inputs;
    const lepton_board_port *inputs;
    uint32_t num_outputs;
    const lepton_board_port *outputs;
    void *arena;
    uint32_t arena_bytes;
} lepton_board_model;

/* The one model of this image, defined by its glue file. */
extern const lepton_board_model lepton_board_the_model;

#endif
#endif
