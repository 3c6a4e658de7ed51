"""Function bodies: what an operator without an importer expands to.

The model's own functions come first, then the bodies that ONNX defines for its operators
(https://onnx.ai/onnx/repo-docs/IR.html#functions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from onnx import defs

from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.scope import Operand, TensorSequence
from lepton_cc.frontend.tensors import DTYPES
from lepton_cc.frontend.text import check_nodes_text, check_text
from lepton_cc.ir.diagnostics import Code

_ONNX_TYPES = {dtype: number for number, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Function:
    """A function body and the call's attribute values.

    `opsets` serves domains that the body uses but does not import, as ONNX's own sometimes do.
    """

    key: tuple[str, str, str]
    body: onnx.FunctionProto
    attributes: Mapping[str, onnx.AttributeProto]
    opsets: Mapping[str, int]


class LocalFunctions:
    """The functions that the model itself defines."""

    def __init__(self, functions: Sequence[onnx.FunctionProto]) -> None:
        self._functions: dict[tuple[str, str, str], onnx.FunctionProto] = {}
        for function in functions:
            check_text((function.domain, function.name, function.overload))
            check_text((*function.input, *function.output, *function.attribute))
            check_text(entry.domain for entry in function.opset_import)
            check_text(proto.name for proto in function.attribute_proto)
            check_nodes_text(function.node)
            key = (normal_domain(function.domain), function.name, function.overload)
            if key in self._functions:
                raise NodeRefusal(
                    f"function {function.name!r} is defined twice", code=Code.MODEL_MALFORMED
                )
            self._functions[key] = function

    def find(
        self, node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]
    ) -> Function | None:
        """The function that the node calls, if it is one of the model's."""
        key = (normal_domain(node.domain), node.op_type, node.overload)
        body = self._functions.get(key)
        if body is None:
            return None
        if len(node.input) > len(body.input) or len(node.output) > len(body.output):
            raise NodeRefusal(
                f"has {len(node.input)} inputs and {len(node.output)} outputs where the function"
                f" takes {len(body.input)} and gives {len(body.output)}",
                code=Code.MODEL_MALFORMED,
            )
        bound = {proto.name: proto for proto in body.attribute_proto} | dict(attributes)
        missing = [name for name in body.attribute if name not in bound]
        if missing:
            raise NodeRefusal(f"attribute {missing[0]!r} is missing", code=Code.MODEL_MALFORMED)
        return Function(key, body, bound, {})


def body_versions(schema: defs.OpSchema, opset: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Versions up to `opset` that have a fixed body, and those whose body hangs on the node."""
    fixed = schema.function_opset_versions  # type: ignore[attr-defined]  # not in onnx's stubs
    contextual = schema.context_dependent_function_opset_versions  # type: ignore[attr-defined]  # as above
    return tuple(v for v in fixed if v <= opset), tuple(v for v in contextual if v <= opset)


def schema_function(
    schema: defs.OpSchema,
    node: onnx.NodeProto,
    operands: Sequence[Operand],
    opsets: Mapping[str, int],
    attributes: Mapping[str, onnx.AttributeProto],
) -> Function | None:
    """The body that ONNX gives for the node at the model's opsets, if it gives one."""
    fixed, contextual = body_versions(schema, opsets[normal_domain(node.domain)])
    if fixed:
        content = schema.get_function_with_opset_version(max(fixed))  # type: ignore[attr-defined]  # as above
    elif contextual:
        content = _contextual_body(schema, max(contextual), _resolved(node, attributes), operands)
    else:
        return None
    body = onnx.FunctionProto()
    try:
        body.ParseFromString(content)
    except DecodeError:
        return None
    if not body.node:
        return None
    defaults = {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type
    }
    key = (normal_domain(node.domain), node.op_type, "")
    return Function(key, body, defaults | dict(attributes), opsets)


def _contextual_body(
    schema: defs.OpSchema, version: int, node: onnx.NodeProto, operands: Sequence[Operand]
) -> bytes:
    types = [_type_bytes(operand) for operand in operands]
    build = schema.get_context_dependent_function_with_opset_version  # type: ignore[attr-defined]  # as above
    try:
        content: bytes = build(version, node.SerializeToString(), types)
    except Exception as error:  # whatever the C++ of onnx throws at a form it does not know
        raise NodeRefusal(f"ONNX gives it no body in this form: {error}") from None
    return content


def _resolved(
    node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]
) -> onnx.NodeProto:
    resolved = onnx.NodeProto()
    resolved.CopyFrom(node)
    del resolved.attribute[:]
    resolved.attribute.extend(attributes.values())
    return resolved


def _type_bytes(operand: Operand) -> bytes:
    proto = onnx.TypeProto()
    if isinstance(operand, TensorSequence):
        raise NodeRefusal("sequences are not supported here", code=Code.UNSUPPORTED_TYPE)
    if operand is not None:
        number = _ONNX_TYPES[operand.type.dtype]
        proto = onnx.helper.make_tensor_type_proto(number, operand.type.dims)
    content: bytes = proto.SerializeToString()
    return content


def normal_domain(domain: str) -> str:
    """The domain under its short name: "" for ai.onnx."""
    return "" if domain == "ai.onnx" else domain
