"""The fused op: a small graph that code generation makes one kernel of."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.ops.composite import Composite


@dataclass(frozen=True, slots=True)
class Fused(Composite):
    """Runs `body` on the operands; the fusion passes make it, code generation gives it one kernel.

    The body has one output. It holds at most one op that is neither pointwise nor movement (the
    anchor); what follows the anchor has its shape and is pointwise.
    """

    MNEMONIC: ClassVar[str] = "fused"
