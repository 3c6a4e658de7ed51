"""The functions of `Unary` and `Binary`: names, the element types each accepts, their algebra."""

import enum

from lepton_cc.ir.dtype import DType


class UnaryFunction(enum.Enum):
    """Functions of one element; the value is the mnemonic."""

    ABS = "abs"
    NEG = "neg"
    SIGN = "sign"
    CEIL = "ceil"
    FLOOR = "floor"
    ROUND = "round"  # half to even
    TRUNC = "trunc"
    RECIPROCAL = "reciprocal"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    EXP = "exp"
    LOG = "log"
    LOG1P = "log1p"
    SIN = "sin"
    COS = "cos"
    TAN = "tan"
    ASIN = "asin"
    ACOS = "acos"
    ATAN = "atan"
    SINH = "sinh"
    COSH = "cosh"
    TANH = "tanh"
    ASINH = "asinh"
    ACOSH = "acosh"
    ATANH = "atanh"
    ERF = "erf"
    SIGMOID = "sigmoid"
    GELU = "gelu"  # 0.5 x (1 + erf(x / sqrt 2))
    IS_NAN = "is_nan"
    IS_INF_POSITIVE = "is_inf_positive"
    IS_INF_NEGATIVE = "is_inf_negative"
    NOT = "not"  # logical for bool, bitwise for integers


class BinaryFunction(enum.Enum):
    """Functions of two elements; the value is the mnemonic."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MOD = "mod"  # sign of the divisor (Python's %)
    FMOD = "fmod"  # sign of the dividend (C's fmod)
    POW = "pow"
    MIN = "min"  # NaN if either is NaN
    MAX = "max"  # NaN if either is NaN
    AND = "and"  # logical for bool, bitwise for integers
    OR = "or"
    XOR = "xor"
    SHIFT_LEFT = "shift_left"
    SHIFT_RIGHT = "shift_right"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    LESS = "less"
    LESS_EQUAL = "less_equal"
    GREATER = "greater"
    GREATER_EQUAL = "greater_equal"


PointwiseFunction = UnaryFunction | BinaryFunction

BOOL_RESULT: frozenset[PointwiseFunction] = frozenset(
    {
        UnaryFunction.IS_NAN,
        UnaryFunction.IS_INF_POSITIVE,
        UnaryFunction.IS_INF_NEGATIVE,
        BinaryFunction.EQUAL,
        BinaryFunction.NOT_EQUAL,
        BinaryFunction.LESS,
        BinaryFunction.LESS_EQUAL,
        BinaryFunction.GREATER,
        BinaryFunction.GREATER_EQUAL,
    }
)
COMMUTATIVE_FUNCTIONS: frozenset[BinaryFunction] = frozenset(
    {
        BinaryFunction.ADD,
        BinaryFunction.MUL,
        BinaryFunction.MIN,
        BinaryFunction.MAX,
        BinaryFunction.AND,
        BinaryFunction.OR,
        BinaryFunction.XOR,
        BinaryFunction.EQUAL,
        BinaryFunction.NOT_EQUAL,
    }
)
IDEMPOTENT_FUNCTIONS: frozenset[UnaryFunction] = frozenset(
    {
        UnaryFunction.ABS,
        UnaryFunction.SIGN,
        UnaryFunction.CEIL,
        UnaryFunction.FLOOR,
        UnaryFunction.ROUND,
        UnaryFunction.TRUNC,
    }
)
_ANY_NUMBER: frozenset[PointwiseFunction] = frozenset(
    {
        UnaryFunction.ABS,
        UnaryFunction.NEG,
        UnaryFunction.SIGN,
        BinaryFunction.ADD,
        BinaryFunction.SUB,
        BinaryFunction.MUL,
        BinaryFunction.DIV,
        BinaryFunction.MOD,
        BinaryFunction.FMOD,
        BinaryFunction.POW,
        BinaryFunction.MIN,
        BinaryFunction.MAX,
        BinaryFunction.LESS,
        BinaryFunction.LESS_EQUAL,
        BinaryFunction.GREATER,
        BinaryFunction.GREATER_EQUAL,
    }
)
_ANYTHING = frozenset({BinaryFunction.EQUAL, BinaryFunction.NOT_EQUAL})
_BITS: frozenset[PointwiseFunction] = frozenset(
    {UnaryFunction.NOT, BinaryFunction.AND, BinaryFunction.OR, BinaryFunction.XOR}
)
_SHIFTS = frozenset({BinaryFunction.SHIFT_LEFT, BinaryFunction.SHIFT_RIGHT})


def accepts(function: PointwiseFunction, dtype: DType) -> bool:
    """True if the function is defined for the element type."""
    if function in _ANYTHING:
        return True
    if function in _ANY_NUMBER:
        return dtype is not DType.BOOL
    if function in _BITS:
        return dtype is DType.BOOL or dtype.is_integer
    if function in _SHIFTS:
        return dtype.is_integer and dtype.bits >= 8
    return dtype.is_float
