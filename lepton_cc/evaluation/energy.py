"""An estimate of a run's energy: multiply-adds and bytes times published coefficients.

Never a measurement: no chip was on a meter. docs/energy.md states sources and limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_cc.ir.dtype import DType
from lepton_cc.report import LayerReport, MemoryReport


@dataclass(frozen=True, slots=True)
class EnergyCoefficients:
    """Picojoules for a multiply-add and for a byte.

    Horowitz, "Computing's energy problem", ISSCC 2014, figure 1.1.9 (45 nm, 0.9 V): an 8-bit
    multiplication 0.2 and a 32-bit addition 0.1; a binary32 multiplication 3.7 and addition 0.9;
    8 bytes of a 32 KiB memory 20, of a 1 MiB memory 100.
    """

    integer_mac: float = 0.2 + 0.1
    float_mac: float = 3.7 + 0.9
    ram_byte: float = 20 / 8
    constant_byte: float = 100 / 8


COEFFICIENTS = EnergyCoefficients()


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """Picojoules of one run, by what they are spent on."""

    multiply_adds: float
    ram: float
    constants: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.multiply_adds + self.ram + self.constants


def energy_estimate(
    layers: Sequence[LayerReport],
    memory: MemoryReport,
    by: EnergyCoefficients = COEFFICIENTS,
) -> EnergyEstimate:
    """Each buffer of each kernel moves once, constants come from the large memory.

    A layer multiplies floats if its result is float; of a last layer that dequantizes its own sums
    this is too much.
    """
    macs = sum(
        layer.num_macs * (by.float_mac if DType(layer.dtype).is_float else by.integer_mac)
        for layer in layers
    )
    moved = sum(layer.read_bytes + layer.written_bytes for layer in layers)
    activations = max(0, moved - memory.constants_bytes)
    return EnergyEstimate(
        macs, activations * by.ram_byte, memory.constants_bytes * by.constant_byte
    )
