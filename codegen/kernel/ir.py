"""The kernel IR: what one kernel does, as loops over flat buffers. Both emitters print it.

    kernel    = Kernel(name, parameters, locals, body, matrices)
    statement = For(var, begin, end, body, kind) | Store(buffer, index, value)
              | Let(var, value) | If(condition, then, otherwise)
              | MatrixLoad(matrix, buffer, index, stride) | MatrixDot(total, lhs, rhs)
              | MatrixStore(matrix, buffer, index, stride) | Prefetch(buffer, index)
    expr      = Const | Var | Load(buffer, index) | Unary | Binary | Compare | Select
              | Cast | Bitcast | MulAdd | LoadWord | PackedWord | Dot
              | RoundedProduct | RoundedQuotient | QuantizedSum   (until `legalize` expands them)
              | Saturate                                (which `legalize` makes)

Meaning:
- Buffers are flat arrays of one element type; `Load` and `Store` take an element index. Loads of a
  statement happen before its store. A buffer in REGISTERS is local to the kernel, tiny, and only
  indexed by constants, unrolled loop variables and the lane variable of a vector loop. One in STACK
  is local as well, and indexed by anything.
- Loop bounds are half open, steps are 1. SERIAL runs in order; UNROLL is the same, repeated in
  place (its bounds are constants); VECTOR says that all iterations may run at once, one in each
  lane (bounds constant, extent = lanes); PARALLEL says that ranges of iterations may run at
  the same time on several threads, each with all serial loops around (`parallel.py`).
- Integer arithmetic wraps. Division and remainder of integers truncate toward zero and their
  divisor is not zero (lowerings guard it). Shifts are by less than the width.
- `INDEX` is the target's address-sized signed integer: index arithmetic never overflows it.
- Float arithmetic is IEEE 754, round to nearest even, never contracted or reordered; `MulAdd` is
  fused where the target has the instruction and two roundings elsewhere.
- `RoundedProduct` is the requantization of docs/numerics.md, `RoundedQuotient` its quantization,
  `QuantizedSum` its addition, and its multiplication, whose product is scaled and added to the zero
  point. `LoadWord` reads neighbouring small integers as one i32, little endian, `PackedWord` makes
  one of single bytes; `Dot` multiplies the small integers of two such words pairwise and adds all
  products to an i32.
- A matrix is a register of rows of 32-bit words. `MatrixLoad` fills it with rows that start
  `stride` elements apart (0: the same row again), `MatrixStore` writes its words as i32.
  `MatrixDot` adds to word (i, j) of a sum, for all k, the products of the four u8 of lhs's word
  (i, k) with the four i8 of rhs's word (k, j), wrapping.
- `Saturate` adds a constant to an i32, without wrapping, and gives the nearest i8 or u8.
- `Prefetch` says that what lies at an index, perhaps beyond the buffer, may be read soon.
- `Cast` from float to integer truncates; values that do not fit give an arbitrary value (lowerings
  clamp first). BOOL is one byte, 0 or 1, in buffers.

Expressions are compared by identity: one object is evaluated once in a statement.
"""

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from lepton_cc.ir.dtype import DType


class IndexType(enum.Enum):
    """The one type that is not an element type: addresses and loop variables."""

    INDEX = "index"


INDEX = IndexType.INDEX
ScalarType = DType | IndexType


def is_float(type_: ScalarType) -> bool:
    """True for float element types."""
    return isinstance(type_, DType) and type_.is_float


def is_unsigned(type_: ScalarType) -> bool:
    """True for unsigned integers and bool."""
    return isinstance(type_, DType) and (type_.is_unsigned_integer or type_ is DType.BOOL)


class Space(enum.Enum):
    """Where a buffer lives."""

    MEMORY = "memory"  # a parameter: arena, input, output or constants
    REGISTERS = "registers"  # a local array that the emitter keeps in registers or on the stack
    STACK = "stack"  # a local array in memory


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A flat array of `size` elements; `written` marks parameters that the kernel stores to."""

    name: str
    dtype: DType
    size: int
    space: Space = Space.MEMORY
    written: bool = False


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


@dataclass(frozen=True, slots=True, eq=False)
class RoundedProduct(Expr):
    """clamp(low, high, RNE(f32(f32(value) * scale))), i32; scale is f32 and positive,
    value i32, or i64 of fewer than 48 bits.

    The bounds are of at most 21 bits, or +-2^21. `bound`: no product is proved to be larger.
    """

    value: Expr
    scale: Expr
    low: int
    high: int
    bound: float = math.inf

    def operands(self) -> tuple[Expr, ...]:
        return (self.value, self.scale)


# Far outside every range that is quantized to, and exact as a float and as an i32.
FAR_QUOTIENT = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class RoundedQuotient(Expr):
    """clamp(low, high, RNE(f32(value / divisor))) as i32, 0 for NaN.

    value is f32, the divisor a binary32 number from 2^-60 to 2^60. low <= 0 <= high, both at most
    FAR_QUOTIENT in magnitude.
    """

    value: Expr
    divisor: float
    low: int = -FAR_QUOTIENT
    high: int = FAR_QUOTIENT

    def operands(self) -> tuple[Expr, ...]:
        return (self.value,)


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedSum(Expr):
    """clamp(low, high, RNE(fma(f32(lhs), lhs_scale, fma(f32(rhs), rhs_scale, offset)))), i32.

    lhs and rhs are i32 of at most `magnitude`; the scales and the offset are binary32 numbers. The
    bounds are of at most 17 bits.
    """

    lhs: Expr
    rhs: Expr
    magnitude: int
    lhs_scale: float
    rhs_scale: float
    offset: float
    low: int
    high: int

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs)


@dataclass(frozen=True, slots=True, eq=False)
class Saturate(Expr):
    """The number of the type, i8 or u8, that is nearest to operand + addend; operand is i32."""

    operand: Expr
    addend: int

    def operands(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False)
class LoadWord(Expr):
    """The four bytes of a small-integer buffer from element `index` on, as an i32."""

    buffer: Buffer
    index: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.index,)


@dataclass(frozen=True, slots=True, eq=False)
class PackedWord(Expr):
    """Four bytes, u8 or i8, as an i32, the first lowest."""

    elements: tuple[Expr, ...]

    def operands(self) -> tuple[Expr, ...]:
        return self.elements


class DotShape(enum.Enum):
    """What the words of a Dot hold."""

    QUADS = "u8 by i8"  # lhs: four u8, rhs: four i8
    PAIRS = "i16 by i16"  # two i16 each


@dataclass(frozen=True, slots=True, eq=False)
class Dot(Expr):
    """addend + the sum of the products of the small integers in two words, i32, wrapping."""

    shape: DotShape
    lhs: Expr
    rhs: Expr
    addend: Expr

    def operands(self) -> tuple[Expr, ...]:
        return (self.lhs, self.rhs, self.addend)


class LoopKind(enum.Enum):
    """How the iterations of a loop may run; see the module's text."""

    SERIAL = "serial"
    UNROLL = "unroll"
    VECTOR = "vector"
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True, eq=False)
class Stmt:
    """Base of all statements."""


Block = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class For(Stmt):
    """for var in [begin, end): body."""

    var: Var
    begin: Expr
    end: Expr
    body: Block
    kind: LoopKind = LoopKind.SERIAL

    @property
    def constant_extent(self) -> int | None:
        """Number of iterations if both bounds are constants."""
        if isinstance(self.begin, Const) and isinstance(self.end, Const):
            return int(self.end.value) - int(self.begin.value)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Store(Stmt):
    """buffer[index] = value."""

    buffer: Buffer
    index: Expr
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Let(Stmt):
    """var = value, for the rest of the block."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class If(Stmt):
    """if condition: then else: otherwise; the condition is the same in all lanes."""

    condition: Expr
    then: Block
    otherwise: Block = ()


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A register of `rows` rows of `words` 32-bit words; it holds anything at first."""

    name: str
    rows: int
    words: int


@dataclass(frozen=True, slots=True, eq=False)
class MatrixLoad(Stmt):
    """Row i of the matrix = the bytes from buffer[index + i * stride] on."""

    matrix: Matrix
    buffer: Buffer
    index: Expr
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class MatrixDot(Stmt):
    """total += lhs times rhs, words of four u8 by words of four i8."""

    total: Matrix
    lhs: Matrix
    rhs: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class MatrixStore(Stmt):
    """The words from buffer[index + i * stride] on = row i of the matrix; buffer is of i32."""

    matrix: Matrix
    buffer: Buffer
    index: Expr
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Prefetch(Stmt):
    """A hint that changes nothing but time: buffer[index] will be read."""

    buffer: Buffer
    index: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """One function: parameters in order, local buffers, what it does, the matrices that it needs.

    If there are PARALLEL loops in it, all have the same number of iterations and everything is
    stored within one; callers may run disjoint ranges of all of them on several threads.
    """

    name: str
    parameters: tuple[Buffer, ...]
    locals: tuple[Buffer, ...]
    body: Block
    matrices: tuple[Matrix, ...] = ()


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


def walk(block: Block) -> Iterator[Stmt]:
    """Every statement of a block, outer before inner."""
    for statement in block:
        yield statement
        if isinstance(statement, For):
            yield from walk(statement.body)
        elif isinstance(statement, If):
            yield from walk(statement.then)
            yield from walk(statement.otherwise)


def expressions(statement: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement itself holds, not those of statements inside it."""
    match statement:
        case For(_, begin, end):
            return (begin, end)
        case Store(_, at, value):
            return (at, value)
        case Let(_, value):
            return (value,)
        case If(condition):
            return (condition,)
        case MatrixLoad(_, _, at) | MatrixStore(_, _, at) | Prefetch(_, at):
            return (at,)
    return ()
