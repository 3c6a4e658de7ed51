"""Puts the factors of a layer in its place in the graph."""

import numpy as np

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.rewrite import without_dead_ops
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.low_rank.form import Form, Plan, factors


def split(graph: Graph, op: Op, plan: Plan, arrays: tuple[Array, ...], bias: Array) -> Graph:
    """The graph with a contraction's factors where it was; the last one has its name.

    arrays: as `FactorFit.factors` gives them; bias: [O].
    """
    taken = {value.name for one in graph.ops for value in one.results}
    taken |= {value.name for value in graph.inputs}
    parts = factors(op, plan)
    made: list[Op] = []

    def constant(content: Array, name: str) -> Value:
        array = np.ascontiguousarray(content.astype(np.float32))
        value = Value(_fresh(name, taken), TensorType(op.result.type.dtype, array.shape))
        made.append(Op(Constant(Tensor(array)), (), (value,), op.location))
        return value

    x = op.inputs[0]
    for number, (part, array) in enumerate(zip(parts, arrays, strict=True)):
        is_last = number == len(parts) - 1
        name = op.result.name if is_last else _fresh(f"{op.result.name}_factor{number}", taken)
        content = constant(_in_shape(plan, array, part.weights), f"{name}_weights")
        operands: tuple[Value, ...] = (x, content)
        if is_last:
            operands = (*operands, constant(bias, f"{name}_bias"))
        (type_,) = part.kind.infer([value.type for value in operands])
        result = op.result if is_last else Value(name, type_)
        made.append(Op(part.kind, operands, (result,), op.location))
        x = result
    ops = [one for old in graph.ops for one in (made if old.results == op.results else (old,))]
    return without_dead_ops(graph.with_ops(tuple(ops)))


def _in_shape(plan: Plan, array: Array, shape: tuple[int, ...]) -> Array:
    """The weights of one op, those of groups side by side."""
    if plan.form is Form.OUTPUT:
        array = array.transpose(1, 0, 2)
    return array.reshape(shape)


def _fresh(name: str, taken: set[str]) -> str:
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}.{number}"
    taken.add(found)
    return found
