"""The figures of a machine are enough to make it again."""

import pytest

from lepton_cc.codegen.npu.isa.family import FAMILY
from lepton_cc.codegen.npu.machine import Profile
from lepton_cc.codegen.npu.systems.loader import machine_of as machine_of_target
from lepton_cc.codegen.npu.systems.loader import system_names
from lepton_cc.engine_report.machine_figures import machine_figures, machine_of
from lepton_cc.ir.target import Engine


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("system", system_names())
@pytest.mark.parametrize("spm_bytes", [None, 65536])
def test_figures_keep_the_machine(profile: Profile, system: str, spm_bytes: int | None) -> None:
    members = FAMILY if profile is not Profile.U55_CLONE else FAMILY[1:3]
    for member in members:
        machine = machine_of_target(Engine(member.macs, system, spm_bytes, profile.value))
        assert machine_of(machine_figures(machine)) == machine
