"""Sources: how a kernel reads an operand, element by element ("pull" lowering).

A source answers "what is the element at this index?" with an expression. A buffer answers with a
load; a pointwise or movement op answers with its operands' elements at computed indices. Chains
of such ops therefore fuse by composition, without any buffer between them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Binary, BinaryOp, Const, Expr, index, load
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.representation import compute_type, from_storage
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

Index = tuple[Expr, ...]


def linearize(at: Index, dims: Sequence[int]) -> Expr:
    """The row-major element number of an index."""
    total: Expr = index(0)
    for position, dim in zip(at, dims, strict=True):
        joined = _joined(total, position, dim)
        total = total * dim + (index(0) if dim == 1 else position) if joined is None else joined
    return total


def _joined(quotient: Expr, rest: Expr, divisor: int) -> Expr | None:
    """x if quotient = x // divisor and rest = x % divisor, as `delinearize` makes them."""
    if not isinstance(quotient, Binary) or not isinstance(rest, Binary):
        return None
    parts = ((quotient, BinaryOp.DIV), (rest, BinaryOp.REM))
    fits = all(
        part.op is op and isinstance(part.rhs, Const) and part.rhs.value == divisor
        for part, op in parts
    )
    return rest.lhs if fits and quotient.lhs is rest.lhs else None


def delinearize(number: Expr, dims: Sequence[int]) -> Index:
    """The index of a row-major element number."""
    at: list[Expr] = []
    remaining = 1
    for axis, dim in reversed(list(enumerate(dims))):
        if dim == 1:
            at.append(index(0))
            continue
        quotient = number // remaining
        outermost = all(d == 1 for d in dims[:axis])
        at.append(quotient if outermost else quotient % dim)
        remaining *= dim
    return tuple(reversed(at))


def reshaped(at: Index, dims: Sequence[int], into: Sequence[int]) -> Index:
    """The index in shape `into` of the element at an index in shape `dims`.

    Dimensions that both shapes have keep their positions, without arithmetic.
    """
    result: list[Expr] = []
    first, begin = 0, 0
    last, end = 0, 0
    before, after = 1, 1
    while last < len(dims) or end < len(into):
        if last < len(dims) and (before <= after or end == len(into)):
            before, last = before * dims[last], last + 1
        else:
            after, end = after * into[end], end + 1
        if before == after and last > first and end > begin:
            number = linearize(at[first:last], dims[first:last])
            result += delinearize(number, into[begin:end])
            first, begin, before, after = last, end, 1, 1
    return (*result, *(index(0) for _ in into[len(result) :]))


@dataclass(frozen=True, slots=True)
class Source:
    """An operand as a kernel sees it: its type, and its element at an index.

    `at` takes one index for each dimension; `linear` a row-major element number, and is None if
    there is no shorter way than delinearizing. Values have the compute type of the dtype. `content`
    is that of a constant; no value is larger than `magnitude`.
    """

    type: TensorType
    at: Callable[[Index], Expr]
    linear: Callable[[Expr], Expr] | None = None
    content: Array | None = None
    magnitude: float = math.inf

    def at_linear(self, number: Expr) -> Expr:
        """The element with a row-major number; a single element answers to any number."""
        if self.type.num_elements == 1:
            return self.at(tuple(index(0) for _ in self.type.shape))
        if self.linear is not None:
            return self.linear(number)
        return self.at(delinearize(number, self.type.dims))

    def broadcast_at(self, at: Index) -> Expr:
        """The element at an index of a shape that this operand broadcasts to."""
        own = at[len(at) - self.type.rank :]
        aligned = zip(own, self.type.dims, strict=True)
        return self.at(tuple(index(0) if dim == 1 else i for i, dim in aligned))


def buffer_source(
    type_: TensorType, buffer: Callable[[], Buffer], content: Array | None = None
) -> Source:
    """An operand in memory; the buffer becomes a parameter when it is first read."""

    def linear(number: Expr) -> Expr:
        return from_storage(load(buffer(), number), type_.dtype)

    return Source(type_, lambda at: linear(linearize(at, type_.dims)), linear, content)


def scalar_source(type_: TensorType, array: Array) -> Source:
    """A constant of one element, as a literal."""
    value = array.reshape(-1)[0]
    number = float(value) if type_.dtype.is_float else int(value)
    literal = Const(compute_type(type_.dtype), number)
    return Source(type_, lambda at: literal, lambda number: literal)
