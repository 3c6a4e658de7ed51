"""Checks a node against ONNX's schema: number of inputs and outputs, names and types of attributes.

What holds here, no importer needs to check again. Only the schema table of the onnx package is
read; its checker and its shape inference do not survive hostile models and are not used.
"""

from collections.abc import Mapping

import onnx
from onnx import defs

from lepton_cc.frontend.attributes import attribute_kind
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.ir.diagnostics import Code


def find_schema(domain: str, op_type: str, opset: int) -> defs.OpSchema | None:
    """The schema that is in force at `opset`; None for an operator that ONNX does not define."""
    try:
        return defs.get_schema(op_type, opset, domain)
    except defs.SchemaError:
        return None


def check_signature(
    schema: defs.OpSchema, node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]
) -> None:
    """Refuses a node that does not have the form that its schema prescribes.

    Raises:
        NodeRefusal: with what is wrong.
    """
    if schema.deprecated:
        raise NodeRefusal(f"deprecated since opset {schema.since_version}")
    _check_count("input", len(node.input), schema.min_input, schema.max_input)
    _check_count("output", len(node.output), schema.min_output, schema.max_output)
    required = defs.OpSchema.FormalParameterOption.Single
    for index, (name, formal) in enumerate(zip(node.input, schema.inputs, strict=False)):
        if name == "" and formal.option == required:
            raise _malformed(f"input {index} ({formal.name}) is missing")
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in attributes:
            raise _malformed(f"attribute {name!r} is missing")
    for name, proto in attributes.items():
        known = schema.attributes.get(name)
        if known is None:
            raise _malformed(f"attribute {name!r} is unknown to opset {schema.since_version}")
        expected = str(known.type).removeprefix("AttrType.")
        if attribute_kind(proto) != expected:
            raise _malformed(f"attribute {name!r} is {attribute_kind(proto)}, not {expected}")


def _check_count(what: str, count: int, least: int, most: int) -> None:
    if not least <= count <= most:
        range_ = str(least) if least == most else f"{least} to {most}"
        raise _malformed(f"has {count} {what}s where the operator takes {range_}")


def _malformed(reason: str) -> NodeRefusal:
    return NodeRefusal(reason, code=Code.MODEL_MALFORMED)
