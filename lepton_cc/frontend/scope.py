"""Names and what they stand for while a graph, a subgraph or a function body is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value


class SkippedNode(Exception):
    """A node reads what a refused node should have made; it is passed over without a word."""


class _Poison:
    """What the outputs of a refused node stand for."""


@dataclass(frozen=True, slots=True)
class TensorSequence:
    """An ONNX sequence whose length is known at compile time: it exists only in the frontend."""

    elements: tuple[Value, ...]


POISON = _Poison()
Operand = Value | TensorSequence | None
Binding = Operand | _Poison


@dataclass(slots=True)
class Scope:
    """One level of names; grows while its nodes are imported.

    `opsets` holds the version of each domain, `attributes` what a function was called with,
    `calls` the functions that are being expanded, `label` and `origin` the ONNX node outside.
    """

    opsets: Mapping[str, int]
    parent: "Scope | None" = None
    attributes: Mapping[str, onnx.AttributeProto] = field(default_factory=dict)
    calls: tuple[tuple[str, str, str], ...] = ()
    depth: int = 0
    label: str = ""
    origin: str = ""
    bindings: dict[str, Binding] = field(default_factory=dict)
    later: frozenset[str] = frozenset()

    def bind(self, name: str, binding: Binding) -> None:
        """Gives a name its meaning, once.

        Raises:
            NodeRefusal: the name has one already.
        """
        if name in self.bindings:
            raise NodeRefusal(f"the name {name!r} is defined twice", code=Code.MODEL_MALFORMED)
        self.bindings[name] = binding

    def lookup(self, name: str) -> Operand:
        """The meaning of a name, searched from here outwards; "" is an operand left out.

        Raises:
            NodeRefusal: nothing defines the name before this point.
            SkippedNode: the node that defines it was refused.
        """
        if name == "":
            return None
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bindings:
                binding = scope.bindings[name]
                if isinstance(binding, _Poison):
                    raise SkippedNode
                return binding
            scope = scope.parent
        if name in self.later:
            reason = f"input {name!r} is computed only later, or by a cycle"
            raise NodeRefusal(
                reason, "sort the nodes so that each comes after its inputs", Code.MODEL_MALFORMED
            )
        raise NodeRefusal(f"input {name!r} is defined nowhere", code=Code.MODEL_MALFORMED)
