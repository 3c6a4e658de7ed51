"""Reductions over axes, argmin/argmax, softmax."""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.pool import lowest
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import Dim, TensorType


class ReduceFunction(enum.Enum):
    """How a reduction combines elements; the value is the mnemonic."""

    SUM = "reduce_sum"
    MEAN = "reduce_mean"
    PROD = "reduce_prod"
    MAX = "reduce_max"
    MIN = "reduce_min"


def reduced_shape(shape: tuple[Dim, ...], axes: tuple[int, ...], keep: bool) -> tuple[Dim, ...]:
    """The shape after reducing `axes` (sorted, not negative)."""
    return tuple(
        1 if axis in axes else dim for axis, dim in enumerate(shape) if keep or axis not in axes
    )


_NUMPY: Mapping[ReduceFunction, Callable[..., Array]] = {
    ReduceFunction.SUM: np.sum,
    ReduceFunction.MEAN: np.mean,
    ReduceFunction.PROD: np.prod,
    ReduceFunction.MAX: np.max,
    ReduceFunction.MIN: np.min,
}


@dataclass(frozen=True, slots=True)
class Reduce(OpKind):
    """Combines the elements along `axes` (sorted); kept axes have size 1 if `keep_dims`.

    Over nothing: 0, 1, NaN (mean) or the lowest / highest value of the type. Integers wrap;
    floats narrower than 32 bits accumulate in binary32.
    """

    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    function: ReduceFunction
    axes: tuple[int, ...]
    keep_dims: bool = True

    @property
    def mnemonic(self) -> str:
        return self.function.value

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if list(self.axes) != sorted(set(self.axes)) or any(
            not 0 <= axis < x.rank for axis in self.axes
        ):
            raise TypeInferenceError(f"cannot reduce {x} over axes {list(self.axes)}")
        if x.dtype is DType.BOOL and self.function not in (ReduceFunction.MAX, ReduceFunction.MIN):
            raise TypeInferenceError(f"{self.mnemonic} is not defined for bool")
        return (x.with_shape(reduced_shape(x.shape, self.axes, self.keep_dims)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        dtype = DType.from_numpy(x.dtype)
        wide = x.astype(np.float32) if dtype.is_float and dtype.bits < 32 else x
        empty = math.prod(x.shape[axis] for axis in self.axes) == 0
        shape = reduced_shape(tuple(x.shape), self.axes, self.keep_dims)
        if empty and self.function in (ReduceFunction.MAX, ReduceFunction.MIN):
            fill = np.asarray(self.identity(dtype), dtype=x.dtype)
            return (np.broadcast_to(fill, [dim for dim in shape if isinstance(dim, int)]),)
        with np.errstate(all="ignore"):
            y = np.asarray(_NUMPY[self.function](wide, axis=self.axes, keepdims=self.keep_dims))
        return (y.astype(x.dtype),)

    def identity(self, dtype: DType) -> float:
        """What an empty reduction gives, and what combining may start from."""
        if self.function in (ReduceFunction.SUM, ReduceFunction.MEAN):
            return 0
        if self.function is ReduceFunction.PROD:
            return 1
        if dtype is DType.BOOL:
            return 0 if self.function is ReduceFunction.MAX else 1
        if self.function is ReduceFunction.MAX:
            return lowest(dtype)
        return math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).max)


class ArgFunction(enum.Enum):
    """Which extreme is looked for; the value is the mnemonic."""

    ARGMAX = "argmax"
    ARGMIN = "argmin"


@dataclass(frozen=True, slots=True)
class ArgReduce(OpKind):
    """Index (i64) of the extreme element along an axis; of equal ones the first, or the last."""

    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    function: ArgFunction
    axis: int
    keep_dims: bool = True
    select_last: bool = False

    @property
    def mnemonic(self) -> str:
        return self.function.value

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not 0 <= self.axis < x.rank or x.shape[self.axis] == 0:
            raise TypeInferenceError(f"cannot take {self.mnemonic} of {x} on axis {self.axis}")
        return (TensorType(DType.I64, reduced_shape(x.shape, (self.axis,), self.keep_dims)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        find = np.argmax if self.function is ArgFunction.ARGMAX else np.argmin
        if self.select_last:
            flipped = np.flip(x, self.axis)
            index = x.shape[self.axis] - 1 - find(flipped, axis=self.axis, keepdims=self.keep_dims)
        else:
            index = find(x, axis=self.axis, keepdims=self.keep_dims)
        return (np.asarray(index, np.int64),)


@dataclass(frozen=True, slots=True)
class Softmax(OpKind):
    """exp(x - max) / sum(exp(x - max)) along an axis; with `log`, x - max - log(sum(...))."""

    MNEMONIC: ClassVar[str] = "softmax"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    axis: int
    log: bool = False

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not 0 <= self.axis < x.rank or not x.dtype.is_float:
            raise TypeInferenceError(f"cannot take softmax of {x} on axis {self.axis}")
        return (x,)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        if x.size == 0:
            return (x,)
        wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
        with np.errstate(all="ignore"):
            shifted = wide - np.max(wide, axis=self.axis, keepdims=True)
            exponentials = np.exp(shifted)
            total = np.sum(exponentials, axis=self.axis, keepdims=True)
            y = shifted - np.log(total) if self.log else exponentials / total
        return (y.astype(x.dtype),)
