"""What a target is: plain data that schedules, emitters, planner and reports read."""

import enum
from dataclasses import dataclass


class Execution(enum.Enum):
    """Where code for a target can run on this machine."""

    NATIVE = "native"  # in process
    CONTROL_CORE = "control-core"  # the RISC-V emulator
    NONE = "none"


class DotProduct(enum.Enum):
    """The instruction that multiplies small integers and adds neighbouring products in 32 bits."""

    NONE = "none"
    PAIRS = "pairs"  # two i16 by two i16: pmaddwd
    QUADS = "quads"  # four u8 by four i8: vpdpbusd

    @property
    def width(self) -> int:
        """Products that one 32-bit lane adds up."""
        return {DotProduct.NONE: 1, DotProduct.PAIRS: 2, DotProduct.QUADS: 4}[self]


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """A memory of the target: its role is its name (sram, flash)."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Engine:
    """The tensor engine beside a control core: which member of lepton-npu, in which system.

    `system` names a built-in system or a TOML file; `spm_bytes`: a scratchpad of another size;
    `profile`: "native", or the name of a machine to compare with.
    """

    macs: int
    system: str
    spm_bytes: int | None = None
    profile: str = "native"


@dataclass(frozen=True, slots=True)
class Target:
    """A CPU (or the control core of an NPU) as code generation sees it.

    vector_bytes: width of a float vector register, 0 without vectors; vector_registers: how many.
    fused_multiply_add: a MulAdd is one instruction. float_unit: binary32 arithmetic in hardware.
    rounding_instructions: floor, ceil, trunc and round-to-even are instructions.
    broadcast_loads: arithmetic takes a scalar from memory as an operand and repeats it.
    matrix_registers: how many registers of 16 rows of 16 words it multiplies, u8 by i8; 0 without.
    """

    name: str
    description: str
    triple: str
    cpu: str
    features: str
    abi: str
    pointer_bits: int
    vector_bytes: int
    vector_registers: int
    fused_multiply_add: bool
    float_unit: bool
    square_root_instruction: bool
    rounding_instructions: bool
    broadcast_loads: bool
    execution: Execution
    dot_product: DotProduct = DotProduct.NONE
    matrix_registers: int = 0
    code_model: str = "default"
    regions: tuple[MemoryRegion, ...] = ()
    notes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    engine: Engine | None = None

    def lanes(self, size_bytes: int) -> int:
        """Elements of a vector register for elements of that size; 1 without vectors."""
        return max(1, self.vector_bytes // size_bytes)

    def region(self, name: str) -> MemoryRegion | None:
        """The region of that name, if the target declares it."""
        return next((region for region in self.regions if region.name == name), None)
