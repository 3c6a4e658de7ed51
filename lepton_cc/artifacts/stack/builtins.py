"""Stack of the compiler's run-time library, which generated code calls where the CPU lacks it.

The bounds hold for rv32 with room to spare: in the library that zig links, no arithmetic routine
takes more than 48 bytes, with all that it calls, roundings take at most 80 and fma 176 (read from
its machine code); libgcc and clang's library are of the same kind.
"""

from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.runtime_c import npu_driver

_BOUND_BYTES = 128
_FUSED_BOUND_BYTES = 256
_FUSED = frozenset({"fma", "fmaf"})
_FLOAT_OPERATIONS = ("add", "sub", "mul", "div", "neg", "eq", "ne", "lt", "le", "gt", "ge", "unord")
_FLOATS = ("sf", "df")
_INTEGERS = ("si", "di")


def _names() -> frozenset[str]:
    names = {
        f"__{op}{float_}{arity}" for op in _FLOAT_OPERATIONS for float_ in _FLOATS for arity in "23"
    }
    for integer in _INTEGERS:
        names |= {f"__{op}{integer}3" for op in ("mul", "div", "mod", "udiv", "umod")}
        names |= {f"__{op}{integer}3" for op in ("ashl", "ashr", "lshr")}
        names |= {f"__{op}{integer}2" for op in ("bswap", "clz", "ctz", "popcount")}
        for float_ in _FLOATS:
            names |= {f"__fix{sign}{float_}{integer}" for sign in ("", "uns")}
            names |= {f"__float{sign}{integer}{float_}" for sign in ("", "un")}
    names |= {"__extendsfdf2", "__truncdfsf2", "__extendhfsf2", "__truncsfhf2", "__truncdfhf2"}
    names |= {"memcpy", "memset", "memmove", "sqrtf", "sqrt", "floorf", "floor", "ceilf", "ceil"}
    names |= {"truncf", "trunc", "fminf", "fmin", "fmaxf", "fmax", "__divmoddi4", "__udivmoddi4"}
    return frozenset(names)


_NAMES = _names()


def builtin_stack_bytes(name: str) -> int:
    """Most bytes of stack that a routine of the run-time library takes below its caller.

    The driver of the tensor engine counts as one of these routines.

    Raises:
        InternalError: it is none that generated code is known to call.
    """
    if name in npu_driver.CALLS:
        return npu_driver.CALL_STACK_BYTES
    if name in _FUSED:
        return _FUSED_BOUND_BYTES
    if name not in _NAMES:
        raise InternalError(f"stack analysis: {name} is called, whose stack is not known")
    return _BOUND_BYTES
