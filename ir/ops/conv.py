"""Convolution and transposed convolution, channels last, any number of spatial dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.accumulator import accumulator_dtype
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Conv(OpKind):
    """y[n, o, k] = bias[k] + sum over taps t, channels c of x[n, o * s + t * d, c] w[t, c, k].

    x is [N, *S, C], weights [*K, C / groups, O], bias [O]; group g takes channels
    [g C / groups, ...) to outputs [g O / groups, ...). ONNX Conv with the layout made explicit.
    Integers of up to 16 bits accumulate in i32: x counts as x - zero_point, padding as 0.
    """

    MNEMONIC: ClassVar[str] = "conv"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.CONTRACTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "weights", "bias?")
    window: Window
    groups: int = 1
    zero_point: int = 0

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, weights = present(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        if x.rank != self.window.rank + 2 or weights.rank != x.rank:
            raise TypeInferenceError(f"conv of {x} by {weights} with a {self.window.rank}-D window")
        result = accumulator_dtype(x.dtype, weights.dtype)
        channels, outputs = x.dims[-1], weights.dims[-1]
        if weights.dims[:-2] != self.window.size:
            raise TypeInferenceError(f"weights {weights} do not match window {self.window.size}")
        if channels != weights.dims[-2] * self.groups or outputs % self.groups:
            raise TypeInferenceError(f"conv of {x} by {weights} in {self.groups} groups")
        if bias is not None and (bias.shape != (outputs,) or bias.dtype is not result):
            raise TypeInferenceError(f"bias {bias} for {outputs} output channels of {result.value}")
        spatial = self.window.output_dims(x.dims[1:-1])
        return (TensorType(result, (x.dims[0], *spatial, outputs)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, weights = arrays(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        result = accumulator_dtype(DType.from_numpy(x.dtype), DType.from_numpy(weights.dtype))
        wide = np.dtype(np.float32) if result.is_float and result.bits < 32 else result.numpy
        total: Array | None = None
        groups = self.groups
        centered = x.astype(wide) - np.asarray(self.zero_point, wide) if self.zero_point else x
        for position, view in self.window.taps(centered.astype(wide), 0):
            tap = weights[position].astype(wide)
            grouped = view.reshape(*view.shape[:-1], groups, -1)
            split = tap.reshape(tap.shape[0], groups, -1)
            product = np.einsum("...gc,cgo->...go", grouped, split, optimize=True)
            total = product if total is None else total + product
        assert total is not None
        y = total.reshape(*total.shape[:-2], weights.shape[-1])
        if bias is not None:
            y = y + bias.astype(wide)
        return (y.astype(result.numpy),)


@dataclass(frozen=True, slots=True)
class ConvTranspose(OpKind):
    """The gradient of Conv: every input element adds its window of weights to the output.

    x is [N, *S, C], weights [*K, C, O / groups], bias [O]. The output's spatial size is
    (in - 1) * stride + (size - 1) * dilation + 1 - low - high + output_padding.
    Integers of up to 16 bits accumulate in i32: x counts as x - zero_point.
    """

    MNEMONIC: ClassVar[str] = "conv_transpose"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.CONTRACTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "weights", "bias?")
    window: Window
    output_padding: tuple[int, ...]
    groups: int = 1
    zero_point: int = 0

    def output_dims(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial output size for the spatial input size."""
        w = self.window
        parts = zip(
            dims, w.size, w.strides, w.dilations, w.low, w.high, self.output_padding, strict=True
        )
        return tuple((n - 1) * s + (k - 1) * d + 1 - lo - hi + p for n, k, s, d, lo, hi, p in parts)

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, weights = present(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        if x.rank != self.window.rank + 2 or weights.rank != x.rank:
            raise TypeInferenceError(f"conv_transpose of {x} by {weights}")
        result = accumulator_dtype(x.dtype, weights.dtype)
        if weights.dims[:-2] != self.window.size or len(self.output_padding) != self.window.rank:
            raise TypeInferenceError(f"weights {weights} do not match window {self.window.size}")
        channels, outputs = x.dims[-1], weights.dims[-1] * self.groups
        if channels != weights.dims[-2] or channels % self.groups:
            raise TypeInferenceError(f"conv_transpose of {x} by {weights} in {self.groups} groups")
        if bias is not None and (bias.shape != (outputs,) or bias.dtype is not result):
            raise TypeInferenceError(f"bias {bias} for {outputs} output channels of {result.value}")
        spatial = self.output_dims(x.dims[1:-1])
        if min(spatial, default=1) < 1:
            raise TypeInferenceError(f"conv_transpose of {x} has an empty output")
        return (TensorType(result, (x.dims[0], *spatial, outputs)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, weights = arrays(operands, 2)
        bias = operands[2] if len(operands) > 2 else None
        w, groups = self.window, self.groups
        dims = tuple(x.shape[1:-1])
        full = tuple(
            max((n - 1) * s + (k - 1) * d + 1, lo + out)
            for n, k, s, d, lo, out in zip(
                dims, w.size, w.strides, w.dilations, w.low, self.output_dims(dims), strict=True
            )
        )
        result = accumulator_dtype(DType.from_numpy(x.dtype), DType.from_numpy(weights.dtype))
        wide = np.dtype(np.float32) if result.is_float and result.bits < 32 else result.numpy
        y = np.zeros((x.shape[0], *full, weights.shape[-1] * groups), dtype=wide)
        centered = x.astype(wide) - np.asarray(self.zero_point, wide) if self.zero_point else x
        grouped = centered.astype(wide).reshape(*x.shape[:-1], groups, -1)
        for position in np.ndindex(*w.size):
            tap = weights[position].astype(wide).reshape(groups, -1, weights.shape[-1])
            product = np.einsum("...gc,gco->...go", grouped, tap, optimize=True)
            steps = tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(position, w.dilations, dims, w.strides, strict=True)
            )
            y[(slice(None), *steps)] += product.reshape(*product.shape[:-2], -1)
        inner = tuple(
            slice(lo, lo + out) for lo, out in zip(w.low, self.output_dims(dims), strict=True)
        )
        y = y[(slice(None), *inner)]
        return ((y if bias is None else y + bias.astype(wide)).astype(result.numpy),)
