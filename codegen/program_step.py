"""One call of a program before memory has places: what `assemble` orders and plans."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lepton_cc.codegen.lower.context import Binding, LoweredKernel, Scratch
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op

if TYPE_CHECKING:
    from lepton_cc.codegen.npu.segment import Segment


@dataclass(frozen=True, slots=True)
class ProgramStep:
    """One call before memory has places: the op, its kernel, the scratch that it needs.

    `segment` instead of a kernel: the op runs on the tensor engine.
    """

    op: Op
    lowered: LoweredKernel | None
    scratch: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    segment: "Segment | None" = None

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What the kernel is given; a segment gets its operands and results."""
        if self.lowered is None:
            spilled = self.segment.spilled_bytes if self.segment else 0
            space = (Scratch(DType.I8, spilled),) if spilled else ()
            return (*self.op.inputs, *self.op.results, *space)
        return self.lowered.bindings
