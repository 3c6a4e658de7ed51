"""Functions of 16-bit tensors by small tables: interpolation, and softmax of two-part exponentials.

Their formulas are normative (docs/numerics.md); all arithmetic is on integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.fixed_point import divided, interpolated
from lepton_cc.ir.ops.integer import Range
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType

# Bits of an element, and behind the point of an exponential.
_BITS = 16
EXPONENTIAL_FRACTION = 30
# 2^this over a sum of exponentials is the reciprocal; a quotient of two has 30 bits again.
RECIPROCAL_BITS = 62
_WORDS = (DType.I16, DType.U16)
_POWERS = frozenset(1 << power for power in range(1, _BITS))


@dataclass(frozen=True, slots=True)
class InterpolatedTable(OpKind):
    """y = clamp(RNE(line / 2^fraction)), on the straight line between the entries around x.

    The line is rounded half to even, too. x is i16 or u16; `entries` are 2^k + 1 integers (i16, u16
    or i32, below 2^30), the values at equal distances from the lowest x on (the last one is for the
    x after the highest). They may lie beyond the bounds.
    """

    MNEMONIC: ClassVar[str] = "interpolated_table"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.POINTWISE})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    entries: Tensor
    fraction: int
    range: Range

    @property
    def step_bits(self) -> int:
        """Neighbouring entries are 2^step_bits elements apart."""
        intervals = self.entries.type.num_elements - 1
        return _BITS + 1 - intervals.bit_length()

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        table = self.entries.type
        intervals = table.num_elements - 1
        self.range.check()
        known = table.dtype in (*_WORDS, DType.I32) and table.rank == 1 and 0 <= self.fraction < 30
        if x.dtype not in _WORDS or not known or intervals not in _POWERS:
            raise TypeInferenceError(f"interpolated_table {table} for {x}")
        if np.abs(self.entries.array.astype(np.int64)).max() > 1 << 30:
            raise TypeInferenceError("interpolated_table that could overflow")
        return (TensorType(self.range.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        low, _ = integer_bounds(DType.from_numpy(x.dtype))
        entries = self.entries.array.astype(np.int64)
        line = interpolated(entries, x.astype(np.int64) - low, self.step_bits)
        y = divided(line, self.fraction)
        return (np.clip(y, self.range.low, self.range.high).astype(self.range.dtype.numpy),)


@dataclass(frozen=True, slots=True)
class WideSoftmax(OpKind):
    """Softmax of 16-bit integers along an axis, in fixed point.

    With d = max - x_i: e_i = RNE(coarse[d >> 8] fine[d & 255] / 2^30) in steps of 2^-30, t the sum
    of them, p_i = RNE(e_i floor(2^62 / t) / 2^32); y_i = clamp(RNE(p_i multiplier / 2^shift) +
    zero_point). `coarse` and `fine` are i32[256].
    """

    MNEMONIC: ClassVar[str] = "wide_softmax"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    axis: int
    coarse: Tensor
    fine: Tensor
    multiplier: int
    shift: int
    range: Range

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        self.range.check()
        if x.dtype not in _WORDS or not 0 <= self.axis < x.rank:
            raise TypeInferenceError(f"wide_softmax of {x} on axis {self.axis}")
        if any(table.type != TensorType(DType.I32, (256,)) for table in (self.coarse, self.fine)):
            raise TypeInferenceError(f"exponentials {self.coarse.type}, {self.fine.type}")
        if not 0 <= self.multiplier < 1 << 31 or not 0 <= self.shift < RECIPROCAL_BITS:
            raise TypeInferenceError("wide_softmax that could overflow")
        return (TensorType(self.range.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        wide = x.astype(np.int64)
        distances = wide.max(axis=self.axis, keepdims=True) - wide
        coarse, fine = (table.array.astype(np.int64) for table in (self.coarse, self.fine))
        products = coarse[distances >> 8] * fine[distances & 255]
        terms = divided(products, EXPONENTIAL_FRACTION)
        total = terms.sum(axis=self.axis, keepdims=True)
        reciprocal = np.int64(1 << RECIPROCAL_BITS) // total
        shares = divided(terms * reciprocal, RECIPROCAL_BITS - EXPONENTIAL_FRACTION)
        y = divided(shares * self.multiplier, self.shift) + self.range.zero_point
        return (np.clip(y, self.range.low, self.range.high).astype(self.range.dtype.numpy),)
