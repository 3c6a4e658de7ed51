"""The text of one LLVM function: instructions, labels, and lanes put in, taken out and moved.

What every emitter of instructions stands on; `expressions.py` says which ones an expression needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lepton_cc.codegen.kernel.types import ScalarType
from lepton_cc.codegen.llvm import types
from lepton_cc.ir.target import Target


@dataclass(frozen=True, slots=True)
class Operand:
    """An SSA value or a literal: its text, its kernel type and its lanes (1: scalar)."""

    text: str
    type: ScalarType
    lanes: int = 1


class InstructionWriter:
    """Writes instructions into one LLVM function; collects the intrinsics that it declares."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lines: list[str] = []
        self._entry: list[str] = []
        self._counter = 0
        self._block = "entry"
        self.intrinsics: set[str] = set()

    # Text

    def _type_text(self, type_: ScalarType, lanes: int) -> str:
        return types.vector(types.scalar(type_, self._target.pointer_bits), lanes)

    def _intrinsic(
        self, name: str, type_: ScalarType, lanes: int, operands: int, extra: str = ""
    ) -> str:
        kind = self._type_text(type_, lanes)
        element = {"float": "f32", "double": "f64"}.get(
            types.scalar(type_, self._target.pointer_bits),
            types.scalar(type_, self._target.pointer_bits),
        )
        suffix = element if lanes == 1 else f"v{lanes}{element}"
        function = f"@llvm.{name}.{suffix}"
        self.intrinsics.add(f"declare {kind} {function}({', '.join([kind] * operands)}{extra})")
        return function

    def _line(self, text: str) -> str:
        self._counter += 1
        name = f"%v{self._counter}"
        self._lines.append(f"  {name} = {text}")
        return name

    def _terminate(self, text: str) -> None:
        self._lines.append(f"  {text}")

    def _label(self, name: str) -> None:
        self._lines.append(f"{name}:")
        self._block = name

    # Lanes

    def _extract(self, value: Operand, number: int) -> Operand:
        kind = self._type_text(value.type, value.lanes)
        text = self._line(f"extractelement {kind} {value.text}, i32 {number}")
        return Operand(text, value.type)

    def _insert(self, into: Operand, element: Operand, number: int) -> Operand:
        wide = self._type_text(into.type, into.lanes)
        narrow = self._type_text(into.type, 1)
        text = self._line(
            f"insertelement {wide} {into.text}, {narrow} {element.text}, i32 {number}"
        )
        return Operand(text, into.type, into.lanes)

    def _splat(self, value: Operand, lanes: int) -> Operand:
        if value.lanes == lanes:
            return value
        wide = self._type_text(value.type, lanes)
        if not value.text.startswith("%"):
            narrow = self._type_text(value.type, 1)
            elements = ", ".join([f"{narrow} {value.text}"] * lanes)
            return Operand(f"<{elements}>", value.type, lanes)
        first = self._insert(Operand("poison", value.type, lanes), value, 0)
        text = self._line(
            f"shufflevector {wide} {first.text}, {wide} poison, <{lanes} x i32> zeroinitializer"
        )
        return Operand(text, value.type, lanes)

    def _permuted(self, element: str, width: int, value: str, order: Iterable[int]) -> str:
        """The elements of a vector of `width` in an order."""
        vector = f"<{width} x {element}>"
        return self._line(
            f"shufflevector {vector} {value}, {vector} poison, <{width} x i32> <{_mask(order)}>"
        )

    def _shuffled(self, element: str, width: int, lhs: str, rhs: str, order: Iterable[int]) -> str:
        """The elements of two vectors of `width` in an order."""
        vector = f"<{width} x {element}>"
        return self._line(
            f"shufflevector {vector} {lhs}, {vector} {rhs}, <{2 * width} x i32> <{_mask(order)}>"
        )

    def _converted(self, mnemonic: str, operand: Operand, target: ScalarType) -> Operand:
        source_text = self._type_text(operand.type, operand.lanes)
        target_text = self._type_text(target, operand.lanes)
        text = self._line(f"{mnemonic} {source_text} {operand.text} to {target_text}")
        return Operand(text, target, operand.lanes)


def _mask(order: Iterable[int]) -> str:
    return ", ".join(f"i32 {number}" for number in order)
