"""Normalization over the trailing axes: layer norm and RMS norm; other norms are decomposed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.elementwise import broadcast_shapes
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


def _inferred(mnemonic: str, axis: int, operands: Sequence[TensorType | None]) -> TensorType:
    (x,) = present(operands, 1)
    if not 0 <= axis < x.rank or not x.dtype.is_float:
        raise TypeInferenceError(f"cannot take {mnemonic} of {x} from axis {axis}")
    for parameter in operands[1:]:
        if parameter is None:
            continue
        fits = parameter.rank <= x.rank - axis and parameter.dtype is x.dtype
        if not fits or broadcast_shapes(parameter.shape, x.shape) != x.shape:
            raise TypeInferenceError(f"{mnemonic} of {x} from axis {axis} with {parameter}")
    return x.with_shape(x.shape)


def _applied(y: Array, operands: Sequence[Array | None], narrow: np.dtype[np.generic]) -> Array:
    if len(operands) > 1 and operands[1] is not None:
        y = y * operands[1].astype(y.dtype)
    if len(operands) > 2 and operands[2] is not None:
        y = y + operands[2].astype(y.dtype)
    return y.astype(narrow)


@dataclass(frozen=True, slots=True)
class LayerNorm(OpKind):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from `axis` on.

    scale and bias broadcast to x's trailing axes. The mean first, then the mean of the squared
    differences; types narrower than 32 bits compute in binary32. ONNX LayerNormalization-17.
    """

    MNEMONIC: ClassVar[str] = "layer_norm"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "scale?", "bias?")
    axis: int
    epsilon: float = 1e-5

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        return (_inferred(self.mnemonic, self.axis, operands),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
        axes = tuple(range(self.axis, x.ndim))
        centered = wide - wide.mean(axis=axes, keepdims=True)
        variance = np.square(centered).mean(axis=axes, keepdims=True)
        y = centered / np.sqrt(variance + np.asarray(self.epsilon, wide.dtype))
        return (_applied(y, operands, x.dtype),)


@dataclass(frozen=True, slots=True)
class RmsNorm(OpKind):
    """y = x / sqrt(mean(x^2) + epsilon) * scale over the axes from `axis` on.

    scale broadcasts to x's trailing axes. ONNX RMSNormalization-23.
    """

    MNEMONIC: ClassVar[str] = "rms_norm"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "scale?")
    axis: int
    epsilon: float = 1e-5

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        return (_inferred(self.mnemonic, self.axis, operands),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
        axes = tuple(range(self.axis, x.ndim))
        square = np.square(wide).mean(axis=axes, keepdims=True)
        y = wide / np.sqrt(square + np.asarray(self.epsilon, wide.dtype))
        return (_applied(y, operands[:2], x.dtype),)
