/* start.S: from reset to main on the control core, the trap entry, and the markers around the measured run. */

#include "board.h"

/* The CSR instructions as raw encodings: assemblers disagree on whether rv32imc contains Zicsr. */
.macro write_csr csr, source
    .insn i 0x73, 1, x0, \source, \csr
.endm
.macro set_csr csr, source
    .insn i 0x73, 2, x0, \source, \csr
.endm
.macro read_csr target, csr
    .insn i 0x73, 2, \target, x0, \csr
.endm

#define FCSR 0x003
#define MSTATUS 0x300
#define MTVEC 0x305
#define MEPC 0x341
#define MCAUSE 0x342
#define MTVAL 0x343
#define MSTATUS_FS_INITIAL 0x2000

    .option norelax

    .section .text.lepton_start, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
    la gp, __global_pointer$
    la sp, __stack_top
    la t0, lepton_board_trap
    write_csr MTVEC, t0
#ifdef __riscv_flen
    li t0, MSTATUS_FS_INITIAL
    set_csr MSTATUS, t0
    write_csr FCSR, x0
#endif

    la t0, __stack_bottom
    li t1, LEPTON_BOARD_STACK_PAINT
.Lpaint_stack:
    sw t1, 0(t0)
    addi t0, t0, 4
    bltu t0, sp, .Lpaint_stack

    la t0, __data_begin
    la t1, __data_end
    la t2, __data_load
    bgeu t0, t1, .Ldata_copied
.Lcopy_data:
    lw t3, 0(t2)
    sw t3, 0(t0)
    addi t2, t2, 4
    addi t0, t0, 4
    bltu t0, t1, .Lcopy_data
.Ldata_copied:

    la t0, __bss_begin
    la t1, __bss_end
    bgeu t0, t1, .Lbss_zeroed
.Lzero_bss:
    sw zero, 0(t0)
    addi t0, t0, 4
    bltu t0, t1, .Lzero_bss
.Lbss_zeroed:

    call main
    li t0, LEPTON_BOARD_DEVICE
    sw a0, LEPTON_BOARD_EXIT(t0)
.Lhalt:
    j .Lhalt
    .size _start, . - _start

/* Reports a trap and stops. Uses no stack: the stack may be what failed. */
    .section .text.lepton_board_trap, "ax", @progbits
    .balign 4
    .globl lepton_board_trap
    .type lepton_board_trap, @function
lepton_board_trap:
    li t0, LEPTON_BOARD_DEVICE
    read_csr t1, MEPC
    sw t1, LEPTON_BOARD_MEPC(t0)
    read_csr t1, MTVAL
    sw t1, LEPTON_BOARD_MTVAL(t0)
    read_csr t1, MCAUSE
    sw t1, LEPTON_BOARD_FAULT(t0)
.Ltrapped:
    j .Ltrapped
    .size lepton_board_trap, . - lepton_board_trap

/* lepton_status lepton_board_measure(in, out, arena, run): run(in, out, arena) between two marks.
 *
 * The mark BEGIN stands in the block that ends with the call, the mark END in the block that starts
 * at the return address; with both in one page, whole blocks count exactly the instructions of `run`.
 */
    .section .text.lepton_board_measure, "ax", @progbits
    .balign 64
    .globl lepton_board_measure
    .type lepton_board_measure, @function
lepton_board_measure:
    addi sp, sp, -16
    sw ra, 12(sp)
    li t0, LEPTON_BOARD_DEVICE
    li t1, LEPTON_BOARD_BEGIN
    sw t1, LEPTON_BOARD_MARK(t0)
    jalr a3
    li t0, LEPTON_BOARD_DEVICE
    li t1, LEPTON_BOARD_END
    sw t1, LEPTON_BOARD_MARK(t0)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret
    .size lepton_board_measure, . - lepton_board_measure

    .section .note.GNU-stack, "", @progbits
