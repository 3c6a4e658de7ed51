"""ONNX's own node tests with something changed at random: a graph or a refusal, nothing else."""

import functools
import random
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx
import pytest
from onnx import AttributeProto
from onnx.backend.test.case.node import collect_testcases

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.tensor import Array

INTEGERS = (0, 1, -1, 2, -2, 3, 255, -129, 65536, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
REALS = (0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e38, 1e-38)
TEXTS = (b"", b"SAME_UPPER", b"\xff", b"linear", b"edge", b"->", b"ij,jk->ik", b"...", b"A" * 999)
DIMS = (0, 1, 2, 3, 5, 17, 1000, 2**20, 2**31)


@functools.cache
def node_tests() -> tuple[tuple[onnx.ModelProto, dict[str, Array]], ...]:
    """Models, and those of their inputs that are small numbers and can become constants."""
    found = []
    for case in collect_testcases(None):
        model = case.model
        if model is None or not case.data_sets:
            continue
        names = [info.name for info in model.graph.input]
        feeds: Iterable[tuple[str, object]] = zip(names, case.data_sets[0][0], strict=False)
        arrays = {n: np.asarray(v) for n, v in feeds if isinstance(v, np.ndarray | np.generic)}
        small = {n: v for n, v in arrays.items() if v.size < 50 and v.dtype.kind in "iubf"}
        found.append((model, small))
    return tuple(found)


def _attributes(model: onnx.ModelProto) -> list[AttributeProto]:
    return [attribute for node in model.graph.node for attribute in node.attribute]


def change_attribute(model: onnx.ModelProto, source: random.Random) -> None:
    attributes = _attributes(model)
    if not attributes:
        return
    attribute = source.choice(attributes)
    match attribute.type:
        case AttributeProto.INT:
            attribute.i = source.choice(INTEGERS)
        case AttributeProto.FLOAT:
            attribute.f = source.choice(REALS)
        case AttributeProto.STRING:
            attribute.s = source.choice(TEXTS)
        case AttributeProto.INTS if attribute.ints:
            attribute.ints[source.randrange(len(attribute.ints))] = source.choice(INTEGERS)
        case AttributeProto.GRAPH if attribute.g.output:
            attribute.g.output.pop()
        case _:
            attribute.ints.append(source.choice(INTEGERS))


def drop_attribute(model: onnx.ModelProto, source: random.Random) -> None:
    node = source.choice(model.graph.node)
    if node.attribute:
        del node.attribute[source.randrange(len(node.attribute))]


def change_operand(model: onnx.ModelProto, source: random.Random) -> None:
    node = source.choice(model.graph.node)
    names = ["", *(info.name for info in model.graph.input)]
    if node.input:
        node.input[source.randrange(len(node.input))] = source.choice(names)


def drop_operand(model: onnx.ModelProto, source: random.Random) -> None:
    node = source.choice(model.graph.node)
    if node.input:
        node.input.pop()


def change_type(model: onnx.ModelProto, source: random.Random) -> None:
    if model.graph.input:
        tensor = source.choice(model.graph.input).type.tensor_type
        tensor.elem_type = source.choice((1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17, 22, 23))


def change_dim(model: onnx.ModelProto, source: random.Random) -> None:
    if model.graph.input:
        shape = source.choice(model.graph.input).type.tensor_type.shape
        if shape.dim:
            source.choice(shape.dim).dim_value = source.choice(DIMS)


def change_rank(model: onnx.ModelProto, source: random.Random) -> None:
    if model.graph.input:
        shape = source.choice(model.graph.input).type.tensor_type.shape
        if shape.dim and source.random() < 0.5:
            shape.dim.pop()
        else:
            shape.dim.add().dim_value = source.choice((0, 1, 2, 3))


def change_opset(model: onnx.ModelProto, source: random.Random) -> None:
    newest = onnx.defs.onnx_opset_version()
    model.opset_import[0].version = source.randrange(7, newest + 1)


MUTATIONS: Sequence[Callable[[onnx.ModelProto, random.Random], None]] = (
    change_attribute,
    drop_attribute,
    change_operand,
    drop_operand,
    change_type,
    change_dim,
    change_rank,
    change_opset,
)


def change_content(constants: dict[str, Array], source: random.Random) -> None:
    name = source.choice(sorted(constants))
    array = constants[name].copy().reshape(-1)
    if array.size and array.dtype.kind in "if":
        bounds = INTEGERS if array.dtype.kind == "i" else REALS
        with np.errstate(all="ignore"):
            number = np.asarray(source.choice(bounds)).astype(array.dtype)
        array[source.randrange(array.size)] = number
    constants[name] = array.reshape(constants[name].shape)


def outcome(model: onnx.ModelProto, constants: dict[str, Array]) -> str:
    """How the import ends, if it ends as it may."""
    try:
        import_model(model, constants=constants)
    except Refused as refusal:
        return "refused" if refusal.diagnostics else "refused without a word"
    return "imported"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mutated_model_is_imported_or_refused(
    mutation: Callable[[onnx.ModelProto, random.Random], None],
) -> None:
    source = random.Random(mutation.__name__)
    outcomes = set()
    for _ in range(150):
        original, constants = source.choice(node_tests())
        model = onnx.ModelProto()
        model.CopyFrom(original)
        mutation(model, source)
        given = {name: array for name, array in constants.items() if source.random() < 0.7}
        if given:
            change_content(given, source)
        outcomes.add(outcome(model, given))
    assert outcomes == {"imported", "refused"}
