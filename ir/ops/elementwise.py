"""Pointwise ops: unary, binary, select, clamp, cast; operands broadcast as in NumPy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.numpy_math import UNARY_NUMPY, binary_numpy, cast_array
from lepton_cc.ir.ops.pointwise_functions import (
    BOOL_RESULT,
    COMMUTATIVE_FUNCTIONS,
    IDEMPOTENT_FUNCTIONS,
    BinaryFunction,
    UnaryFunction,
    accepts,
)
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import Dim, TensorType


def broadcast_shapes(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The shape that the given shapes broadcast to (NumPy's rule; an open dimension equals itself).

    Raises:
        TypeInferenceError: they do not broadcast.
    """
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[Dim] = []
    for dims in zip(*padded, strict=True):
        wide = {dim for dim in dims if dim != 1}
        if len(wide) > 1:
            listed = ", ".join(f"[{', '.join(map(str, shape))}]" for shape in shapes)
            raise TypeInferenceError(f"shapes {listed} do not broadcast")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def _same_dtype(operands: Sequence[TensorType]) -> DType:
    dtypes = {operand.dtype for operand in operands}
    if len(dtypes) != 1:
        raise TypeInferenceError(f"operands differ in type: {', '.join(map(str, operands))}")
    return dtypes.pop()


@dataclass(frozen=True, slots=True)
class Unary(OpKind):
    """y = function(x), element by element; dtype and shape are the operand's (isnan etc.: bool)."""

    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    function: UnaryFunction

    @property
    def mnemonic(self) -> str:
        return self.function.value

    @property
    def traits(self) -> frozenset[Trait]:
        idempotent = self.function in IDEMPOTENT_FUNCTIONS
        return self.TRAITS | ({Trait.IDEMPOTENT} if idempotent else set())

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not accepts(self.function, x.dtype):
            raise TypeInferenceError(f"{self.mnemonic} is not defined for {x.dtype.value}")
        return (x.with_dtype(DType.BOOL if self.function in BOOL_RESULT else x.dtype),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        with np.errstate(all="ignore"):
            return (UNARY_NUMPY[self.function](x),)


@dataclass(frozen=True, slots=True)
class Binary(OpKind):
    """y = function(lhs, rhs) with broadcasting; both have one dtype (comparisons give bool).

    Integer arithmetic wraps; integer division truncates toward zero and gives 0 for a zero
    divisor; shifts by the width or more give 0 (or the sign).
    """

    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("lhs", "rhs")
    function: BinaryFunction

    @property
    def mnemonic(self) -> str:
        return self.function.value

    @property
    def traits(self) -> frozenset[Trait]:
        return self.TRAITS | (
            {Trait.COMMUTATIVE} if self.function in COMMUTATIVE_FUNCTIONS else set()
        )

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        lhs, rhs = present(operands, 2)
        dtype = _same_dtype((lhs, rhs))
        if not accepts(self.function, dtype):
            raise TypeInferenceError(f"{self.mnemonic} is not defined for {dtype.value}")
        result = DType.BOOL if self.function in BOOL_RESULT else dtype
        return (TensorType(result, broadcast_shapes(lhs.shape, rhs.shape)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        lhs, rhs = arrays(operands, 2)
        with np.errstate(all="ignore"):
            return (binary_numpy(self.function, lhs, rhs),)


@dataclass(frozen=True, slots=True)
class Select(OpKind):
    """y = condition ? on_true : on_false, with broadcasting; the condition is bool."""

    MNEMONIC: ClassVar[str] = "select"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("condition", "on_true", "on_false")

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        condition, on_true, on_false = present(operands, 3)
        if condition.dtype is not DType.BOOL:
            raise TypeInferenceError(f"the condition is {condition.dtype.value}, not bool")
        dtype = _same_dtype((on_true, on_false))
        shape = broadcast_shapes(condition.shape, on_true.shape, on_false.shape)
        return (TensorType(dtype, shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        condition, on_true, on_false = arrays(operands, 3)
        return (np.where(condition, on_true, on_false),)


@dataclass(frozen=True, slots=True)
class Clamp(OpKind):
    """y = min(max(x, low), high); relu is low 0 without high. NaN stays NaN."""

    MNEMONIC: ClassVar[str] = "clamp"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE, Trait.IDEMPOTENT})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    low: float = -math.inf
    high: float = math.inf

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if x.dtype is DType.BOOL:
            raise TypeInferenceError("clamp is not defined for bool")
        return (x,)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        y = x
        if self.low != -math.inf:
            y = np.maximum(y, np.asarray(self.low).astype(x.dtype))
        if self.high != math.inf:
            y = np.minimum(y, np.asarray(self.high).astype(x.dtype))
        # NumPy widens the sub-byte types.
        return (y.astype(x.dtype),)


@dataclass(frozen=True, slots=True)
class Cast(OpKind):
    """Converts to another dtype.

    Float to integer truncates toward zero and wraps like a two's-complement conversion of the
    truncated int64; float to bool is x != 0; to the 8-bit floats it saturates if `saturate`.
    """

    MNEMONIC: ClassVar[str] = "cast"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    dtype: DType
    saturate: bool = True

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        return (x.with_dtype(self.dtype),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        with np.errstate(all="ignore"):
            return (cast_array(x, self.dtype, saturate=self.saturate),)
