"""Laws of powers, roots and reciprocals."""

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Unary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, kind_of, rule
from lepton_cc.passes.canonicalize.arithmetic import is_element

_MULTIPLY = Binary(BinaryFunction.MUL)
# Expressions of non-negative parts are looked through this deep; enough for sqrt(variance + eps).
_MAX_DEPTH = 4


@rule("x ** 2 = x * x, x ** 3 = x * x * x, x ** -1 = 1 / x", Binary)
def small_integer_power(op: Op, rewriter: Rewriter) -> Replacement:
    """Products round within the 2 ULP that `pow` is allowed."""
    if kind_of(op, Binary).function is not BinaryFunction.POW:
        return None
    x, exponent = op.inputs
    if x.type.dtype not in (DType.F32, DType.F64) or x.type != op.result.type:
        return None
    element = rewriter.uniform(exponent)
    if is_element(element, -1):
        return (rewriter.emit(Unary(UnaryFunction.RECIPROCAL), x),)
    if not (is_element(element, 2) or is_element(element, 3)):
        return None
    square = rewriter.emit(_MULTIPLY, x, x)
    return (square if is_element(element, 2) else rewriter.emit(_MULTIPLY, square, x),)


@rule("x ** 0.5 = sqrt(x), x ** -0.5 = rsqrt(x) where x is not below +0", Binary)
def power_of_half(op: Op, rewriter: Rewriter) -> Replacement:
    """-0.0 ** 0.5 is 0.0 and -inf ** 0.5 is inf, but the roots are -0.0 and NaN."""
    if kind_of(op, Binary).function is not BinaryFunction.POW:
        return None
    x, exponent = op.inputs
    element = rewriter.uniform(exponent)
    if x.type != op.result.type or not x.type.dtype.is_float:
        return None
    functions = ((0.5, UnaryFunction.SQRT), (-0.5, UnaryFunction.RSQRT))
    for power, function in functions:
        if is_element(element, power) and is_not_below_zero(x, rewriter):
            return (rewriter.emit(Unary(function), x),)
    return None


@rule("1 / x = reciprocal(x)", Binary)
def division_of_one(op: Op, rewriter: Rewriter) -> Replacement:
    one, x = op.inputs
    if kind_of(op, Binary).function is not BinaryFunction.DIV or not x.type.dtype.is_float:
        return None
    if x.type != op.result.type or not is_element(rewriter.uniform(one), 1):
        return None
    return (rewriter.emit(Unary(UnaryFunction.RECIPROCAL), x),)


@rule("1 / sqrt(x) = rsqrt(x)", Unary)
def reciprocal_of_root(op: Op, rewriter: Rewriter) -> Replacement:
    """By definition: rsqrt is the reciprocal of the rounded root, in binary32 and wider."""
    inner = rewriter.match(op.inputs[0], Unary)
    if kind_of(op, Unary).function is not UnaryFunction.RECIPROCAL or inner is None:
        return None
    if inner[0].function is not UnaryFunction.SQRT or op.result.type.dtype.bits < 32:
        return None
    return (rewriter.emit(Unary(UnaryFunction.RSQRT), inner[1].inputs[0]),)


def is_not_below_zero(value: Value, rewriter: Rewriter, depth: int = _MAX_DEPTH) -> bool:
    """True if every element is known to be NaN, +0.0 or positive (never -0.0)."""
    producer = rewriter.producer(value)
    if producer is None or depth == 0:
        return False
    kind = producer.kind
    if isinstance(kind, Constant):
        return bool(np.all(kind.value.array.astype(np.float64) > 0))
    parts = producer.inputs
    if isinstance(kind, Binary) and kind.function is BinaryFunction.MUL and parts[0] == parts[1]:
        return True
    return _is_positive_function(kind) or (
        _keeps_positive(kind) and all(is_not_below_zero(p, rewriter, depth - 1) for p in parts)
    )


def _is_positive_function(kind: OpKind) -> bool:
    match kind:
        case Unary(function=UnaryFunction.ABS | UnaryFunction.EXP | UnaryFunction.SIGMOID):
            return True
        case Clamp():
            return kind.low > 0
    return False


def _keeps_positive(kind: OpKind) -> bool:
    match kind:
        case Binary(function=BinaryFunction.ADD | BinaryFunction.MUL | BinaryFunction.DIV):
            return True
        case Reduce(function=ReduceFunction.SUM | ReduceFunction.MEAN):
            return True
        case Unary(function=UnaryFunction.SQRT):
            return True
    return False


RULES: tuple[Rule, ...] = (
    small_integer_power,
    power_of_half,
    division_of_one,
    reciprocal_of_root,
)
