"""A look at the bytes of a model file before they are parsed: how much structure is in them?

Parsed, a field of two bytes takes dozens: a file of nothing but tiny fields would fill the
memory. Tensor data is stored as it is, so only the other bytes are limited. The wire format is
protobuf's (https://protobuf.dev/programming-guides/encoding/), the field numbers are onnx.proto's.
"""

from collections.abc import Mapping
from typing import Union

from lepton_cc.frontend.limits import MAX_STRUCTURE_BYTES, MAX_WIRE_FIELDS

# Field number -> the layout of the message in it, or DATA for content that parsing only copies.
Layout = Mapping[int, Union["Layout", str]]
DATA = "data"
_TENSOR: Layout = {4: DATA, 9: DATA, 10: DATA}
_ATTRIBUTE: Layout = {4: DATA, 5: _TENSOR, 7: DATA}
_NODE: Layout = {5: _ATTRIBUTE}
_GRAPH: Layout = {1: _NODE, 5: _TENSOR}
_MODEL: Layout = {7: _GRAPH, 25: {7: _NODE}}


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128 or shift > 63:
            return number, at
        shift += 7


def has_too_much_structure(content: bytes) -> bool:
    """True if parsing the model would take far more memory than its bytes.

    Malformed bytes are left to the parser to find.
    """
    view = memoryview(content)
    structure = fields = 0
    pending: list[tuple[int, int, Layout]] = [(0, len(content), _MODEL)]
    while pending:
        at, end, layout = pending.pop()
        try:
            while at < end:
                start = at
                fields += 1
                if fields > MAX_WIRE_FIELDS:
                    return True
                tag, at = _varint(view, at)
                inner: Layout | str | None = None
                match tag & 7:
                    case 0:
                        _, at = _varint(view, at)
                    case 1:
                        at += 8
                    case 2:
                        length, at = _varint(view, at)
                        inner = layout.get(tag >> 3)
                        if isinstance(inner, Mapping):
                            pending.append((at, min(at + length, end), inner))
                        at += length
                    case 5:
                        at += 4
                    case _:
                        at = end
                if inner is None:
                    structure += at - start
        except IndexError:
            continue
        if structure > MAX_STRUCTURE_BYTES:
            return True
    return False
