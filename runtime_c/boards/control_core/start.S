/* start.S: from reset to main on the control core, the trap entry, interrupts, and the markers around the measured run. */

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
.macro clear_csr target, csr, source
    .insn i 0x73, 3, \target, \source, \csr
.endm

#define FCSR 0x003
#define MSTATUS 0x300
#define MIE 0x304
#define MTVEC 0x305
#define MSCRATCH 0x340
#define MEPC 0x341
#define MCAUSE 0x342
#define MTVAL 0x343
#define MSTATUS_MIE 0x8
#define MSTATUS_FS_INITIAL 0x2000
#define EXTERNAL_INTERRUPT 11

    .option norelax

    .section .text.lepton_start, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
    la gp, __global_pointer$
    la sp, __stack_top
    la t0, lepton_board_trap
    write_csr MTVEC, t0
    li t0, 1 << EXTERNAL_INTERRUPT
    set_csr MIE, t0
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

/* An external interrupt calls lepton_board_interrupt; any other trap is reported, and the core stops.
 *
 * The report uses no stack: the stack may be what failed.
 */
#ifdef __riscv_flen
#define FRAME_BYTES 160
#else
#define FRAME_BYTES 64
#endif

.macro each_saved_register instruction
    \instruction ra, 0(sp)
    \instruction t1, 8(sp)
    \instruction t2, 12(sp)
    \instruction a0, 16(sp)
    \instruction a1, 20(sp)
    \instruction a2, 24(sp)
    \instruction a3, 28(sp)
    \instruction a4, 32(sp)
    \instruction a5, 36(sp)
    \instruction a6, 40(sp)
    \instruction a7, 44(sp)
    \instruction t3, 48(sp)
    \instruction t4, 52(sp)
    \instruction t5, 56(sp)
    \instruction t6, 60(sp)
.endm

#ifdef __riscv_flen
.macro each_saved_float instruction
    \instruction ft0, 64(sp)
    \instruction ft1, 68(sp)
    \instruction ft2, 72(sp)
    \instruction ft3, 76(sp)
    \instruction ft4, 80(sp)
    \instruction ft5, 84(sp)
    \instruction ft6, 88(sp)
    \instruction ft7, 92(sp)
    \instruction ft8, 96(sp)
    \instruction ft9, 100(sp)
    \instruction ft10, 104(sp)
    \instruction ft11, 108(sp)
    \instruction fa0, 112(sp)
    \instruction fa1, 116(sp)
    \instruction fa2, 120(sp)
    \instruction fa3, 124(sp)
    \instruction fa4, 128(sp)
    \instruction fa5, 132(sp)
    \instruction fa6, 136(sp)
    \instruction fa7, 140(sp)
.endm
#endif

    .section .text.lepton_board_trap, "ax", @progbits
    .balign 4
    .globl lepton_board_trap
    .type lepton_board_trap, @function
lepton_board_trap:
    write_csr MSCRATCH, t0
    read_csr t0, MCAUSE
    bltz t0, .Linterrupt
.Lreport:
    li t0, LEPTON_BOARD_DEVICE
    read_csr t1, MEPC
    sw t1, LEPTON_BOARD_MEPC(t0)
    read_csr t1, MTVAL
    sw t1, LEPTON_BOARD_MTVAL(t0)
    read_csr t1, MCAUSE
    sw t1, LEPTON_BOARD_FAULT(t0)
.Ltrapped:
    j .Ltrapped
.Linterrupt:
    addi sp, sp, -FRAME_BYTES
    each_saved_register sw
    read_csr t1, MSCRATCH
    sw t1, 4(sp)
    andi t0, t0, 0x3ff
    li t1, EXTERNAL_INTERRUPT
    bne t0, t1, .Lreport
#ifdef __riscv_flen
    each_saved_float fsw
    read_csr t0, FCSR
    sw t0, 144(sp)
#endif
    call lepton_board_interrupt
#ifdef __riscv_flen
    lw t0, 144(sp)
    write_csr FCSR, t0
    each_saved_float flw
#endif
    each_saved_register lw
    lw t0, 4(sp)
    addi sp, sp, FRAME_BYTES
    mret
    .size lepton_board_trap, . - lepton_board_trap

    .section .text.lepton_board_enable_interrupts, "ax", @progbits
    .globl lepton_board_enable_interrupts
    .type lepton_board_enable_interrupts, @function
lepton_board_enable_interrupts:
    li t0, MSTATUS_MIE
    set_csr MSTATUS, t0
    ret
    .size lepton_board_enable_interrupts, . - lepton_board_enable_interrupts

    .section .text.lepton_board_disable_interrupts, "ax", @progbits
    .globl lepton_board_disable_interrupts
    .type lepton_board_disable_interrupts, @function
lepton_board_disable_interrupts:
    li t0, MSTATUS_MIE
    clear_csr x0, MSTATUS, t0
    ret
    .size lepton_board_disable_interrupts, . - lepton_board_disable_interrupts

    .section .text.lepton_board_sleep, "ax", @progbits
    .globl lepton_board_sleep
    .type lepton_board_sleep, @function
lepton_board_sleep:
    wfi
    ret
    .size lepton_board_sleep, . - lepton_board_sleep

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
