"""Positions of elements under reshapes: what sources compute equals what NumPy says."""

import itertools
import operator
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from lepton_cc.codegen.kernel.expr import Binary, BinaryOp, Const, Expr, Var
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.source import delinearize, linearize, reshaped
from lepton_cc.codegen.lower.subbyte import split

ARITHMETIC: Mapping[BinaryOp, Callable[[int, int], int]] = {
    BinaryOp.ADD: operator.add,
    BinaryOp.MUL: operator.mul,
    BinaryOp.DIV: operator.floordiv,
    BinaryOp.REM: operator.mod,
}
SHAPES = (
    ((4, 3, 5), (12, 5)),
    ((12, 5), (4, 3, 5)),
    ((6, 4), (4, 6)),
    ((1, 6, 1), (2, 3)),
    ((2, 3), (1, 6, 1)),
    ((2, 1, 3, 4), (2, 12, 1, 1)),
    ((5,), (1, 1, 5)),
    ((2, 6, 7), (2, 2, 3, 7)),
)


def evaluate(expr: Expr, variables: Mapping[Expr, int]) -> int:
    """The value of an index expression."""
    if isinstance(expr, Const):
        return int(expr.value)
    if isinstance(expr, Binary):
        lhs, rhs = evaluate(expr.lhs, variables), evaluate(expr.rhs, variables)
        return ARITHMETIC[expr.op](lhs, rhs)
    return variables[expr]


@pytest.mark.parametrize(("dims", "into"), SHAPES)
def test_reshaped_index_is_that_of_the_same_element(
    dims: tuple[int, ...], into: tuple[int, ...]
) -> None:
    at = tuple(Var(INDEX, f"i{axis}") for axis in range(len(dims)))
    result = reshaped(at, dims, into)
    for number, position in enumerate(itertools.product(*map(range, dims))):
        variables: dict[Expr, int] = dict(zip(at, position, strict=True))
        place = tuple(evaluate(expr, variables) for expr in result)
        assert all(0 <= p < dim for p, dim in zip(place, into, strict=True))
        assert np.ravel_multi_index(place, into) == number


def test_common_dimensions_need_no_arithmetic() -> None:
    x, y = Var(INDEX, "x"), Var(INDEX, "y")
    assert reshaped((x, y), (12, 5), (4, 3, 5))[2] is y
    assert reshaped((x, y), (12, 5), (1, 12, 5))[1:] == (x, y)


def test_a_split_number_is_joined_again() -> None:
    x, y = Var(INDEX, "x"), Var(INDEX, "y")
    assert linearize(delinearize(x, (4, 8)), (4, 8)) is x
    apart = linearize((x // 8, y % 8), (4, 8))
    assert evaluate(apart, {x: 17, y: 3}) == 19


def test_split_knows_the_remainder_where_the_form_tells_it() -> None:
    x, y = Var(INDEX, "x"), Var(INDEX, "y")
    forms: tuple[tuple[Expr, int | None], ...] = (
        (x * 2 + 1, 1),
        ((x * 6 + (y * 2 + 1)) * 3 + 2, 1),
        ((x * 3 + y) * 4 + 2, 0),
        (Const(INDEX, 7), 1),
        (x * 3, None),
        (x + 1, None),
    )
    for expr, rest in forms:
        place = split(expr, 2)[1]
        assert (int(place.value) if isinstance(place, Const) else None) == rest
        for a, b in itertools.product(range(5), repeat=2):
            row, at = (evaluate(part, {x: a, y: b}) for part in split(expr, 2))
            assert 2 * row + at == evaluate(expr, {x: a, y: b})
