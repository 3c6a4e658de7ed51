"""Typed access to the attributes of an ONNX node."""

import builtins
from collections.abc import Mapping, Sequence
from typing import TypeVar

import onnx

from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.tensors import sparse_tensor_array, tensor_array
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.tensor import Array

_Kind = onnx.AttributeProto.AttributeType
_T = TypeVar("_T")


def attribute_kind(proto: onnx.AttributeProto) -> str:
    """The name of an attribute's type, such as INTS."""
    if proto.type in _Kind.values():
        return str(_Kind.Name(proto.type))
    return f"unknown type {int(proto.type)}"


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise NodeRefusal(f"attribute {name!r} is not UTF-8", code=Code.MODEL_MALFORMED) from None


class Attributes:
    """The attributes of one node by name; each getter checks the type."""

    def __init__(self, protos: Mapping[str, onnx.AttributeProto]) -> None:
        self.protos = protos

    def __contains__(self, name: str) -> bool:
        return name in self.protos

    def _find(self, name: str, kind: int) -> onnx.AttributeProto | None:
        proto = self.protos.get(name)
        if proto is not None and proto.type != kind:
            raise NodeRefusal(
                f"attribute {name!r} is {attribute_kind(proto)}, not {_Kind.Name(kind)}",
                code=Code.MODEL_MALFORMED,
            )
        return proto

    @staticmethod
    def _default(name: str, default: _T | None) -> _T:
        if default is None:
            raise NodeRefusal(f"attribute {name!r} is missing", code=Code.MODEL_MALFORMED)
        return default

    def int(self, name: str, default: builtins.int | None = None) -> builtins.int:
        """An INT attribute."""
        proto = self._find(name, _Kind.INT)
        return self._default(name, default) if proto is None else builtins.int(proto.i)

    def ints(
        self, name: str, default: Sequence[builtins.int] | None = None
    ) -> tuple[builtins.int, ...]:
        """An INTS attribute."""
        proto = self._find(name, _Kind.INTS)
        return tuple(self._default(name, default) if proto is None else proto.ints)

    def float(self, name: str, default: builtins.float | None = None) -> builtins.float:
        """A FLOAT attribute: a binary32 value."""
        proto = self._find(name, _Kind.FLOAT)
        return self._default(name, default) if proto is None else builtins.float(proto.f)

    def floats(
        self, name: str, default: Sequence[builtins.float] | None = None
    ) -> tuple[builtins.float, ...]:
        """A FLOATS attribute."""
        proto = self._find(name, _Kind.FLOATS)
        return tuple(self._default(name, default) if proto is None else proto.floats)

    def string(self, name: str, default: str | None = None) -> str:
        """A STRING attribute."""
        proto = self._find(name, _Kind.STRING)
        return self._default(name, default) if proto is None else _text(name, proto.s)

    def strings(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A STRINGS attribute."""
        proto = self._find(name, _Kind.STRINGS)
        if proto is None:
            return tuple(self._default(name, default))
        return tuple(_text(name, content) for content in proto.strings)

    def tensor(self, name: str, default: Array | None = None) -> Array:
        """A TENSOR attribute."""
        proto = self._find(name, _Kind.TENSOR)
        return self._default(name, default) if proto is None else tensor_array(proto.t)

    def sparse_tensor(self, name: str) -> Array:
        """A SPARSE_TENSOR attribute, dense."""
        proto = self._find(name, _Kind.SPARSE_TENSOR)
        if proto is None:
            raise NodeRefusal(f"attribute {name!r} is missing", code=Code.MODEL_MALFORMED)
        return sparse_tensor_array(proto.sparse_tensor)

    def graph(self, name: str) -> onnx.GraphProto:
        """A GRAPH attribute."""
        proto = self._find(name, _Kind.GRAPH)
        if proto is None:
            raise NodeRefusal(f"attribute {name!r} is missing", code=Code.MODEL_MALFORMED)
        return proto.g
