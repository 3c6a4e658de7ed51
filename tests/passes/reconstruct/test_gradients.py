"""Gradients against differences, op by op; the forward step against the interpreter."""

from collections.abc import Callable

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Reshape, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.reconstruct.block import RULES, blocks

_ODD = Window((3, 2), (2, 1), (1, 2), (1, 0), (0, 2))
_CROP = Window((2, 2), (1, 1), (1, 1), (-1, 1), (1, -1))
_POOL = Window((2, 3), (2, 2), (1, 1), (0, 1), (1, 1))
_MAP = (1, 5, 6, 4)
_COUNT = 3

# An op, and the shapes of its operands: those of one dimension less, or named so, are constants.
_CASES: dict[str, tuple[OpKind, tuple[tuple[int, ...], ...]]] = {
    "conv": (Conv(_ODD), (_MAP, (3, 2, 4, 3), (3,))),
    "conv, cropped": (Conv(_CROP), (_MAP, (2, 2, 4, 2))),
    "conv, groups": (Conv(_ODD, 2), (_MAP, (3, 2, 2, 6), (6,))),
    "conv, depthwise": (Conv(_ODD, 4), (_MAP, (3, 2, 1, 4), (4,))),
    "matmul": (MatMul(), ((1, 3, 5), (5, 4), (4,))),
    "average pool": (AveragePool(_POOL), (_MAP,)),
    "average pool, padding counts": (AveragePool(_POOL, count_padding=True), (_MAP,)),
    "max pool": (MaxPool(_POOL), (_MAP,)),
    "clamp": (Clamp(-0.5, 0.7), (_MAP,)),
    "add": (Binary(BinaryFunction.ADD), (_MAP, (4,))),
    "sub": (Binary(BinaryFunction.SUB), (_MAP, (6, 1))),
    "mul": (Binary(BinaryFunction.MUL), (_MAP, (1, 1, 6, 4))),
    "div": (Binary(BinaryFunction.DIV), (_MAP, (4,))),
    "tanh": (Unary(UnaryFunction.TANH), (_MAP,)),
    "sigmoid": (Unary(UnaryFunction.SIGMOID), (_MAP,)),
    "exp": (Unary(UnaryFunction.EXP), (_MAP,)),
    "mean": (Reduce(ReduceFunction.MEAN, (1, 2)), (_MAP,)),
    "sum": (Reduce(ReduceFunction.SUM, (2,), keep_dims=False), (_MAP,)),
    "reshape": (Reshape((1, 10, 12)), (_MAP,)),
    "transpose": (Transpose((0, 3, 1, 2)), (_MAP,)),
}


def _graph(kind: OpKind, shapes: tuple[tuple[int, ...], ...]) -> Graph:
    random = np.random.default_rng(1)
    build = GraphBuilder("case", [])
    x = build.input("x", TensorType(DType.F32, shapes[0]))
    rest = [build.constant((random.normal(size=one) + 2).astype(np.float32)) for one in shapes[1:]]
    return build.finish([build.emit(kind, x, *rest, name="y")], ["y"])


def _difference(function: Callable[[Array], float], at: Array, direction: Array) -> float:
    step = 2e-3
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


def _operands(graph: Graph) -> tuple[Op, list[Array]]:
    """The op, and its operands for several samples."""
    random = np.random.default_rng(2)
    op = graph.producers()[graph.outputs[0]]
    (port,) = graph.inputs
    x = random.normal(size=(_COUNT, *port.type.dims[1:])).astype(np.float32)
    constants = {o.result: o.kind for o in graph.ops if o is not op}
    rest = [constants[value].evaluate([])[0] for value in op.inputs[1:]]
    return op, [x, *rest]


@pytest.mark.parametrize("name", _CASES)
def test_gradients_are_those_of_differences(name: str) -> None:
    graph = _graph(*_CASES[name])
    op, operands = _operands(graph)
    rule = RULES[type(op.kind)]
    assert rule.covers(op)
    y = rule.forward(op, operands)
    for number in range(_COUNT):
        one = interpret(graph, {"x": operands[0][number : number + 1]})["y"]
        np.testing.assert_allclose(y[number : number + 1], one, rtol=1e-5, atol=1e-5)
    random = np.random.default_rng(3)
    dy = random.normal(size=y.shape).astype(np.float32)
    gradients = rule.backward(op, operands, y, dy)
    assert len(gradients) == len(operands)
    for place, gradient in enumerate(gradients):
        assert gradient.shape == operands[place].shape
        direction = random.normal(size=gradient.shape).astype(np.float32)
        # Corners of clamps and pools are stepped over: in one element, or not at all.
        if isinstance(op.kind, Clamp | MaxPool):
            direction *= _away_from_corners(op, operands[0])

        def loss(changed: Array, place: int = place) -> float:
            given = [*operands[:place], changed.astype(np.float32), *operands[place + 1 :]]
            return float(np.sum(rule.forward(op, given) * dy, dtype=np.float64))

        wanted = _difference(loss, operands[place], direction)
        scale = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
        assert float(np.sum(gradient * direction)) == pytest.approx(wanted, abs=2e-3 * scale)


def _away_from_corners(op: Op, x: Array) -> Array:
    if isinstance(op.kind, Clamp):
        near = np.minimum(np.abs(x - op.kind.low), np.abs(x - op.kind.high)) < 0.02
        return np.asarray(~near, np.float32)
    mask = np.zeros(x.shape, np.float32)
    mask[:, 2, 2] = 1e-3
    return mask


def test_concatenations_are_taken_apart() -> None:
    random = np.random.default_rng(4)
    build = GraphBuilder("joined", [])
    x = build.input("x", TensorType(DType.F32, (1, 2, 3)))
    joined = build.emit(Concat(2), x, x, name="joined")
    op = build.finish([joined], ["y"]).producers()[joined]
    one, other = (random.normal(size=(2, 2, 3)).astype(np.float32) for _ in range(2))
    rule = RULES[Concat]
    y = rule.forward(op, [one, other])
    first, second = rule.backward(op, [one, other], y, y)
    np.testing.assert_array_equal(first, one)
    np.testing.assert_array_equal(second, other)
    assert not rule.covers(Op(Concat(0), (x, x), (joined,)))


def _chain(*kinds: OpKind) -> tuple[Graph, dict[str, Value]]:
    build = GraphBuilder("chain", [])
    value = build.input("x", TensorType(DType.F32, (1, 4)))
    for kind in kinds:
        weights = [build.constant(np.eye(4, dtype=np.float32))] if kind == MatMul() else []
        value = build.emit(kind, value, *weights, name="v")
    graph = build.finish([value], ["y"])
    return graph, {result.name: result for op in graph.ops for result in op.results}


def test_a_block_takes_its_activation_along_and_what_has_no_gradient_is_named() -> None:
    graph, cuts = _chain(MatMul(), MatMul(), Clamp(low=0.0), Unary(UnaryFunction.ERF), MatMul())
    first, second = blocks(graph, cuts, 2)
    assert [op.kind.mnemonic for op in first.ops] == ["matmul", "matmul", "clamp"]
    assert first.refusal == ""
    assert len(first.trained) == 2
    assert second.exit == graph.outputs[0]
    assert second.refusal == "erf has no gradient here"
