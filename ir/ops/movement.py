"""Ops that move elements: reshape, transpose, broadcast, slice, concat, pad, gather."""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import Dim, TensorType

_MOVEMENT = frozenset({Trait.MOVEMENT})


@dataclass(frozen=True, slots=True)
class Reshape(OpKind):
    """The same elements in the same linear order under another static shape."""

    MNEMONIC: ClassVar[str] = "reshape"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.MOVEMENT, Trait.VIEW})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    shape: tuple[int, ...]

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if any(dim < 0 for dim in self.shape) or math.prod(self.shape) != x.num_elements:
            raise TypeInferenceError(f"{x} cannot be reshaped to {list(self.shape)}")
        return (x.with_shape(self.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        return (arrays(operands, 1)[0].reshape(self.shape),)


@dataclass(frozen=True, slots=True)
class Transpose(OpKind):
    """y's dimension i is x's dimension permutation[i]."""

    MNEMONIC: ClassVar[str] = "transpose"
    TRAITS: ClassVar[frozenset[Trait]] = _MOVEMENT
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    permutation: tuple[int, ...]

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if sorted(self.permutation) != list(range(x.rank)):
            raise TypeInferenceError(f"{list(self.permutation)} does not permute {x}'s dimensions")
        return (x.with_shape(tuple(x.shape[axis] for axis in self.permutation)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.transpose(arrays(operands, 1)[0], self.permutation),)


@dataclass(frozen=True, slots=True)
class Broadcast(OpKind):
    """Repeats dimensions of size 1 (and adds leading ones) up to a static shape."""

    MNEMONIC: ClassVar[str] = "broadcast"
    TRAITS: ClassVar[frozenset[Trait]] = _MOVEMENT
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    shape: tuple[int, ...]

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        aligned = (1,) * (len(self.shape) - x.rank) + x.shape
        fits = len(aligned) == len(self.shape) and all(
            source in (1, target) for source, target in zip(aligned, self.shape, strict=True)
        )
        if not fits:
            raise TypeInferenceError(f"{x} does not broadcast to {list(self.shape)}")
        return (x.with_shape(self.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.broadcast_to(arrays(operands, 1)[0], self.shape),)


@dataclass(frozen=True, slots=True)
class Slice(OpKind):
    """y[i] = x[starts + i * steps] for i below `sizes`, per dimension; steps may be negative."""

    MNEMONIC: ClassVar[str] = "slice"
    TRAITS: ClassVar[frozenset[Trait]] = _MOVEMENT
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not len(self.starts) == len(self.sizes) == len(self.steps) == x.rank:
            raise TypeInferenceError(f"slice needs one start, size and step for each of {x}")
        for dim, start, size, step in zip(x.dims, self.starts, self.sizes, self.steps, strict=True):
            last = start + (size - 1) * step
            if size < 0 or step == 0 or (size and not (0 <= start < dim and 0 <= last < dim)):
                raise TypeInferenceError(f"slice {start}:+{size}:{step} leaves dimension {dim}")
        return (x.with_shape(self.sizes),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        for axis, (start, size, step) in enumerate(
            zip(self.starts, self.sizes, self.steps, strict=True)
        ):
            x = np.take(x, start + step * np.arange(size), axis=axis)
        return (x,)


@dataclass(frozen=True, slots=True)
class Concat(OpKind):
    """Operands one after the other along an axis."""

    MNEMONIC: ClassVar[str] = "concat"
    TRAITS: ClassVar[frozenset[Trait]] = _MOVEMENT
    OPERANDS: ClassVar[tuple[str, ...]] = ("x*",)
    axis: int

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        parts = present(operands, len(operands))
        if not parts or not 0 <= self.axis < parts[0].rank:
            raise TypeInferenceError(f"cannot concatenate {len(parts)} tensors on {self.axis}")
        first = parts[0]

        def rest(part: TensorType) -> tuple[Dim, ...]:
            return part.shape[: self.axis] + part.shape[self.axis + 1 :]

        if any((p.dtype, p.rank, rest(p)) != (first.dtype, first.rank, rest(first)) for p in parts):
            listed = ", ".join(map(str, parts))
            raise TypeInferenceError(f"cannot concatenate {listed} on axis {self.axis}")
        total = sum(part.dims[self.axis] for part in parts)
        shape = (*first.shape[: self.axis], total, *first.shape[self.axis + 1 :])
        return (TensorType(first.dtype, shape, first.quantization),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.concatenate(arrays(operands, len(operands)), axis=self.axis),)


class PadMode(enum.Enum):
    """What the new elements are: a fill value, the edge, a mirror, or the other side."""

    CONSTANT = "constant"
    EDGE = "edge"
    REFLECT = "reflect"
    WRAP = "wrap"


@dataclass(frozen=True, slots=True)
class Pad(OpKind):
    """Adds `low` elements before and `high` after, per dimension; amounts are not negative.

    Operand `fill` (a scalar, mode constant only) is zero when absent.
    """

    MNEMONIC: ClassVar[str] = "pad"
    TRAITS: ClassVar[frozenset[Trait]] = _MOVEMENT
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "fill?")
    low: tuple[int, ...]
    high: tuple[int, ...]
    mode: PadMode = PadMode.CONSTANT

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        amounts = (*self.low, *self.high)
        if not len(self.low) == len(self.high) == x.rank or min(amounts, default=0) < 0:
            raise TypeInferenceError(f"pad {self.low} {self.high} does not fit {x}")
        if self.mode is not PadMode.CONSTANT and any(
            dim == 0 and low + high
            for dim, low, high in zip(x.dims, self.low, self.high, strict=True)
        ):
            raise TypeInferenceError(f"cannot pad an empty dimension of {x} by its own elements")
        return (
            x.with_shape(
                tuple(
                    dim + low + high
                    for dim, low, high in zip(x.dims, self.low, self.high, strict=True)
                )
            ),
        )

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        widths = tuple(zip(self.low, self.high, strict=True))
        if self.mode is PadMode.CONSTANT:
            fill = operands[1] if len(operands) > 1 and operands[1] is not None else 0
            inner = tuple(slice(low, low + dim) for low, dim in zip(self.low, x.shape, strict=True))
            shape = tuple(
                dim + low + high
                for dim, low, high in zip(x.shape, self.low, self.high, strict=True)
            )
            y = np.full(shape, np.asarray(fill).reshape(()), dtype=x.dtype)
            y[inner] = x
            return (y,)
        return (np.pad(x, widths, mode=self.mode.value),)


@dataclass(frozen=True, slots=True)
class Gather(OpKind):
    """y = x indexed by `indices` (i32 or i64) along an axis: ONNX Gather.

    The result's shape is x's with dimension `axis` replaced by the indices' shape. Negative
    indices count from the end; others out of range are clamped into it (never a wild access).
    """

    MNEMONIC: ClassVar[str] = "gather"
    TRAITS: ClassVar[frozenset[Trait]] = _MOVEMENT
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "indices")
    axis: int

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, indices = present(operands, 2)
        if not 0 <= self.axis < x.rank or not indices.dtype.is_integer:
            raise TypeInferenceError(f"cannot gather from {x} on axis {self.axis} by {indices}")
        return (x.with_shape(x.shape[: self.axis] + indices.shape + x.shape[self.axis + 1 :]),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, indices = arrays(operands, 2)
        size = x.shape[self.axis]
        wrapped = np.where(indices < 0, indices + size, indices).astype(np.int64)
        return (np.take(x, wrapped, axis=self.axis, mode="clip"),)
