"""Max and average pools, channels last; global pools are reductions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, arrays, present
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


def _pooled(x: TensorType, window: Window) -> TensorType:
    if x.rank != window.rank + 2:
        raise TypeInferenceError(f"pool of {x} with a {window.rank}-D window")
    return TensorType(x.dtype, (x.dims[0], *window.output_dims(x.dims[1:-1]), x.dims[-1]))


def lowest(dtype: DType) -> float:
    """The identity of max: -inf, or the smallest integer of the type."""
    return -np.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


@dataclass(frozen=True, slots=True)
class MaxPool(OpKind):
    """y[n, o, c] = max over window taps of x [N, *S, C]; padding never wins."""

    MNEMONIC: ClassVar[str] = "max_pool"
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    window: Window

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        return (_pooled(present(operands, 1)[0], self.window),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        y: Array | None = None
        for _, view in self.window.taps(x, lowest(DType.from_numpy(x.dtype))):
            y = view.copy() if y is None else np.maximum(y, view)
        assert y is not None
        return (y,)


@dataclass(frozen=True, slots=True)
class AveragePool(OpKind):
    """y[n, o, c] = sum over window taps of x [N, *S, C], divided by the number of taps that count.

    Padding counts only if `count_padding`; the last `uncounted` elements of the high padding (what
    a ceiling mode added) never do. Sums in binary32 (binary64 for f64).
    """

    MNEMONIC: ClassVar[str] = "average_pool"
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    window: Window
    count_padding: bool = False
    uncounted: tuple[int, ...] = ()

    def counted_bounds(self, dims: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Per spatial dimension the half-open range of input coordinates that count."""
        if not self.count_padding:
            return tuple((0, dim) for dim in dims)
        extra = self.uncounted or (0,) * len(dims)
        w = self.window
        return tuple(
            (-low, dim + high - beyond)
            for low, dim, high, beyond in zip(w.low, dims, w.high, extra, strict=True)
        )

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if not x.dtype.is_float:
            raise TypeInferenceError(f"average_pool is not defined for {x}")
        return (_pooled(x, self.window),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
        dims = tuple(x.shape[1:-1])
        total = sum((view for _, view in self.window.taps(wide, 0)), np.zeros((), wide.dtype))
        counts = self.counts(dims).astype(wide.dtype)
        return ((total / counts[..., None]).astype(x.dtype),)

    def counts(self, dims: tuple[int, ...]) -> Array:
        """How many taps count at each output position, for spatial input `dims`."""
        counts = np.ones((), np.int64)
        for axis, (low, high) in enumerate(self.counted_bounds(dims)):
            counts = counts[..., None] * self._axis_counts(axis, dims[axis], low, high)
        return counts

    def _axis_counts(self, axis: int, dim: int, low: int, high: int) -> Array:
        w = self.window
        (out,) = Window(
            (w.size[axis],),
            (w.strides[axis],),
            (w.dilations[axis],),
            (w.low[axis],),
            (w.high[axis],),
        ).output_dims((dim,))
        starts = np.arange(out) * w.strides[axis] - w.low[axis]
        taps = starts[:, None] + np.arange(w.size[axis]) * w.dilations[axis]
        return np.asarray(np.sum((taps >= low) & (taps < high), axis=1))
