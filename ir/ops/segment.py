"""The segment op: a part of the graph that an accelerator executes in one go."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.ops.composite import Composite


@dataclass(frozen=True, slots=True)
class EngineSegment(Composite):
    """Runs `body` on the operands; placement makes it for the tensor engine of lepton-npu.

    The body has one result for each of its outputs, and means what its ops mean.
    """

    MNEMONIC: ClassVar[str] = "engine_segment"
