"""How an ONNX file writes its quantization, and the file with its integer tensors as outputs.

Read by verification, which compares what lies between the layers with ONNX Runtime's.
"""

import enum
from dataclasses import dataclass
from pathlib import Path

import onnx

from lepton_cc.frontend.importer import read_model
from lepton_cc.frontend.model_source import ModelSource

_QUANTIZE = frozenset({"QuantizeLinear"})
_DEQUANTIZE = frozenset({"DequantizeLinear"})
_INTEGER_OPERATORS = frozenset({"ConvInteger", "MatMulInteger", "QGemm", "DynamicQuantizeMatMul"})
_LARGEST_MESSAGE_BYTES = 2**31 - 1


class Form(enum.Enum):
    """Quantized operators, or float operators between QuantizeLinear and DequantizeLinear."""

    OPERATORS = "operators"
    QDQ = "QDQ"


@dataclass(frozen=True, slots=True)
class QuantizedForm:
    """The forms that a model uses, and its integer activations by ONNX name in model order."""

    forms: frozenset[Form]
    tensors: tuple[str, ...]


def quantized_form(source: ModelSource) -> QuantizedForm:
    """Looks at the nodes of the main graph.

    Raises:
        Refused: the file cannot be read as a model.
    """
    graph = _message(source).graph
    dequantized = {out for n in graph.node if n.op_type in _DEQUANTIZE for out in n.output}
    forms: set[Form] = set()
    tensors: list[str] = []
    for node in graph.node:
        if node.op_type.startswith("QLinear") or node.op_type in _INTEGER_OPERATORS:
            forms.add(Form.OPERATORS)
        elif node.op_type not in _QUANTIZE | _DEQUANTIZE and dequantized.intersection(node.input):
            forms.add(Form.QDQ)
        if node.op_type in _QUANTIZE or node.op_type.startswith(("QLinear", "QGemm")):
            tensors += node.output[:1]
    return QuantizedForm(frozenset(forms), tuple(dict.fromkeys(tensors)))


def with_outputs(source: ModelSource, names: tuple[str, ...]) -> bytes | None:
    """The model with tensors of its main graph as further outputs; None if it is too large.

    Raises:
        Refused: the file cannot be read as a model.
    """
    if isinstance(source, Path):
        read_model(source)
        message = onnx.load(source)  # with its external data
    else:
        message = onnx.ModelProto()
        message.CopyFrom(source)
    there = {output.name for output in message.graph.output}
    message.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in there)
    if message.ByteSize() > _LARGEST_MESSAGE_BYTES:
        return None
    content: bytes = message.SerializeToString()
    return content


def _message(source: ModelSource) -> onnx.ModelProto:
    return read_model(source) if isinstance(source, Path) else source
