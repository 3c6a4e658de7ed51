"""Parallel loops: what may be handed out, and that ranges together do what the whole does."""

import pytest

from lepton_cc.codegen.kernel.expr import Const, Var, index
from lepton_cc.codegen.kernel.ir import Block, For, If, Kernel, LoopKind, Store
from lepton_cc.codegen.kernel.parallel import over_range, parallel_extent
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType

RESULT = Buffer("y", DType.I32, 64, written=True)


def rows(count: int, offset: int = 0, begin: int = 0) -> For:
    row = Var(INDEX, f"row{offset}")
    store = Store(RESULT, row + offset, Const(DType.I32, 1))
    return For(row, index(begin), index(count), (store,), LoopKind.PARALLEL)


def kernel(*body: For | If) -> Kernel:
    return Kernel("case", (RESULT,), (), body)


def columns(body: Block) -> For:
    return For(Var(INDEX, "column"), index(0), index(3), body)


def bounds(loop: For) -> tuple[object, object]:
    assert isinstance(loop.begin, Const)
    assert isinstance(loop.end, Const)
    return loop.begin.value, loop.end.value


def test_a_serial_kernel_is_not_cut() -> None:
    assert parallel_extent(kernel(columns(()))) is None


def test_the_outermost_loop_takes_the_range() -> None:
    whole = kernel(rows(8))
    assert parallel_extent(whole) == 8
    (loop,) = over_range(whole, index(2), index(5))
    assert isinstance(loop, For)
    assert (loop.kind, bounds(loop)) == (LoopKind.SERIAL, (2, 5))
    assert loop.body is whole.body[0].body  # type: ignore[attr-defined]


def test_every_parallel_loop_within_serial_ones_takes_the_range() -> None:
    condition = Const(DType.BOOL, 1)
    whole = kernel(columns((rows(8), If(condition, (rows(8, 8),), (rows(8, 16),)))))
    assert parallel_extent(whole) == 8
    (outer,) = over_range(whole, index(1), index(8))
    assert isinstance(outer, For)
    assert bounds(outer) == (0, 3)
    first, choice = outer.body
    assert isinstance(choice, If)
    inner = [first, *choice.then, *choice.otherwise]
    assert [bounds(loop) for loop in inner if isinstance(loop, For)] == [(1, 8)] * 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ((rows(8), rows(9, 8)), "parallel loops of"),
        ((rows(8, begin=1),), "starts behind 0"),
        (
            (For(Var(INDEX, "outer"), index(0), index(8), (rows(8),), LoopKind.PARALLEL),),
            "within another",
        ),
    ],
)
def test_kernels_that_cannot_be_cut(body: tuple[For, ...], message: str) -> None:
    with pytest.raises(InternalError, match=message):
        parallel_extent(kernel(*body))
