"""The verifier: the laws of a graph as tables, one for each stage; run after every pass.

A law looks at a graph and yields the violations that it finds, each naming its node. Laws of one
stage hold in every later stage unless the later table leaves them out.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from lepton_cc.ir.diagnostics import TypeInferenceError, VerificationError
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.types import Quantization, TensorType

Law = Callable[[Graph], Iterator[str]]

# What `infer` raises: its own refusal, or, for an open dimension or an attribute far out of range
# (groups of zero), what Python says to the arithmetic.
INFERENCE_ERRORS = (TypeInferenceError, ValueError, ArithmeticError, IndexError)


class Stage(enum.Enum):
    """How far a graph has come; a pass says which stage it leaves."""

    IMPORTED = "what the frontend gives: dimensions may be open"
    STATIC = "every dimension is known"
    FUSED = "ops may be grouped into fused ops, one kernel each"


def verify(graph: Graph, stage: Stage = Stage.IMPORTED) -> None:
    """Checks every law of the stage.

    Raises:
        VerificationError: laws are broken; the text lists every violation with its node.
    """
    # The other laws presume SSA form: their findings in a graph without it would only confuse.
    broken = list(chain.from_iterable(law(graph) for law in _STRUCTURE))
    if not broken:
        broken = list(chain.from_iterable(law(graph) for law in _LAWS[stage]))
    if broken:
        listed = "\n".join(f"  {violation}" for violation in broken)
        raise VerificationError(f"graph {graph.name!r} is not {stage.name.lower()}:\n{listed}")


def describe(op: Op) -> str:
    """An op in a message: its results, mnemonic and ONNX nodes."""
    results = ", ".join(f"%{result.name}" for result in op.results)
    where = f" (from {op.location})" if op.location.nodes else ""
    return f"{results} = {op.kind.mnemonic}{where}"


def _interface(graph: Graph) -> Iterator[str]:
    """Every output has one name, and the names differ; so do the inputs' names."""
    if len(graph.outputs) != len(graph.output_names):
        yield f"{len(graph.outputs)} outputs have {len(graph.output_names)} names"
    for names, what in ((graph.output_names, "output"), ([v.name for v in graph.inputs], "input")):
        for name in sorted({name for name in names if list(names).count(name) > 1}):
            yield f"{what} name {name!r} is given twice"


def _unique_names(graph: Graph) -> Iterator[str]:
    """No two values share a name, and no value is defined twice."""
    defined: set[str] = set()
    for value in chain(graph.inputs, *(op.results for op in graph.ops)):
        if value.name in defined:
            yield f"%{value.name} is defined twice"
        defined.add(value.name)


def _defined_before_use(graph: Graph) -> Iterator[str]:
    """Operands are inputs or results of earlier ops, with the type that they were defined with."""
    defined: dict[str, Value] = {value.name: value for value in graph.inputs}
    for op in graph.ops:
        for operand in op.inputs:
            yield from _misuse(defined.get(operand.name), operand, describe(op))
        defined.update((result.name, result) for result in op.results)
    for output, name in zip(graph.outputs, graph.output_names, strict=False):
        yield from _misuse(defined.get(output.name), output, f"output {name!r}")


def _misuse(definition: Value | None, use: Value, user: str) -> Iterator[str]:
    if definition is None:
        yield f"{user} reads %{use.name}, which is not defined before it"
    elif definition.type != use.type:
        yield f"{user} reads %{use.name} as {use.type}, defined as {definition.type}"


def _operand_count(graph: Graph) -> Iterator[str]:
    """Each op has the operands that its definition names; only optional ones are absent."""
    for op in graph.ops:
        names = op.kind.OPERANDS
        repeats = bool(names) and names[-1].endswith("*")
        required = sum(not name.endswith(("?", "*")) for name in names)
        if not repeats and len(op.operands) > len(names):
            yield f"{describe(op)} has {len(op.operands)} operands, takes {len(names)}"
        if len(op.operands) < required:
            yield f"{describe(op)} has {len(op.operands)} operands, needs {required}"
        for position, operand in enumerate(op.operands):
            optional = position < len(names) and names[position].endswith("?")
            if operand is None and not optional:
                yield f"{describe(op)} lacks operand {position}"


def _inferred_types(graph: Graph) -> Iterator[str]:
    """The type of every result is what the op infers from its operands."""
    for op in graph.ops:
        try:
            inferred = op.kind.infer([None if v is None else v.type for v in op.operands])
        except INFERENCE_ERRORS as error:
            yield f"{describe(op)}: {error}"
            continue
        stated = tuple(result.type for result in op.results)
        if inferred != stated:
            yield f"{describe(op)} states {_listed(stated)}, inferred is {_listed(inferred)}"


def _listed(types: tuple[TensorType, ...]) -> str:
    return ", ".join(f"{t} {t.quantization}" if t.quantization else str(t) for t in types)


def _quantized_types(graph: Graph) -> Iterator[str]:
    """A quantized type is an integer type with as many scales as its axis has indices, all > 0."""
    for value in chain(graph.inputs, *(op.results for op in graph.ops)):
        if value.type.quantization is not None:
            for problem in _quantization_problems(value.type, value.type.quantization):
                yield f"%{value.name}: {problem}"


def _quantization_problems(type_: TensorType, quantization: Quantization) -> Iterator[str]:
    if not type_.dtype.is_integer:
        yield f"{type_} is quantized but no integer"
    if len(quantization.scales) != len(quantization.zero_points):
        yield f"{len(quantization.scales)} scales, {len(quantization.zero_points)} zero points"
    if not all(0 < scale < float("inf") for scale in quantization.scales):
        yield "a scale is not a positive number"
    axis = quantization.axis
    if axis is not None and not 0 <= axis < type_.rank:
        yield f"axis {axis} of {type_} is quantized"
        return
    expected = 1 if axis is None else type_.shape[axis]
    if isinstance(expected, int) and len(quantization.scales) != expected:
        yield f"{len(quantization.scales)} scales for {expected} indices of {type_}"


def _no_open_dimensions(graph: Graph) -> Iterator[str]:
    """Every dimension of every value is a number, and none is negative."""
    for value in chain(graph.inputs, *(op.results for op in graph.ops)):
        if not value.type.is_static:
            yield f"%{value.name} is {value.type}: a dimension is open"
        elif min(value.type.dims, default=0) < 0:
            yield f"%{value.name} is {value.type}: a dimension is negative"


def _nothing_fused(graph: Graph) -> Iterator[str]:
    """Fused ops appear only when fusion has begun."""
    for op in graph.ops:
        if isinstance(op.kind, Fused):
            yield f"{describe(op)} stands in a graph before fusion"


def _fused_bodies(graph: Graph) -> Iterator[str]:
    """A body is a verified graph of one output, at most one anchor, and pointwise ops after it."""
    for op in graph.ops:
        if isinstance(op.kind, Fused):
            for violation in _body_violations(op.kind.body):
                yield f"{describe(op)}: {violation}"


def _body_violations(body: Graph) -> Iterator[str]:
    broken = list(chain.from_iterable(law(body) for law in (*_STRUCTURE, *_BODY)))
    yield from broken
    if not broken:
        yield from _anchor_violations(body)


def _anchor_violations(body: Graph) -> Iterator[str]:
    if len(body.outputs) != 1:
        yield f"the body has {len(body.outputs)} outputs"
    anchors = [op for op in body.ops if not is_free_of_anchor(op.kind)]
    for op in anchors[1:]:
        yield f"a second anchor: {describe(op)}"
    if not anchors:
        return
    after = {value: anchors[0] for value in anchors[0].results}
    shape = anchors[0].results[0].type.shape
    for op in body.ops:
        if any(operand in after for operand in op.inputs):
            after.update((result, op) for result in op.results)
            if Trait.POINTWISE not in op.kind.traits:
                yield f"{describe(op)} follows the anchor and is not pointwise"
            elif any(result.type.shape != shape for result in op.results):
                yield f"{describe(op)} follows the anchor in another shape"


def is_free_of_anchor(kind: OpKind) -> bool:
    """True for what a fused body may hold besides its anchor: constants, pointwise, movement."""
    return isinstance(kind, Constant) or bool(kind.traits & {Trait.POINTWISE, Trait.MOVEMENT})


_STRUCTURE: tuple[Law, ...] = (_interface, _unique_names, _defined_before_use, _operand_count)
_TYPES: tuple[Law, ...] = (_inferred_types, _quantized_types)
_BODY: tuple[Law, ...] = (*_TYPES, _no_open_dimensions, _nothing_fused)
_LAWS: Mapping[Stage, tuple[Law, ...]] = {
    Stage.IMPORTED: (*_TYPES, _nothing_fused),
    Stage.STATIC: (*_TYPES, _no_open_dimensions, _nothing_fused),
    Stage.FUSED: (*_TYPES, _no_open_dimensions, _fused_bodies),
}
