"""The vocabulary of the recognizers: what an operand was computed by, seen through a rewriter."""

import math
from collections.abc import Iterator

import numpy as np

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Unary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.rewrite import Rewriter

# Models write constants such as 1 / sqrt 2 with as few digits as 0.7071.
_ROUNDING = 1e-4


def argument(rewriter: Rewriter, value: Value | None, function: UnaryFunction) -> Value | None:
    """x if `value` is function(x)."""
    found = rewriter.match(value, Unary)
    if found is None or found[0].function is not function:
        return None
    return found[1].inputs[0]


def arguments(
    rewriter: Rewriter, value: Value | None, function: BinaryFunction
) -> tuple[Value, Value] | None:
    """(x, y) if `value` is function(x, y)."""
    found = rewriter.match(value, Binary)
    if found is None or found[0].function is not function:
        return None
    lhs, rhs = found[1].inputs
    return lhs, rhs


def either_order(pair: tuple[Value, Value] | None) -> Iterator[tuple[Value, Value]]:
    """The operands of a commutative op, as they are and swapped; nothing for None."""
    if pair is not None:
        yield pair
        yield pair[1], pair[0]


def scalar(rewriter: Rewriter, value: Value | None) -> float | None:
    """The number that all elements of a constant equal."""
    array = rewriter.uniform(value)
    if array is None or not np.issubdtype(array.dtype, np.floating):
        return None
    return float(np.asarray(array, np.float64))


def is_scalar(rewriter: Rewriter, value: Value | None, wanted: float) -> bool:
    """True if `value` is a constant near `wanted`."""
    number = scalar(rewriter, value)
    return number is not None and math.isclose(number, wanted, rel_tol=_ROUNDING)


def with_scalar(
    rewriter: Rewriter, value: Value | None, function: BinaryFunction
) -> tuple[Value, float] | None:
    """(x, c) if `value` is function(x, c) or function(c, x), c a constant; function commutes."""
    for x, other in either_order(arguments(rewriter, value, function)):
        number = scalar(rewriter, other)
        if number is not None:
            return x, number
    return None


def square_root_of(rewriter: Rewriter, value: Value | None) -> Value | None:
    """x if `value` is sqrt(x) or x to the power of one half."""
    found = argument(rewriter, value, UnaryFunction.SQRT)
    if found is not None:
        return found
    power = arguments(rewriter, value, BinaryFunction.POW)
    return power[0] if power is not None and is_scalar(rewriter, power[1], 0.5) else None


def square_of(rewriter: Rewriter, value: Value | None) -> Value | None:
    """x if `value` is x * x or x to the power of two."""
    product = arguments(rewriter, value, BinaryFunction.MUL)
    if product is not None and product[0] == product[1]:
        return product[0]
    power = arguments(rewriter, value, BinaryFunction.POW)
    return power[0] if power is not None and is_scalar(rewriter, power[1], 2.0) else None


def quotients(rewriter: Rewriter, op: Op) -> Iterator[tuple[Value, Value]]:
    """(x, y) for each way in which `op` computes x / y: by division or by a reciprocal."""
    if op.kind == Binary(BinaryFunction.DIV):
        yield op.inputs[0], op.inputs[1]
    if op.kind == Binary(BinaryFunction.MUL):
        for x, other in either_order((op.inputs[0], op.inputs[1])):
            divisor = argument(rewriter, other, UnaryFunction.RECIPROCAL)
            if divisor is not None:
                yield x, divisor


def kept_reduction(
    rewriter: Rewriter, value: Value | None, function: ReduceFunction
) -> tuple[Value, tuple[int, ...]] | None:
    """(x, axes) if `value` reduces x over axes and keeps them as dimensions of size 1."""
    found = rewriter.match(value, Reduce)
    if found is None or found[0].function is not function or not found[0].keep_dims:
        return None
    return found[1].inputs[0], found[0].axes
