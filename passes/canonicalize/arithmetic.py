"""Laws of sums, products, negation, clamping; each exact, for floats with NaN and -0.0.

What is no law here, because some float breaks it: x + 0 = x and 0 - x = -x (-0.0), x * 0 = 0 (NaN),
x - x = 0 (infinity).
"""

import math

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Unary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, kind_of, rule, same_type
from lepton_cc.ir.structural_hash import kind_key
from lepton_cc.ir.tensor import Array

_MERGED_WHEN_INTEGER = (
    BinaryFunction.ADD,
    BinaryFunction.MUL,
    BinaryFunction.AND,
    BinaryFunction.OR,
    BinaryFunction.XOR,
)
# Laws of numbers are stated for these; the 8-bit floats have no infinity, no -0.0 or no zero.
_NUMBERS = frozenset(d for d in DType if d.is_integer and d.bits >= 8) | {
    DType.BF16,
    DType.F16,
    DType.F32,
    DType.F64,
    DType.BOOL,
}
# Smallest exponents of normal numbers: some targets flush what lies below.
_SMALLEST_NORMAL = {DType.F16: 2.0**-14, DType.F32: 2.0**-126, DType.F64: 2.0**-1022}
_MAX_EXACT_INTEGER = 1 << 53


def is_element(array: Array | None, value: float) -> bool:
    """True if the scalar array holds exactly this value, sign of zero included."""
    if array is None:
        return False
    return bool(np.asarray(value).astype(array.dtype).tobytes() == array.tobytes())


def _neutral(function: BinaryFunction, dtype: DType) -> float | bool | None:
    """The right operand that changes no left operand."""
    match function:
        case BinaryFunction.ADD:
            return -0.0 if dtype.is_float else 0
        case BinaryFunction.SUB:
            return 0.0
        case BinaryFunction.MUL | BinaryFunction.DIV | BinaryFunction.POW:
            return 1
        case BinaryFunction.OR | BinaryFunction.XOR:
            return 0
        case BinaryFunction.AND:
            return True if dtype is DType.BOOL else (-1 if dtype.is_signed_integer else None)
        case BinaryFunction.SHIFT_LEFT | BinaryFunction.SHIFT_RIGHT:
            return 0
    return None


@rule("x op neutral = x: x + -0.0, x - 0, x * 1, x / 1, x ** 1, x or 0, x and 1...", Binary)
def drop_neutral_operand(op: Op, rewriter: Rewriter) -> Replacement:
    """Integers add 0; floats add -0.0, because 0.0 + -0.0 = 0.0."""
    lhs, rhs = op.inputs
    neutral = _neutral(kind_of(op, Binary).function, lhs.type.dtype)
    if neutral is None or lhs.type.dtype not in _NUMBERS:
        return None
    if not is_element(rewriter.uniform(rhs), neutral):
        return None
    return same_type(op, lhs)


@rule("c op x = x op c", Binary)
def constant_to_the_right(op: Op, rewriter: Rewriter) -> Replacement:
    """Min and max of zeros depend on the order of operands, so those with a zero stay."""
    kind = kind_of(op, Binary)
    lhs, rhs = op.inputs
    constant = rewriter.constant_array(lhs)
    if constant is None or Trait.COMMUTATIVE not in kind.traits:
        return None
    if rewriter.constant_array(rhs) is not None:
        return None
    if kind.function in (BinaryFunction.MIN, BinaryFunction.MAX) and np.any(constant == 0):
        return None
    return (rewriter.emit(kind, rhs, lhs),)


@rule("x - c = x + -c", Binary)
def subtraction_of_constant(op: Op, rewriter: Rewriter) -> Replacement:
    lhs, rhs = op.inputs
    constant = rewriter.constant_array(rhs)
    if kind_of(op, Binary).function is not BinaryFunction.SUB or constant is None:
        return None
    if rewriter.constant_array(lhs) is not None or lhs.type.dtype not in _NUMBERS:
        return None
    (negated,) = Unary(UnaryFunction.NEG).evaluate((constant,))
    return (rewriter.emit(Binary(BinaryFunction.ADD), lhs, rewriter.constant(negated)),)


@rule("x / c = x * (1 / c) where every c is a power of two", Binary)
def division_by_power_of_two(op: Op, rewriter: Rewriter) -> Replacement:
    lhs, rhs = op.inputs
    constant = rewriter.constant_array(rhs)
    smallest = _SMALLEST_NORMAL.get(lhs.type.dtype)
    if kind_of(op, Binary).function is not BinaryFunction.DIV or constant is None:
        return None
    if smallest is None:
        return None
    wide = constant.astype(np.float64)
    mantissa, _ = np.frexp(wide)
    with np.errstate(all="ignore"):
        reciprocal = (1 / wide).astype(constant.dtype)
        normal = np.isfinite(reciprocal) & (np.abs(reciprocal) >= smallest)
    if not np.all((np.abs(mantissa) == 0.5) & normal):
        return None
    return (rewriter.emit(Binary(BinaryFunction.MUL), lhs, rewriter.constant(reciprocal)),)


@rule("x * -1 = -x, -0.0 - x = -x; 0 - x = -x for integers", Binary)
def product_with_minus_one(op: Op, rewriter: Rewriter) -> Replacement:
    lhs, rhs = op.inputs
    function, dtype = kind_of(op, Binary).function, lhs.type.dtype
    if dtype not in _NUMBERS or dtype.is_unsigned_integer:
        return None
    negated = None
    if function is BinaryFunction.MUL and is_element(rewriter.uniform(rhs), -1):
        negated = lhs
    elif function is BinaryFunction.SUB and is_element(
        rewriter.uniform(lhs), -0.0 if dtype.is_float else 0
    ):
        negated = rhs
    if negated is None or negated.type != op.result.type:
        return None
    return (rewriter.emit(Unary(UnaryFunction.NEG), negated),)


@rule("--x = x, not not x = x", Unary)
def double_negation(op: Op, rewriter: Rewriter) -> Replacement:
    kind = kind_of(op, Unary)
    if kind.function not in (UnaryFunction.NEG, UnaryFunction.NOT):
        return None
    inner = rewriter.match(op.inputs[0], Unary)
    return same_type(op, inner[1].inputs[0]) if inner is not None and inner[0] == kind else None


@rule("|-x| = |x|", Unary)
def absolute_of_negation(op: Op, rewriter: Rewriter) -> Replacement:
    kind = kind_of(op, Unary)
    if kind.function is not UnaryFunction.ABS:
        return None
    inner = rewriter.match(op.inputs[0], Unary)
    if inner is None or inner[0].function is not UnaryFunction.NEG:
        return None
    return (rewriter.emit(kind, inner[1].inputs[0]),)


@rule("f(f(x)) = f(x) for idempotent f", Unary, Clamp)
def idempotence(op: Op, rewriter: Rewriter) -> Replacement:
    (x,) = op.inputs
    producer = rewriter.producer(x)
    if producer is None or Trait.IDEMPOTENT not in op.kind.traits:
        return None
    return same_type(op, x) if kind_key(producer.kind) == kind_key(op.kind) else None


@rule("(x op a) op b = x op (a op b) for integers: add, mul, and, or, xor", Binary)
def merge_integer_constants(op: Op, rewriter: Rewriter) -> Replacement:
    dtype = op.result.type.dtype
    if not dtype.is_integer or dtype not in _NUMBERS:
        return None
    return _merged_constants(op, rewriter, _MERGED_WHEN_INTEGER)


@rule("(x op a) op b = x op (a op b) for floats, reassociating: add, mul", Binary)
def reassociate_floats(op: Op, rewriter: Rewriter) -> Replacement:
    if not op.result.type.dtype.is_float:
        return None
    return _merged_constants(op, rewriter, (BinaryFunction.ADD, BinaryFunction.MUL))


def _merged_constants(
    op: Op, rewriter: Rewriter, functions: tuple[BinaryFunction, ...]
) -> Replacement:
    kind = kind_of(op, Binary)
    outer = rewriter.constant_array(op.inputs[1])
    if kind.function not in functions or outer is None:
        return None
    inner = rewriter.match(op.inputs[0], Binary)
    if inner is None or inner[0] != kind:
        return None
    x, inner_constant = inner[1].inputs
    constant = rewriter.constant_array(inner_constant)
    if constant is None or rewriter.constant_array(x) is not None:
        return None
    (merged,) = kind.evaluate((constant, outer))
    result = rewriter.emit(kind, x, rewriter.constant(merged))
    return same_type(op, result)


@rule("min(x, c) = clamp(x, high c), max(x, c) = clamp(x, low c)", Binary)
def extreme_with_constant(op: Op, rewriter: Rewriter) -> Replacement:
    function = kind_of(op, Binary).function
    if function not in (BinaryFunction.MIN, BinaryFunction.MAX):
        return None
    x, bound = op.inputs
    element = rewriter.uniform(bound)
    if element is None or x.type != op.result.type or np.isnan(element.astype(np.float64)):
        return None
    if x.type.dtype.is_integer and abs(int(element)) > _MAX_EXACT_INTEGER:
        return None
    value = float(element)
    low = function is BinaryFunction.MAX
    return (rewriter.emit(Clamp(low=value) if low else Clamp(high=value), x),)


@rule("clamp(x, -inf, inf) = x", Clamp)
def clamp_by_nothing(op: Op, rewriter: Rewriter) -> Replacement:
    kind = kind_of(op, Clamp)
    unbounded = kind.low == -math.inf and kind.high == math.inf
    return same_type(op, op.inputs[0]) if unbounded else None


@rule("clamp(clamp(x, a, b), c, d) = clamp(x, clamp(a, c, d), clamp(b, c, d))", Clamp)
def merge_clamps(op: Op, rewriter: Rewriter) -> Replacement:
    """Bounds must be ordered and lie in the integer type, whose conversion would wrap them."""
    outer = kind_of(op, Clamp)
    found = rewriter.match(op.inputs[0], Clamp)
    if found is None:
        return None
    inner, producer = found
    bounds = (inner.low, inner.high, outer.low, outer.high)
    if not (inner.low <= inner.high and outer.low <= outer.high):
        return None
    if not all(_is_plain_bound(bound, op.result.type.dtype) for bound in bounds):
        return None
    low = min(max(inner.low, outer.low), outer.high)
    high = max(min(inner.high, outer.high), outer.low)
    return (rewriter.emit(Clamp(low, high), producer.inputs[0]),)


def _is_plain_bound(bound: float, dtype: DType) -> bool:
    if math.isinf(bound) or dtype.is_float:
        # Zeros of two signs compare equal, and which of them a chain gives is not worth a law.
        return not (bound == 0 and math.copysign(1, bound) < 0)
    limit = 1 << (dtype.bits - 1)
    low, high = (-limit, limit - 1) if dtype.is_signed_integer else (0, 2 * limit - 1)
    return low <= bound <= min(high, _MAX_EXACT_INTEGER)


RULES: tuple[Rule, ...] = (
    drop_neutral_operand,
    constant_to_the_right,
    product_with_minus_one,
    subtraction_of_constant,
    division_by_power_of_two,
    double_negation,
    absolute_of_negation,
    idempotence,
    merge_integer_constants,
    extreme_with_constant,
    clamp_by_nothing,
    merge_clamps,
)
