"""The NumPy interpreter: the meaning of a graph, and the first oracle of every test."""

from collections.abc import Callable, Mapping

import numpy as np

from lepton_cc.ir.diagnostics import Code, InternalError, refuse
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.tensor import Array

Observer = Callable[[Value, Array], None]


def evaluate_ops(
    graph: Graph, environment: dict[Value, Array], observe: Observer | None = None
) -> tuple[Array, ...]:
    """Runs the ops of `graph`; `environment` holds its inputs. Frees what no later op reads.

    `observe` sees every op's results: per-layer comparisons hang here.
    """
    last_use = {operand: index for index, op in enumerate(graph.ops) for operand in op.inputs}
    kept = set(graph.outputs)
    for index, op in enumerate(graph.ops):
        operands = [None if v is None else environment[v] for v in op.operands]
        with np.errstate(all="ignore"):
            arrays = op.kind.evaluate(operands)
        for result, array in zip(op.results, arrays, strict=True):
            environment[result] = _checked(op, result, array)
            if observe is not None:
                observe(result, array)
        for operand in op.inputs:
            if last_use[operand] == index and operand not in kept:
                environment.pop(operand, None)
    return tuple(environment[output] for output in graph.outputs)


def _checked(op: Op, result: Value, array: Array) -> Array:
    # In C order, because NumPy's sums round by memory layout, which is no part of the meaning.
    array = np.asarray(array, order="C")
    if array.shape != result.type.shape or array.dtype != result.type.dtype.numpy:
        got = f"{array.dtype}{list(array.shape)}"
        raise InternalError(f"{op.kind.mnemonic} at {op.location} gave {got} for {result.type}")
    return array


def interpret(
    graph: Graph, inputs: Mapping[str, Array], observe: Observer | None = None
) -> dict[str, Array]:
    """Runs the graph on inputs by ONNX name and gives the outputs by ONNX name.

    Raises:
        Refused: an input is missing or has another dtype or shape.
    """
    environment = {}
    for value in graph.inputs:
        environment[value] = checked_input(value, inputs)
    outputs = evaluate_ops(graph, environment, observe)
    return dict(zip(graph.output_names, outputs, strict=True))


def checked_input(value: Value, inputs: Mapping[str, Array]) -> Array:
    """The array given for an input, or a refusal that says what was expected."""
    if value.name not in inputs:
        known = ", ".join(inputs) or "nothing"
        raise refuse(
            Code.BAD_INPUT_DATA, f"input {value.name!r} ({value.type}) is missing; got {known}"
        )
    array = np.asarray(inputs[value.name])
    if array.shape != value.type.shape or array.dtype != value.type.dtype.numpy:
        given = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        raise refuse(
            Code.BAD_INPUT_DATA,
            f"input {value.name!r} is {given}, the model takes {value.type}",
            hint="convert the array before the call; nothing is converted silently",
        )
    return array
