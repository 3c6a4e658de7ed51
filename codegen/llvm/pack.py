"""Vectors of 32-bit integers as saturated bytes, by the packing instructions of AVX-512.

They pack within 128 bits; words of four bytes are put in order at the end.
"""

from collections.abc import Callable

from lepton_cc.ir.dtype import DType

# Words of a register; a register of bytes is made of four.
_WORDS = 16
LANES = 4 * _WORDS
_PACKS = {DType.I8: "packsswb", DType.U8: "packuswb"}


def packed_bytes(
    line: Callable[[str], str], intrinsics: set[str], value: str, type_: DType, addend: int
) -> str:
    """The LANES bytes nearest to value + addend; value: the text of a vector of i32.

    line: emits an instruction and gives the name of its result.
    """

    def call(name: str, result: str, operand: str, lhs: str, rhs: str) -> str:
        intrinsics.add(f"declare {result} @llvm.{name}({operand}, {operand})")
        return line(f"call {result} @llvm.{name}({operand} {lhs}, {operand} {rhs})")

    quarters = []
    for first in range(0, LANES, _WORDS):
        mask = ", ".join(f"i32 {first + word}" for word in range(_WORDS))
        quarters.append(
            line(
                f"shufflevector <{LANES} x i32> {value}, <{LANES} x i32> poison, "
                f"<{_WORDS} x i32> <{mask}>"
            )
        )
    halves = []
    for low, high in (quarters[:2], quarters[2:]):
        half = call("x86.avx512.packssdw.512", "<32 x i16>", f"<{_WORDS} x i32>", low, high)
        if addend:
            # A sum that saturates is beyond every byte.
            numbers = "<" + ", ".join([f"i16 {addend}"] * 32) + ">"
            half = call("sadd.sat.v32i16", "<32 x i16>", "<32 x i16>", half, numbers)
        halves.append(half)
    joined = call(f"x86.avx512.{_PACKS[type_]}.512", "<64 x i8>", "<32 x i16>", *halves)
    words = line(f"bitcast <{LANES} x i8> {joined} to <{_WORDS} x i32>")
    mask = ", ".join(f"i32 {4 * word + part}" for part in range(4) for word in range(4))
    kind = f"<{_WORDS} x i32>"
    words = line(f"shufflevector {kind} {words}, {kind} poison, {kind} <{mask}>")
    return line(f"bitcast {kind} {words} to <{LANES} x i8>")
