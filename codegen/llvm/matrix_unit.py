"""AMX, the matrix unit of x86-64: what code that uses it must say before and after.

A kernel with matrices loads the shapes of their registers first and gives the registers back last.
Linux lets a process use them only after it has asked once: entry points of a module do so
themselves, and refuse to run where the answer is no; code that calls `NAME_execute` in this process
relies on `is_permitted`.
"""

import ctypes
import functools
import struct
import sys
from collections.abc import Sequence

from lepton_cc.codegen.kernel.ir import Matrix

# Linux, asm/unistd_64.h and asm/prctl.h; the state component of the tiles' contents.
_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
# mov eax, edi, esi, imm32; syscall, ret.
_MOVES, _SYSCALL_RET = (0xB8, 0xBF, 0xBE), b"\x0f\x05\xc3"
_REGISTERS = 16

MATRIX_INTRINSICS = frozenset(
    {"declare void @llvm.x86.ldtilecfg(ptr)", "declare void @llvm.x86.tilerelease()"}
)


def configuration(symbol: str, matrices: Sequence[Matrix]) -> tuple[str, str, str]:
    """The constant that describes a kernel's matrices, and its first and last instruction."""
    rows = [matrix.rows for matrix in matrices]
    row_bytes = [4 * matrix.words for matrix in matrices]
    unused = [0] * (_REGISTERS - len(matrices))
    # Intel SDM, LDTILECFG: palette 1, start row 0, bytes of a row and rows of each register.
    table = struct.pack(
        f"<BB14x{_REGISTERS}H{_REGISTERS}B", 1, 0, *row_bytes, *unused, *rows, *unused
    )
    escaped = "".join(f"\\{byte:02X}" for byte in table)
    constant = f'@{symbol}.matrices = internal constant [{len(table)} x i8] c"{escaped}", align 64'
    begin = f"  call void @llvm.x86.ldtilecfg(ptr @{symbol}.matrices)"
    return constant, begin, "  call void @llvm.x86.tilerelease()"


def permission_function(name: str) -> str:
    """`NAME_permission`: 0 if the process may use the matrix unit.

    It is one system call, whose code stands where the function begins, so that the object needs
    neither a C library nor LLVM an assembler. It may be replaced when linking (weak), hence LLVM
    does not look at what is written as its body.
    """
    numbers = (_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    moves = [
        bytes([opcode]) + struct.pack("<I", n) for opcode, n in zip(_MOVES, numbers, strict=True)
    ]
    code = b"".join(moves) + _SYSCALL_RET
    escaped = "".join(f"\\{byte:02X}" for byte in code)
    return (
        f"define weak hidden i64 @{name}_permission() noinline nounwind "
        f'prologue [{len(code)} x i8] c"{escaped}" {{\n  ret i64 -1\n}}\n'
    )


def permission_check(name: str, status: int) -> list[str]:
    """Asks for permission and returns `status` if it is refused; the label `permitted` goes on."""
    return [
        f"  %permission = call i64 @{name}_permission()",
        "  %refused = icmp ne i64 %permission, 0",
        "  br i1 %refused, label %bad.cpu, label %permitted",
        "bad.cpu:",
        f"  ret i32 {status}",
        "permitted:",
    ]


@functools.cache
def is_permitted() -> bool:
    """True if this process may use the matrix unit; it asks for that, for all of its threads."""
    if not sys.platform.startswith("linux"):
        return False
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    numbers = (_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    return bool(call(*(ctypes.c_long(number) for number in numbers)) == 0)
