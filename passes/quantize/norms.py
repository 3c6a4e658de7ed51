"""Layer norm and RMS norm of a dequantized tensor: integer sums, one root a row, 64-bit products.

The normalized numbers d / sqrt(v + epsilon) do not depend on the scale of x but for epsilon, which
is counted in squares of its steps.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.accumulator_bound import largest_magnitude
from lepton_cc.passes.quantize.parameters import Dequantized, known, narrow, quantized

# Products stay below 2^62, so that rounding them cannot overflow.
_BITS = 62
# The largest magnitude of `scale`, and of what it multiplies: 2^30 each.
_FACTOR_BITS = 30


@dataclass(frozen=True, slots=True)
class Precision:
    """The constants of QuantizedNorm that say how many bits each step keeps."""

    epsilon: int
    variance_bits: int
    reciprocal_bits: int
    shift: int
    # q counts the normalized numbers in steps of 2^-fraction.
    fraction: int


def precision(count: int, largest: int, epsilon: float) -> Precision | None:
    """For rows of `count` integers of magnitude up to `largest`; None if 64 bits do not do.

    `epsilon` is that of the norm over the square of x's scale. With c = ceil(log2(count) / 2),
    |d| <= 2^c sqrt(v) and 2^variance_bits sqrt(v) <= 2 root, so that |d r| <= 2^62 and |q| <= 2^30.
    """
    bits = (_BITS - 1 - (count * largest).bit_length() * 2) // 2
    in_steps = epsilon * count * count
    if not math.isfinite(in_steps) or in_steps < 0:
        return None
    while bits > 0 and in_steps * 4.0**bits >= 2.0 ** (_BITS - 1):
        bits -= 1
    half = math.ceil(math.log2(count) / 2)
    reciprocal = min(_BITS, _BITS - 1 + bits - half)
    fraction = _FACTOR_BITS - 1 - half
    shift = reciprocal - bits - fraction
    if bits < 1 or count * largest >= 1 << 30 or not 0 <= shift < _BITS:
        return None
    return Precision(max(1, round(in_steps * 4.0**bits)), bits, reciprocal, shift, fraction)


@rule("quantize(norm(dequantize(x), scale, bias)) = quantized_norm(x)", Quantize)
def norm(op: Op, rewriter: Rewriter) -> Replacement:
    """Of constant scale and bias, layer norm or RMS norm."""
    by = quantized(rewriter, op)
    producer = None if by is None else rewriter.producer(by.real)
    if by is None or producer is None or not isinstance(producer.kind, LayerNorm | RmsNorm):
        return None
    kind, centered = producer.kind, isinstance(producer.kind, LayerNorm)
    found = narrow(rewriter, producer.operands[0])
    factors = _reals(rewriter, producer, 1, 1.0)
    offsets = _reals(rewriter, producer, 2, 0.0)
    if found is None or factors is None or offsets is None or found.x.type.num_elements == 0:
        return None
    chosen = _precision(found, kind)
    steps = None if chosen is None else _in_steps(chosen, factors / by.scale, offsets / by.scale)
    if chosen is None or steps is None:
        return None
    scale, bias, result_bits = steps
    rewriter.match(by.real, type(kind))
    kept = (
        kind.axis,
        centered,
        found.zero_point,
        chosen.epsilon,
        chosen.variance_bits,
        chosen.reciprocal_bits,
        chosen.shift,
        result_bits,
    )
    operands = [found.x, rewriter.constant(scale, name="scale")]
    if np.any(bias):
        operands.append(rewriter.constant(bias, name="bias"))
    return (rewriter.emit(QuantizedNorm(*kept, by.range), *operands),)


def _reals(rewriter: Rewriter, op: Op, number: int, absent: float) -> Array | None:
    """A parameter of the norm in binary64, if it is known and finite."""
    value: Value | None = op.operands[number] if len(op.operands) > number else None
    if value is None:
        return np.asarray(absent)
    array = known(rewriter, value)
    if array is None:
        return None
    return array.astype(np.float64) if np.all(np.isfinite(array)) else None


def _precision(found: Dequantized, kind: LayerNorm | RmsNorm) -> Precision | None:
    count = math.prod(found.x.type.dims[kind.axis :])
    largest = largest_magnitude(found.x.type.dtype, found.zero_point)
    return precision(count, largest, kind.epsilon / float(found.scale) ** 2)


def _in_steps(chosen: Precision, factors: Array, offsets: Array) -> tuple[Array, Array, int] | None:
    """scale (i32) and bias (i64) in units of 2^-result_bits steps of the result.

    As many bits as keep scale below 2^30 and bias below 2^60.
    """
    largest = float(np.abs(factors).max(initial=2.0**-20)), float(np.abs(offsets).max(initial=0.0))
    bits = _FACTOR_BITS - 1 - math.frexp(largest[0])[1] + chosen.fraction
    if largest[1]:
        bits = min(bits, 60 - math.frexp(largest[1])[1])
    bits = min(bits, 60)
    if bits < chosen.fraction:
        return None
    scale = np.rint(factors * 2.0 ** (bits - chosen.fraction)).astype(np.int32)
    return scale, np.rint(offsets * 2.0**bits).astype(np.int64), bits


RULES: tuple[Rule, ...] = (norm,)
