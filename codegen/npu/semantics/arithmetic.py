"""Rounding, scaling, clamping: the formulas of docs/numerics.md as the engine applies them."""

import numpy as np
import numpy.typing as npt

from lepton_cc.ir.ops.integer import fused_multiply_add

Accumulators = npt.NDArray[np.int32]
Elements = npt.NDArray[np.int8]
Reals = npt.NDArray[np.float32]


def wrap(sums: npt.NDArray[np.int64]) -> Accumulators:
    """The low 32 bits, as two's complement."""
    low: npt.NDArray[np.uint32] = sums.astype(np.uint64).astype(np.uint32)
    return low.view(np.int32)


def round_and_clamp(real: Reals, low: int, high: int, zero_point: int = 0) -> Elements:
    """clamp(low, high, RNE(real) + zero_point)."""
    rounded = np.rint(real.astype(np.float64)) + zero_point
    clamped: Elements = np.clip(rounded, low, high).astype(np.int8)
    return clamped


def requantize(sums: Accumulators, scale: Reals, low: int, high: int, zero_point: int) -> Elements:
    """clamp(low, high, RNE(fl(f32(sum) scale)) + zero_point)."""
    with np.errstate(over="ignore"):
        return round_and_clamp(sums.astype(np.float32) * scale, low, high, zero_point)


def _fma(element: Elements, scale: np.float32, addend: Reals) -> Reals:
    """fl(element scale + addend); an addend that has overflowed stays as it is."""
    finite = np.where(np.isfinite(addend), addend, np.float32(0))
    with np.errstate(over="ignore"):
        total = fused_multiply_add(element.astype(np.float32), np.asarray(scale), finite)
    return np.where(np.isfinite(addend), total, addend).astype(np.float32)


def add(
    lhs: tuple[Elements, float], rhs: tuple[Elements, float], offset: float, low: int, high: int
) -> Elements:
    """clamp(RNE(fma(l, L, fma(r, R, offset)))) of (elements, scale)."""
    start = np.full(rhs[0].shape, offset, np.float32)
    inner = _fma(rhs[0], np.float32(rhs[1]), start)
    return round_and_clamp(_fma(lhs[0], np.float32(lhs[1]), inner), low, high)


def multiply(product: Accumulators, scale: float, offset: float, low: int, high: int) -> Elements:
    """clamp(RNE(fl(fl(f32(product) scale) + offset)))."""
    with np.errstate(over="ignore"):
        scaled = product.astype(np.float32) * np.float32(scale) + np.float32(offset)
    return round_and_clamp(scaled, low, high)


def look_up(table: bytes | None, elements: Elements) -> Elements:
    """table[x + 128]; without a table the elements."""
    if table is None:
        return elements
    entries = np.frombuffer(table, np.int8)
    return entries[elements.astype(np.int64) + 128]
