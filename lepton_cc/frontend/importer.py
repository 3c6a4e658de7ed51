"""`import_model`: from an ONNX model to the IR graph; the first step from model to binary."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

from lepton_cc.frontend.external_data import ExternalData
from lepton_cc.frontend.finish import finish_graph
from lepton_cc.frontend.function_bodies import LocalFunctions
from lepton_cc.frontend.graph_import import GraphImport, opset_versions
from lepton_cc.frontend.graph_inputs import (
    DimBindings,
    checked_constant,
    declared_type,
    open_dimensions,
)
from lepton_cc.frontend.limits import MAX_FILE_BYTES
from lepton_cc.frontend.operators import REGISTRY
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.scope import POISON, Scope, SkippedNode, TensorSequence
from lepton_cc.frontend.tensors import DTYPES
from lepton_cc.frontend.text import check_graph_text, check_text
from lepton_cc.frontend.wire import has_too_much_structure
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Code, Refused, refuse
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array

OLDEST_OPSET = 7


def import_model(
    model: str | os.PathLike[str] | onnx.ModelProto,
    *,
    dims: Mapping[str, int] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """Reads a model and gives its graph; input and output names are the model's own.

    `dims` gives open dimensions a size by name (INPUT.INDEX for one without a name). `constants`
    gives graph inputs a value: they become constants and vanish from the inputs.

    Raises:
        Refused: the model is unreadable, malformed, or uses what is not supported; with all
            diagnostics, in the order of the model.
    """
    if isinstance(model, onnx.ModelProto):
        proto, folder = model, None
    else:
        proto, folder = read_model(Path(model)), Path(model).parent
    try:
        return _imported(proto, ExternalData(folder), dims or {}, constants or {})
    except NodeRefusal as refusal:
        raise refuse(refusal.code, refusal.reason, hint=refusal.hint) from None


def _imported(
    proto: onnx.ModelProto,
    external: ExternalData,
    dims: Mapping[str, int],
    constants: Mapping[str, Array],
) -> Graph:
    check_text(entry.domain for entry in proto.opset_import)
    functions = LocalFunctions(proto.functions)
    opsets = _checked_opsets(proto)
    check_graph_text(proto.graph)
    builder = GraphBuilder(proto.graph.name or "main")
    importing = GraphImport(REGISTRY, builder, functions, external)
    scope = Scope(opsets)
    _bind_inputs(importing, builder, scope, proto.graph, dims, constants)
    importing.import_nodes(proto.graph.node, scope)
    outputs = _outputs(importing, scope, proto.graph)
    if importing.diagnostics:
        raise Refused(importing.diagnostics)
    names = [info.name for info in proto.graph.output]
    return finish_graph(builder.finish(outputs, names), importing.names)


def read_model(path: Path) -> onnx.ModelProto:
    """The message in a model file, which is not checked further.

    Raises:
        Refused: the file is absent, too big, or no protobuf message.
    """
    try:
        if not path.is_file():
            raise refuse(Code.MODEL_UNREADABLE, f"{str(path)!r} is not a file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise refuse(Code.MODEL_UNREADABLE, f"{str(path)!r} cannot be read: {error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise refuse(
            Code.LIMIT_EXCEEDED, f"{str(path)!r} is bigger than {MAX_FILE_BYTES >> 20} MiB"
        )
    if has_too_much_structure(content):
        raise refuse(Code.LIMIT_EXCEEDED, f"{str(path)!r} holds too many fields for a model")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except (DecodeError, RecursionError):
        raise refuse(
            Code.MODEL_UNREADABLE,
            f"{str(path)!r} is not an ONNX model",
            hint="the file is truncated, nests too deeply, or has another format",
        ) from None
    return proto


def _checked_opsets(model: onnx.ModelProto) -> dict[str, int]:
    if not model.HasField("graph"):
        raise NodeRefusal("the model has no graph", code=Code.MODEL_MALFORMED)
    if not model.graph.output:
        raise NodeRefusal("the graph has no outputs", code=Code.MODEL_MALFORMED)
    if not 3 <= model.ir_version <= onnx.IR_VERSION:
        raise NodeRefusal(
            f"the file has ONNX IR version {model.ir_version}; 3 to {onnx.IR_VERSION} are read",
            "convert it with onnx.version_converter, or update onnx",
            Code.UNSUPPORTED_OPSET,
        )
    versions = opset_versions(model.opset_import)
    newest = onnx.defs.onnx_opset_version()
    default = versions.get("")
    if default is None and not model.functions and "" in {n.domain for n in model.graph.node}:
        raise NodeRefusal("the model imports no ai.onnx opset", code=Code.UNSUPPORTED_OPSET)
    if default is not None and not OLDEST_OPSET <= default <= newest:
        raise NodeRefusal(
            f"the model has opset {default}; {OLDEST_OPSET} to {newest} are supported",
            "convert it with onnx.version_converter",
            Code.UNSUPPORTED_OPSET,
        )
    return versions


def _bind_inputs(
    importing: GraphImport,
    builder: GraphBuilder,
    scope: Scope,
    graph: onnx.GraphProto,
    dims: Mapping[str, int],
    constants: Mapping[str, Array],
) -> None:
    bindings = DimBindings(dims)
    stored = {tensor.name for tensor in graph.initializer}
    stored |= {sparse.values.name for sparse in graph.sparse_initializer}
    given = {info.name for info in graph.input}
    for name in constants:
        if name not in given:
            listed = ", ".join(sorted(given)) or "none"
            importing.refuse(
                NodeRefusal(
                    f"the model has no input {name!r}; it has {listed}", "", Code.BAD_INPUT_DATA
                ),
                "constants",
            )
    for info in graph.input:
        if info.name in stored and info.name not in constants:
            continue
        try:
            _bind_input(importing, builder, scope, info, bindings, constants)
        except NodeRefusal as refusal:
            importing.refuse(refusal, f"input {info.name!r}")
            scope.bindings[info.name] = POISON
    importing.bind_initializers(graph, scope, except_for=frozenset(constants))
    for name in bindings.unknown():
        listed = ", ".join(bindings.known) or "none"
        reason = f"no input has an open dimension {name!r}; the open ones are: {listed}"
        importing.refuse(NodeRefusal(reason, "", Code.OPEN_DIMENSION), f"--dim {name}")


def _bind_input(
    importing: GraphImport,
    builder: GraphBuilder,
    scope: Scope,
    info: onnx.ValueInfoProto,
    bindings: DimBindings,
    constants: Mapping[str, Array],
) -> None:
    if info.name == "":
        raise NodeRefusal("an input has no name", code=Code.MODEL_MALFORMED)
    type_ = declared_type(info, bindings)
    if info.name in constants:
        value = builder.constant(checked_constant(constants[info.name], type_))
        importing.names[value] = info.name
        scope.bind(info.name, value)
        return
    for refusal in open_dimensions(info.name, type_):
        importing.refuse(refusal, "")
    if type_.is_static:
        scope.bind(info.name, builder.input(info.name, type_))
    else:
        scope.bind(info.name, POISON)


def _outputs(importing: GraphImport, scope: Scope, graph: onnx.GraphProto) -> list[Value]:
    outputs: list[Value] = []
    for name in _duplicates(info.name for info in graph.output):
        importing.refuse(
            NodeRefusal(f"output {name!r} is listed twice", code=Code.MODEL_MALFORMED), ""
        )
    for info in graph.output:
        try:
            value = scope.lookup(info.name)
            if value is None:
                raise NodeRefusal("an output has no name", code=Code.MODEL_MALFORMED)
            if isinstance(value, TensorSequence):
                raise NodeRefusal("is a sequence, not a tensor", code=Code.UNSUPPORTED_TYPE)
            declared = DTYPES.get(info.type.tensor_type.elem_type)
            if declared is not None and declared is not value.type.dtype:
                reason = f"is declared as {declared.value} but computed as {value.type}"
                raise NodeRefusal(reason, code=Code.TYPE_MISMATCH)
            outputs.append(value)
        except NodeRefusal as refusal:
            importing.refuse(refusal, f"output {info.name!r}")
        except SkippedNode:
            continue
    return outputs


def _duplicates(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() if count > 1)
