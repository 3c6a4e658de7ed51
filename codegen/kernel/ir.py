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

Expressions are compared by identity: one object is evaluated once in a statement. They are in
`expr` and `integer_expr`, buffers and element types in `types`, statements and kernels here.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr, Var
from lepton_cc.codegen.kernel.types import Buffer


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
