"""A machine that streams are made for: a member of the family, its system's ports, its rates.

The cycle equation (docs/lepton-npu.md, section 8) reads nothing else of the machine than this; the
emulator takes the same numbers. Besides the family itself there are two profiles for comparisons.
"""

import dataclasses
import enum
from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.family import ArrayMode, DepthwiseMode, Member, Reduction, member

COST_UNIT = 4096  # epilogue costs are in 1 / 4096 cycle an element
RATE_UNIT = 16  # rates of memories are in 1 / 16 byte a cycle
SETUP_CYCLES = 24
PREFIX_DIVISOR = 4


class Profile(enum.StrEnum):
    """NATIVE: our chip. PARITY: our array with the memories of Arm's Ethos-U55.

    U55_CLONE: the array, output stage, decoder and memories that Arm's Vela 5.2 assumes for U55.
    """

    NATIVE = "native"
    PARITY = "parity"
    U55_CLONE = "u55-clone"


@dataclass(frozen=True, slots=True)
class Port:
    """An external memory: sixteenths of a byte a cycle, and cycles before the first one."""

    rate: int
    latency: int


@dataclass(frozen=True, slots=True)
class System:
    """What surrounds the engine. `shared`: the constants lie in the scratchpad's own memory.

    Then the bytes of weight slices count as scratchpad traffic of the packet that uses them.
    """

    name: str
    description: str
    constants: Port
    system: Port
    shared: bool = False


@dataclass(frozen=True, slots=True)
class EpilogueCosts:
    """Cost of one element in each unit of the epilogue, in 1 / 4096 cycle."""

    requantize: int
    add: int
    mul: int
    table: int
    fused_add: int
    fused_table: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that decides how long a packet takes, and what fits."""

    profile: Profile
    member: Member
    system: System
    costs: EpilogueCosts
    spm_rate: int  # sixteenths of a byte a cycle
    setup_cycles: int = SETUP_CYCLES
    prefix_divisor: int = PREFIX_DIVISOR  # how much slower PREFIX slices are decoded
    separable: bool = True

    def with_spm(self, num_bytes: int) -> "Machine":
        """The machine with another scratchpad."""
        return dataclasses.replace(
            self, member=dataclasses.replace(self.member, spm_bytes=num_bytes)
        )


def native(macs: int, system: System) -> Machine:
    """A member of the family as it is."""
    chip = member(macs)
    cost = COST_UNIT // chip.lanes
    return Machine(
        Profile.NATIVE,
        chip,
        system,
        EpilogueCosts(cost, cost, cost, cost, fused_add=0, fused_table=0),
        spm_rate=chip.spm_bytes_per_cycle * RATE_UNIT,
    )


_U55_SPM_RATE = 8 * RATE_UNIT


def parity(macs: int, system: System) -> Machine:
    """A member with a scratchpad of 8 bytes a cycle."""
    machine = native(macs, system)
    return dataclasses.replace(machine, profile=Profile.PARITY, spm_rate=_U55_SPM_RATE)


def u55_clone(macs: int, system: System) -> Machine:
    """Ethos-U55 as Vela 5.2 models it: 128 or 256 MACs, eight weights a cycle.

    Micro-blocks of 2x1x8 or 2x2x8 outputs take four cycles for 32 products of depth, or for eight
    of depth and four taps; depthwise four cycles for four taps.
    """
    chip = member(macs)
    rows = macs // 128
    clone = dataclasses.replace(
        chip,
        spm_bytes_per_cycle=8,
        decoder_weights=8,
        modes=(
            ArrayMode(rows, 2, 8, 8, Reduction.BY_TAP),
            ArrayMode(rows, 2, 8, 8, Reduction.BY_TAP_GROUP),
        ),
        depthwise_modes=(DepthwiseMode(rows, 2, 8, 4, cycles=4),),
    )
    requantize = COST_UNIT // 4 * 256 // macs
    add, mul = 3 * requantize, 3 * requantize // 2
    costs = EpilogueCosts(
        requantize, add, mul, COST_UNIT, fused_add=add, fused_table=COST_UNIT - requantize
    )
    return Machine(Profile.U55_CLONE, clone, system, costs, spm_rate=_U55_SPM_RATE, separable=False)
