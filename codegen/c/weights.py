"""The constants of a C model: `NAME_weights.S`, which includes `NAME_weights.bin` as it is.

An initializer list of 16 MB takes a C compiler minutes and gigabytes; `.incbin` takes none.
"""

from lepton_cc.codegen.program import CONSTANT_ALIGNMENT


def weights_assembly(name: str) -> str:
    """The assembly source, for GNU as and clang, of ELF and Mach-O objects."""
    symbol, log_alignment = f"{name}_weights", CONSTANT_ALIGNMENT.bit_length() - 1
    return f"""\
/* The constants of {name}: the bytes of {symbol}.bin. */
#if defined(__APPLE__)
    .section __TEXT,__const
    .globl _{symbol}
    .p2align {log_alignment}
_{symbol}:
    .incbin "{symbol}.bin"
#else
    .section .rodata.{symbol}, "a", %progbits
    .globl {symbol}
    .type {symbol}, %object
    .balign {CONSTANT_ALIGNMENT}
{symbol}:
    .incbin "{symbol}.bin"
    .size {symbol}, . - {symbol}
#if defined(__linux__)
    .section .note.GNU-stack, "", %progbits
#endif
#endif
"""
