"""Expressions of the kernel IR, and the functions that build them: `ir` says what they mean."""

import enum
from dataclasses import dataclass
from typing import Union

from lepton_cc.codegen.kernel.types import INDEX, Buffer, ScalarType, is_float
from lepton_cc.ir.dtype import DType


class UnaryOp(enum.Enum):
    """Primitive functions of one operand; everything else is built from them in `kernel.math`."""

    NEG = "neg"
    NOT = "not"
    ABS = "abs"
    SQRT = "sqrt"
    FLOOR = "floor"
    CEIL = "ceil"
    TRUNC = "trunc"
    ROUND_EVEN = "round_even"


class BinaryOp(enum.Enum):
    """Primitive functions of two operands of one type."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    REM = "%"
    AND = "&"
    OR = "|"
    XOR = "^"
    SHL = "<<"
    SHR = ">>"  # arithmetic for signed types


class CompareOp(enum.Enum):
    """Comparisons; of floats all are ordered but NE, which is true for NaN."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


Number = Union[int, float, "Expr"]


@dataclass(frozen=True, slots=True, eq=False)
class Expr:
    """Base of all expressions; Python's operators build them, folding index constants."""

    type: ScalarType

    def __add__(self, other: Number) -> "Expr":
        return binary(BinaryOp.ADD, self, other)

    def __radd__(self, other: Number) -> "Expr":
        return binary(BinaryOp.ADD, literal(other, self.type), self)

    def __sub__(self, other: Number) -> "Expr":
        return binary(BinaryOp.SUB, self, other)

    def __rsub__(self, other: Number) -> "Expr":
        return binary(BinaryOp.SUB, literal(other, self.type), self)

    def __mul__(self, other: Number) -> "Expr":
        return binary(BinaryOp.MUL, self, other)

    def __rmul__(self, other: Number) -> "Expr":
        return binary(BinaryOp.MUL, literal(other, self.type), self)

    def __truediv__(self, other: Number) -> "Expr":
        return binary(BinaryOp.DIV, self, other)

    def __floordiv__(self, other: Number) -> "Expr":
        return binary(BinaryOp.DIV, self, other)

    def __mod__(self, other: Number) -> "Expr":
        return binary(BinaryOp.REM, self, other)

    def __and__(self, other: Number) -> "Expr":
        return binary(BinaryOp.AND, self, other)

    def __or__(self, other: Number) -> "Expr":
        return binary(BinaryOp.OR, self, other)

    def __xor__(self, other: Number) -> "Expr":
        return binary(BinaryOp.XOR, self, other)

    def __lshift__(self, other: Number) -> "Expr":
        return binary(BinaryOp.SHL, self, other)

    def __rshift__(self, other: Number) -> "Expr":
        return binary(BinaryOp.SHR, self, other)

    def __neg__(self) -> "Expr":
        return Unary(self.type, UnaryOp.NEG, self)

    def __invert__(self) -> "Expr":
        return Unary(self.type, UnaryOp.NOT, self)

    def __lt__(self, other: Number) -> "Expr":
        return compare(CompareOp.LT, self, other)

    def __le__(self, other: Number) -> "Expr":
        return compare(CompareOp.LE, self, other)

    def __gt__(self, other: Number) -> "Expr":
        return compare(CompareOp.GT, self, other)

    def __ge__(self, other: Number) -> "Expr":
        return compare(CompareOp.GE, self, other)

    def equals(self, other: Number) -> "Expr":
        """self == other (the operator itself compares identity)."""
        return compare(CompareOp.EQ, self, other)

    def differs(self, other: Number) -> "Expr":
        """self != other; true if either is NaN."""
        return compare(CompareOp.NE, self, other)

    def cast(self, type_: ScalarType) -> "Expr":
        """The value converted to another type; itself if it has that type."""
        if type_ is self.type:
            return self
        if isinstance(self, NarrowingCast):
            return self.operand.cast(type_)
        if isinstance(self, Const) and INDEX in (type_, self.type) and not is_float(type_):
            return Const(type_, self.value)
        return Cast(type_, self)

    def bitcast(self, type_: DType) -> "Expr":
        """The same bits as another type of the same width."""
        return self if type_ is self.type else Bitcast(type_, self)

    def operands(self) -> tuple["Expr", ...]:
        """The expressions that this one is made of."""
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class Const(Expr):
    """A literal; floats are rounded to the type by the emitter."""

    value: int | float


@dataclass(frozen=True, slots=True, eq=False)
class Var(Expr):
    """A loop variable or the target of a Let."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Load(Expr):
    """buffer[index]; the type is the buffer's element type."""

    buffer: Buffer
    index: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.index,)


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Expr):
    """op(operand)."""

    op: UnaryOp
    operand: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expr):
    """lhs op rhs."""

    op: BinaryOp
    lhs: Expr
    rhs: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs)


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Expr):
    """lhs op rhs, BOOL."""

    op: CompareOp
    lhs: Expr
    rhs: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs)


@dataclass(frozen=True, slots=True, eq=False)
class Select(Expr):
    """condition ? on_true : on_false; both sides are evaluated."""

    condition: Expr
    on_true: Expr
    on_false: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.condition, self.on_true, self.on_false)


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Expr):
    """operand converted to the type."""

    operand: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False)
class NarrowingCast(Cast):
    """A cast of an integer that is known to fit: casting on starts from the wide value."""


@dataclass(frozen=True, slots=True, eq=False)
class Bitcast(Expr):
    """operand's bits as the type."""

    operand: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False)
class MulAdd(Expr):
    """lhs * rhs + addend, of floats."""

    lhs: Expr
    rhs: Expr
    addend: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs, self.addend)


def index(value: int) -> Const:
    """An index constant."""
    return Const(INDEX, value)


def literal(value: Number, type_: ScalarType) -> Expr:
    """`value` as an expression of the type (expressions pass through)."""
    return value if isinstance(value, Expr) else Const(type_, value)


def binary(op: BinaryOp, lhs: Expr, rhs: Number) -> Expr:
    """lhs op rhs; index arithmetic on constants is folded."""
    right = literal(rhs, lhs.type)
    if lhs.type is INDEX:
        folded = _fold_index(op, lhs, right)
        if folded is not None:
            return folded
    return Binary(lhs.type, op, lhs, right)


def _fold_index(op: BinaryOp, lhs: Expr, rhs: Expr) -> Expr | None:
    left = int(lhs.value) if isinstance(lhs, Const) else None
    right = int(rhs.value) if isinstance(rhs, Const) else None
    if left is not None and right is not None and (right or op not in (BinaryOp.DIV, BinaryOp.REM)):
        return index(_INDEX_ARITHMETIC[op](left, right))
    if op is BinaryOp.ADD and left == 0:
        return rhs
    if op in (BinaryOp.ADD, BinaryOp.SUB) and right == 0:
        return lhs
    if op is BinaryOp.MUL and 0 in (left, right):
        return index(0)
    if op is BinaryOp.MUL and left == 1:
        return rhs
    if op in (BinaryOp.MUL, BinaryOp.DIV) and right == 1:
        return lhs
    if op is BinaryOp.REM and right == 1:
        return index(0)
    if (
        op is BinaryOp.ADD
        and right is not None
        and isinstance(lhs, Binary)
        and lhs.op is BinaryOp.ADD
        and isinstance(lhs.rhs, Const)
    ):
        return lhs.lhs + int(lhs.rhs.value + right)
    return None


_INDEX_ARITHMETIC = {
    BinaryOp.ADD: lambda x, y: x + y,
    BinaryOp.SUB: lambda x, y: x - y,
    BinaryOp.MUL: lambda x, y: x * y,
    BinaryOp.DIV: lambda x, y: abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1),
    BinaryOp.REM: lambda x, y: abs(x) % abs(y) * (1 if x >= 0 else -1),
    BinaryOp.AND: lambda x, y: x & y,
    BinaryOp.OR: lambda x, y: x | y,
    BinaryOp.XOR: lambda x, y: x ^ y,
    BinaryOp.SHL: lambda x, y: x << y,
    BinaryOp.SHR: lambda x, y: x >> y,
}


def compare(op: CompareOp, lhs: Expr, rhs: Number) -> Expr:
    """lhs op rhs."""
    return Compare(DType.BOOL, op, lhs, literal(rhs, lhs.type))


def select(condition: Expr, on_true: Expr, on_false: Number) -> Expr:
    """condition ? on_true : on_false."""
    return Select(on_true.type, condition, on_true, literal(on_false, on_true.type))


def minimum(lhs: Expr, rhs: Number) -> Expr:
    """The smaller; rhs if lhs is NaN, NaN if rhs is NaN."""
    right = literal(rhs, lhs.type)
    if isinstance(lhs, Const) and isinstance(right, Const):
        return lhs if lhs.value < right.value else right
    return select(lhs < right, lhs, right)


def maximum(lhs: Expr, rhs: Number) -> Expr:
    """The larger; rhs if lhs is NaN, NaN if rhs is NaN."""
    right = literal(rhs, lhs.type)
    if isinstance(lhs, Const) and isinstance(right, Const):
        return lhs if lhs.value > right.value else right
    return select(lhs > right, lhs, right)


def load(buffer: Buffer, at: Expr) -> Expr:
    """buffer[at]."""
    return Load(buffer.dtype, buffer, at)


def mul_add(lhs: Expr, rhs: Expr, addend: Expr) -> Expr:
    """lhs * rhs + addend; integers multiply and add, wrapping."""
    return MulAdd(lhs.type, lhs, rhs, addend) if is_float(lhs.type) else lhs * rhs + addend
