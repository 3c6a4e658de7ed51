"""Imports the nodes of graphs, subgraphs and function bodies, and collects their refusals."""

from collections.abc import Iterable, Mapping, Sequence

import onnx

from lepton_cc.frontend.attributes import Attributes
from lepton_cc.frontend.external_data import ExternalData
from lepton_cc.frontend.folding import ConstantFolder
from lepton_cc.frontend.function_bodies import (
    Function,
    LocalFunctions,
    body_versions,
    normal_domain,
    schema_function,
)
from lepton_cc.frontend.limits import (
    MAX_CONSTANT_BYTES,
    MAX_DIAGNOSTICS,
    MAX_NAME_CHARS,
    MAX_NESTING,
    MAX_NODES,
    MAX_OPS,
    MAX_RANK,
    MAX_REASON_CHARS,
    MAX_TENSOR_BYTES,
)
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.reasons import REASONS
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.registry import OperatorRegistry
from lepton_cc.frontend.scope import POISON, Operand, Scope, SkippedNode
from lepton_cc.frontend.signature import check_signature, find_schema
from lepton_cc.frontend.tensors import sparse_tensor_array
from lepton_cc.frontend.text import check_graph_text
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import (
    Code,
    Diagnostic,
    InternalError,
    LeptonError,
    Refused,
    TypeInferenceError,
)
from lepton_cc.ir.graph import Location, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.tensor import Array


class GraphImport:
    """State of one import: the graph so far, the names of its values, and what was refused."""

    def __init__(
        self,
        registry: OperatorRegistry,
        builder: GraphBuilder,
        functions: LocalFunctions,
        external: ExternalData,
    ) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.names: dict[Value, str] = {}
        self._registry = registry
        self._builder = builder
        self._functions = functions
        self._external = external
        self._folder = ConstantFolder(builder)
        self._num_nodes = 0
        self._num_ops = 0
        self._constant_bytes = 0
        # Initializers of subgraphs by the subgraph's identity: an unrolled body makes them once.
        self._inlined: dict[int, tuple[onnx.GraphProto, Scope]] = {}

    # The session that nodes see.

    def add(self, kind: OpKind, operands: Sequence[Value | None], origin: str) -> tuple[Value, ...]:
        """Appends an op that came from the node named `origin`."""
        self._num_ops += 1
        if self._num_ops > MAX_OPS:
            raise NodeRefusal(f"the graph exceeds {MAX_OPS} ops", code=Code.LIMIT_EXCEEDED)
        results = self._builder.add(kind, operands, Location((origin,)))
        for result in results:
            size = max((result.type.size_bytes, *result.type.dims))
            if result.type.rank > MAX_RANK or size > MAX_TENSOR_BYTES:
                raise NodeRefusal(
                    f"{result.type} exceeds the limit of {MAX_RANK} dimensions or"
                    f" {MAX_TENSOR_BYTES >> 20} MiB",
                    code=Code.LIMIT_EXCEEDED,
                )
        return results

    def constant(self, array: Array, origin: str) -> Value:
        """Adds a constant."""
        self._constant_bytes += array.nbytes
        if self._constant_bytes > MAX_CONSTANT_BYTES:
            limit = f"the constants exceed {MAX_CONSTANT_BYTES >> 20} MiB"
            raise NodeRefusal(limit, code=Code.LIMIT_EXCEEDED)
        return self._builder.constant(array, Location((origin,)))

    def content(self, value: Value) -> Array | None:
        """The compile-time content of a value, None if it hangs on a graph input."""
        return self._folder.array(value)

    def is_dequantized(self, value: Value) -> bool:
        """True if a Dequantize is among the ops that a value is computed by."""
        seen, pending = {value}, [value]
        while pending:
            op = self._builder.producer(pending.pop())
            if op is not None and isinstance(op.kind, Dequantize):
                return True
            for operand in () if op is None else op.inputs:
                if operand not in seen:
                    seen.add(operand)
                    pending.append(operand)
        return False

    def inputs_behind(self, value: Value) -> tuple[str, ...]:
        """Names of the graph inputs that a value is computed from, in no order but a fixed one."""
        seen = {value: None}
        pending = [value]
        while pending:
            op = self._builder.producer(pending.pop())
            for operand in () if op is None else op.inputs:
                if operand not in seen:
                    seen[operand] = None
                    pending.append(operand)
        return tuple(v.name for v in seen if self._builder.producer(v) is None)

    def inline(
        self, graph: onnx.GraphProto, inputs: Sequence[Value | None], view: NodeView
    ) -> tuple[Value, ...]:
        """Imports a subgraph of `view`'s node in place; names of the outer scopes are seen."""
        outer = view.scope
        if len(inputs) != len(graph.input):
            raise NodeRefusal(
                f"subgraph {graph.name!r} takes {len(graph.input)} inputs, not {len(inputs)}",
                code=Code.MODEL_MALFORMED,
            )
        scope = Scope(
            outer.opsets,
            outer,
            outer.attributes,
            outer.calls,
            self._deeper(outer),
            view.label,
            view.origin,
        )
        for info, value in zip(graph.input, inputs, strict=True):
            scope.bind(info.name, value)
        stored = self._inlined.get(id(graph))
        if stored is None:
            check_graph_text(graph)
            stored = graph, Scope(outer.opsets)
            self.bind_initializers(graph, stored[1])
            self._inlined[id(graph)] = stored
        for name, binding in stored[1].bindings.items():
            scope.bind(name, binding)
        self.import_nodes(graph.node, scope)
        return tuple(self._defined(scope, info.name) for info in graph.output)

    # Graphs.

    def bind_initializers(
        self, graph: onnx.GraphProto, scope: Scope, except_for: frozenset[str] = frozenset()
    ) -> None:
        """Makes constants of the initializers, but for those that are `except_for`."""
        for tensor in graph.initializer:
            if tensor.name not in except_for:
                self._bind_initializer(scope, tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            if sparse.values.name not in except_for:
                self._bind_initializer(scope, sparse.values.name, sparse)

    def _bind_initializer(
        self, scope: Scope, name: str, proto: onnx.TensorProto | onnx.SparseTensorProto
    ) -> None:
        try:
            if name == "":
                raise NodeRefusal("an initializer has no name", code=Code.MODEL_MALFORMED)
            if isinstance(proto, onnx.TensorProto):
                array = self._external.tensor_array(proto)
            else:
                array = sparse_tensor_array(proto)
            value = self.constant(array, name)
            scope.bind(name, value)
            self.names.setdefault(value, name)
        except NodeRefusal as refusal:
            self.refuse(refusal, f"initializer {name!r}")
            scope.bindings[name] = POISON

    def import_nodes(self, nodes: Sequence[onnx.NodeProto], scope: Scope) -> None:
        """Imports nodes in order and binds their outputs; notes those that are refused."""
        scope.later = frozenset(name for node in nodes for name in node.output)
        for node in nodes:
            self._num_nodes += 1
            if self._num_nodes > MAX_NODES:
                limit = f"the model has more than {MAX_NODES} nodes, expanded ones included"
                raise Refused([*self.diagnostics, Diagnostic(Code.LIMIT_EXCEEDED, limit)])
            name = node.name or next(iter(node.output), "")
            origin = scope.origin or name
            label = f"{_short(node.op_type)} {_short(name)!r}"
            label = f"{scope.label} > {label}" if scope.label else label
            try:
                self._bind_outputs(scope, node, self._import_node(node, scope, origin, label))
            except (NodeRefusal, SkippedNode) as refusal:
                if isinstance(refusal, NodeRefusal):
                    self.refuse(refusal, label)
                for name in node.output:
                    scope.bindings.setdefault(name, POISON)

    def refuse(self, refusal: NodeRefusal, label: str) -> None:
        """Notes a diagnostic; too many end the import at once."""
        reason = _short(refusal.reason, MAX_REASON_CHARS)
        self.diagnostics.append(
            Diagnostic(refusal.code, reason, label, refusal.hint, refusal.inputs)
        )
        if len(self.diagnostics) >= MAX_DIAGNOSTICS:
            raise Refused(self.diagnostics)

    def _bind_outputs(self, scope: Scope, node: onnx.NodeProto, values: Sequence[Operand]) -> None:
        for name, value in zip(node.output, values, strict=False):
            if name == "":
                continue
            if value is None:
                raise NodeRefusal(f"output {name!r} of this operator is not supported")
            scope.bind(name, value)
            if scope.depth == 0 and isinstance(value, Value):
                self.names.setdefault(value, name)

    @staticmethod
    def _defined(scope: Scope, name: str) -> Value:
        value = scope.lookup(name)
        if not isinstance(value, Value):
            raise NodeRefusal("a subgraph output is no tensor", code=Code.UNSUPPORTED_TYPE)
        return value

    @staticmethod
    def _deeper(scope: Scope) -> int:
        if scope.depth >= MAX_NESTING:
            raise NodeRefusal(
                f"subgraphs and functions nest deeper than {MAX_NESTING}", code=Code.LIMIT_EXCEEDED
            )
        return scope.depth + 1

    # Nodes.

    def _import_node(
        self, node: onnx.NodeProto, scope: Scope, origin: str, label: str
    ) -> Sequence[Operand]:
        try:
            return self._expand_node(node, scope, origin, label)
        except (NodeRefusal, SkippedNode, LeptonError):
            raise
        except TypeInferenceError as error:
            raise NodeRefusal(str(error), code=Code.TYPE_MISMATCH) from error
        except Exception as error:
            kind = type(error).__name__
            raise InternalError(f"importing {label} failed with {kind}: {error}") from error

    def _expand_node(
        self, node: onnx.NodeProto, scope: Scope, origin: str, label: str
    ) -> Sequence[Operand]:
        attributes = _bound_attributes(node.attribute, scope.attributes)
        local = self._functions.find(node, attributes)
        if local is not None:
            operands = [scope.lookup(name) for name in node.input]
            return self._call(local, operands, node.output, scope, origin, label)
        domain = normal_domain(node.domain)
        opset = scope.opsets.get(domain)
        if opset is None:
            raise NodeRefusal(f"the model does not import domain {domain or 'ai.onnx'!r}")
        schema = find_schema(domain, node.op_type, opset)
        if schema is not None:
            check_signature(schema, node, attributes)
        operator = self._registry.lookup(domain, node.op_type, opset)
        if operator is None and not (schema and any(body_versions(schema, opset))):
            raise _unknown_operator(domain, node.op_type, opset, known=schema is not None)
        operands = [scope.lookup(name) for name in node.input]
        if operator is not None:
            view = NodeView(
                node,
                operands,
                Attributes(attributes),
                opset=opset,
                origin=origin,
                label=label,
                session=self,
                scope=scope,
            )
            return operator.importer(view)
        assert schema is not None
        function = schema_function(schema, node, operands, scope.opsets, attributes)
        if function is None:
            raise _unknown_operator(domain, node.op_type, opset, known=True)
        return self._call(function, operands, node.output, scope, origin, label)

    def _call(
        self,
        function: Function,
        operands: Sequence[Operand],
        outputs: Sequence[str],
        caller: Scope,
        origin: str,
        label: str,
    ) -> Sequence[Operand]:
        if function.key in caller.calls:
            raise NodeRefusal(
                f"function {function.key[1]!r} calls itself", code=Code.MODEL_MALFORMED
            )
        scope = Scope(
            {**function.opsets, **opset_versions(function.body.opset_import)},
            None,
            function.attributes,
            (*caller.calls, function.key),
            self._deeper(caller),
            label,
            origin,
        )
        if len(operands) > len(function.body.input):
            reason = f"has {len(operands)} inputs where its body takes {len(function.body.input)}"
            raise NodeRefusal(reason, code=Code.MODEL_MALFORMED)
        padded = [*operands, *[None] * (len(function.body.input) - len(operands))]
        for name, value in zip(function.body.input, padded, strict=True):
            scope.bind(name, value)
        self.import_nodes(function.body.node, scope)
        wanted = zip(function.body.output, outputs, strict=False)
        return [scope.lookup(name) if output else None for name, output in wanted]


def _short(text: str, limit: int = MAX_NAME_CHARS) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _unknown_operator(domain: str, op_type: str, opset: int, *, known: bool) -> NodeRefusal:
    if (domain, op_type) in REASONS:
        why, hint = REASONS[domain, op_type]
        return NodeRefusal(f"not supported: {why}", hint, Code.UNSUPPORTED_OPERATOR)
    where = f"domain {domain!r} version {opset}" if domain else f"opset {opset}"
    reason = f"operator {op_type} of {where} is "
    reason += "not supported" if known or domain else "unknown"
    return NodeRefusal(
        reason, "docs/onnx-operators.md lists the supported operators", Code.UNSUPPORTED_OPERATOR
    )


def _bound_attributes(
    protos: Iterable[onnx.AttributeProto], arguments: Mapping[str, onnx.AttributeProto]
) -> dict[str, onnx.AttributeProto]:
    """The attributes by name; references to a function's parameters become its arguments."""
    bound: dict[str, onnx.AttributeProto] = {}
    for proto in protos:
        if proto.name in bound:
            raise NodeRefusal(f"attribute {proto.name!r} is given twice", code=Code.MODEL_MALFORMED)
        if not proto.ref_attr_name:
            bound[proto.name] = proto
        elif proto.ref_attr_name in arguments:
            copy = onnx.AttributeProto()
            copy.CopyFrom(arguments[proto.ref_attr_name])
            copy.name = proto.name
            bound[proto.name] = copy
    return bound


def opset_versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Version by domain.

    Raises:
        NodeRefusal: a domain is imported twice.
    """
    versions: dict[str, int] = {}
    for entry in imports:
        domain = normal_domain(entry.domain)
        if versions.setdefault(domain, entry.version) != entry.version:
            raise NodeRefusal(
                f"domain {domain or 'ai.onnx'!r} is imported in two versions",
                code=Code.MODEL_MALFORMED,
            )
    return versions
