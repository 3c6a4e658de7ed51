"""Which ONNX operators the frontend knows: a table keyed by (domain, op_type, since_version)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.scope import Operand
from lepton_cc.ir.diagnostics import InternalError

# Gives one value (or sequence) for each ONNX output of the node; None for one that nobody reads.
Importer = Callable[[NodeView], Sequence[Operand]]


@dataclass(frozen=True, slots=True)
class Operator:
    """One importer: it serves the operator from `since_version` on, until a newer entry does.

    `domain` is "" for ai.onnx. The importer's docstring states its limits; the table of operators
    in the documentation is made from it.
    """

    domain: str
    op_type: str
    since_version: int
    importer: Importer


class OperatorRegistry:
    """All importers; refuses a duplicate key."""

    def __init__(self, operators: Iterable[Operator]) -> None:
        self._versions: dict[tuple[str, str], dict[int, Operator]] = {}
        for operator in operators:
            versions = self._versions.setdefault((operator.domain, operator.op_type), {})
            if operator.since_version in versions:
                key = (operator.domain, operator.op_type, operator.since_version)
                raise InternalError(f"operator {key} is registered twice")
            versions[operator.since_version] = operator

    def lookup(self, domain: str, op_type: str, opset: int) -> Operator | None:
        """The newest entry whose since_version is not above the model's opset of that domain."""
        versions = self._versions.get((domain, op_type), {})
        usable = [version for version in versions if version <= opset]
        return versions[max(usable)] if usable else None

    def operators(self) -> tuple[Operator, ...]:
        """All entries, sorted by domain, name and version."""
        entries = [entry for versions in self._versions.values() for entry in versions.values()]
        return tuple(sorted(entries, key=lambda e: (e.domain, e.op_type, e.since_version)))
