"""Rewriting keeps what it does not change, and expansions equal the instructions bit for bit."""

import numpy as np
import pytest

from lepton_cc.codegen.kernel.expr import (
    Binary,
    BinaryOp,
    Const,
    Expr,
    Load,
    Unary,
    UnaryOp,
    Var,
    index,
    load,
)
from lepton_cc.codegen.kernel.ir import For, If, Kernel, Let, Store, walk
from lepton_cc.codegen.kernel.legalize import expand, legalize
from lepton_cc.codegen.kernel.math.rounding import rounded, square_root_of
from lepton_cc.codegen.kernel.rewrite import Rewriter, rewrite
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.dtype import DType
from tests.codegen.kernel.expression_evaluator import Value, evaluate

ROUNDINGS = {
    UnaryOp.FLOOR: np.floor,
    UnaryOp.CEIL: np.ceil,
    UnaryOp.TRUNC: np.trunc,
    UnaryOp.ROUND_EVEN: np.rint,
}
FLOATS = (DType.F32, DType.F64)


def _values(dtype: DType) -> Value:
    rng = np.random.default_rng(9)
    word = np.uint32 if dtype is DType.F32 else np.uint64
    mantissa = np.finfo(dtype.numpy).nmant
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 2.0**mantissa, 2.0 ** (mantissa - 1) + 0.5]
    parts = [
        rng.integers(0, np.iinfo(word).max, 200_000, dtype=word).view(dtype.numpy),
        rng.integers(-1000, 1000, 5000) * 0.5,
        rng.integers(0, 2000, 2000) ** 2,
        np.nextafter(np.arange(2000).astype(dtype.numpy) ** 2, np.asarray(0, dtype.numpy)),
        np.array(edges),
    ]
    return np.concatenate([part.astype(dtype.numpy) for part in parts])


def _assert_same_bits(result: Value, expected: Value, values: Value) -> None:
    word = np.dtype(f"u{values.itemsize}")
    same = (result.view(word) == expected.view(word)) | (np.isnan(result) & np.isnan(expected))
    assert same.all(), values[~same][:4]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("op", ROUNDINGS, ids=lambda op: op.value)
def test_roundings_are_exact(op: UnaryOp, dtype: DType) -> None:
    values, x = _values(dtype), Var(dtype, "x")
    with np.errstate(invalid="ignore"):
        expected = ROUNDINGS[op](values)
    _assert_same_bits(evaluate(rounded(op, x), {x: values}), expected, values)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_square_roots_are_correctly_rounded(dtype: DType) -> None:
    values, x = _values(dtype), Var(dtype, "x")
    with np.errstate(invalid="ignore"):
        expected = np.sqrt(values)
    _assert_same_bits(evaluate(square_root_of(x), {x: values}), expected, values)


def _kernel() -> Kernel:
    x, y = Buffer("x", DType.F32, 8), Buffer("y", DType.F32, 8, written=True)
    i, root = Var(INDEX, "i"), Var(DType.F32, "root")
    down = Unary(DType.F32, UnaryOp.FLOOR, root)
    body = (
        For(i, index(0), index(8), (
            Let(root, Unary(DType.F32, UnaryOp.SQRT, load(x, i))),
            If(root > 1.0, (Store(y, i, down + down),), (Store(y, i, root),)),
        )),
    )  # fmt: skip
    return Kernel("k", (x, y), (), body)


def _unary_ops(kernel: Kernel) -> set[UnaryOp]:
    found: set[UnaryOp] = set()

    def note(expr: Expr) -> Expr:
        if isinstance(expr, Unary):
            found.add(expr.op)
        return expr

    rewrite(kernel, note)
    return found


def test_each_target_gets_what_it_executes() -> None:
    kernel = _kernel()
    assert legalize(kernel, load_target("x86-64-v3")) is kernel
    assert _unary_ops(legalize(kernel, load_target("x86-64"))) == {UnaryOp.SQRT}
    assert not _unary_ops(legalize(kernel, load_target("rv32imc"))) & {UnaryOp.SQRT, *ROUNDINGS}


def test_expansion_keeps_sharing() -> None:
    kernel = expand(_kernel(), roundings=True, square_roots=False)
    (total,) = [
        statement.value
        for statement in walk(kernel.body)
        if isinstance(statement, Store) and isinstance(statement.value, Binary)
    ]
    assert total.lhs is total.rhs


def test_rewriting_nothing_returns_the_same_kernel() -> None:
    kernel = _kernel()
    assert rewrite(kernel, lambda expr: expr) is kernel


def test_rewriting_reaches_indices_and_deep_expressions() -> None:
    buffer, start = Buffer("x", DType.F32, 8), Var(INDEX, "i")
    deep: Expr = load(buffer, start)
    for _ in range(5000):
        deep = Binary(DType.F32, BinaryOp.ADD, deep, deep)
    rewriter = Rewriter(lambda expr: index(3) if expr is start else expr)
    new = rewriter.expression(deep)
    while isinstance(new, Binary):
        assert new.lhs is new.rhs
        new = new.lhs
    assert isinstance(new, Load)
    assert isinstance(new.index, Const)
