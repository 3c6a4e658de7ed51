"""The machine of a report: its figures from a machine, and the machine from its figures."""

from collections.abc import Callable, Mapping

from lepton_cc.codegen.npu.machine import (
    RATE_UNIT,
    Machine,
    Port,
    Profile,
    System,
    native,
    parity,
    u55_clone,
)
from lepton_cc.engine_report.document import MachineFigures, PortFigures

_MAKERS: Mapping[Profile, Callable[[int, System], Machine]] = {
    Profile.NATIVE: native,
    Profile.PARITY: parity,
    Profile.U55_CLONE: u55_clone,
}


def machine_figures(machine: Machine) -> MachineFigures:
    """The machine in a report's units."""
    chip, system = machine.member, machine.system
    return MachineFigures(
        chip.name,
        chip.macs,
        machine.profile.value,
        chip.spm_bytes,
        chip.wbuf_bytes,
        system.name,
        system.description,
        _port(system.constants),
        _port(system.system),
        system.shared,
    )


def _port(port: Port) -> PortFigures:
    return PortFigures(port.rate / RATE_UNIT, port.latency)


def machine_of(figures: MachineFigures) -> Machine:
    """The machine that the figures are of: a member of the family, in its system."""
    system = System(
        figures.system,
        figures.system_description,
        _restored_port(figures.constants_port),
        _restored_port(figures.system_port),
        figures.shared,
    )
    machine = _MAKERS[Profile(figures.profile)](figures.macs, system)
    return machine.with_spm(figures.spm_bytes)


def _restored_port(port: PortFigures) -> Port:
    return Port(round(port.bytes_per_cycle * RATE_UNIT), port.latency)
