"""The parallel loops of a kernel: how much there is to hand out, and the kernel over a range of it.

Both emitters give a kernel with parallel loops two more parameters, the range that is to run.
Serial loops around parallel ones run whole for every range: so blocks of weights can be the outer
loop, in the order that caches like, and rows of results be what threads share out.
"""

from collections.abc import Iterator

from lepton_cc.codegen.kernel.expr import Const, Expr
from lepton_cc.codegen.kernel.ir import Block, For, If, Kernel, LoopKind, Stmt
from lepton_cc.ir.diagnostics import InternalError


def parallel_extent(kernel: Kernel) -> int | None:
    """How many iterations callers may hand out in ranges [begin, end); None if it is not cut.

    Raises:
        InternalError: the kernel's parallel loops are not the same range from 0 on, or one is
            within another.
    """
    extents = set(_extents(kernel.body, kernel))
    if not extents:
        return None
    if len(extents) > 1:
        raise InternalError(f"{kernel.name} has parallel loops of {sorted(extents)} iterations")
    return extents.pop()


def over_range(kernel: Kernel, begin: Expr, end: Expr) -> Block:
    """The kernel's statements with its parallel loops running from `begin` to `end` in order."""
    return _ranged(kernel.body, begin, end)


def _extents(block: Block, kernel: Kernel) -> Iterator[int]:
    for statement in block:
        match statement:
            case For(kind=LoopKind.PARALLEL, begin=Const(value=0), end=Const(value=count)):
                if any(True for _ in _extents(statement.body, kernel)):
                    raise InternalError(f"{kernel.name} has a parallel loop within another")
                yield int(count)
            case For(kind=LoopKind.PARALLEL):
                raise InternalError(f"{kernel.name} has a parallel loop that starts behind 0")
            case For(body=body):
                yield from _extents(body, kernel)
            case If(then=then, otherwise=otherwise):
                yield from _extents(then, kernel)
                yield from _extents(otherwise, kernel)


def _ranged(block: Block, begin: Expr, end: Expr) -> Block:
    return tuple(_ranged_statement(statement, begin, end) for statement in block)


def _ranged_statement(statement: Stmt, begin: Expr, end: Expr) -> Stmt:
    match statement:
        case For(var, kind=LoopKind.PARALLEL, body=body):
            return For(var, begin, end, body)
        case For(var, first, last, body, kind):
            return For(var, first, last, _ranged(body, begin, end), kind)
        case If(condition, then, otherwise):
            return If(condition, _ranged(then, begin, end), _ranged(otherwise, begin, end))
        case _:
            return statement
