"""ONNX BitCast."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.tensors import DTYPES
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.bitcast import Bitcast


def import_bitcast(node: NodeView) -> Sequence[Value | None]:
    """BitCast between types of one width."""
    number = node.int("to")
    if number not in DTYPES:
        node.refuse(f"type {number} is unknown", code=Code.UNSUPPORTED_TYPE)
    return (node.emit(Bitcast(DTYPES[number]), node.operand(0)),)


OPERATORS = (Operator("", "BitCast", 26, import_bitcast),)
