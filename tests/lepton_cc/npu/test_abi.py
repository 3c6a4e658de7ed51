"""Layouts that Python and the emulator share; the same numbers are asserted in its device.c."""

import ctypes

from lepton_cc.codegen.npu.machine import native
from lepton_cc.npu import abi
from tests.lepton_cc.npu.engine_streams import SYSTEM


def test_sizes() -> None:
    assert ctypes.sizeof(abi.Config) == 4 * (24 + 2 * 5 * 16)
    assert ctypes.sizeof(abi.Cycles) == 80
    assert ctypes.sizeof(abi.Retired) == 32 + 80


def test_the_family_of_c_is_that_of_python() -> None:
    library = abi.emulator_library()
    constants, system = SYSTEM.constants, SYSTEM.system
    for macs in (64, 128, 256, 1024):
        config = abi.Config()
        known = library.lpt_config_native(
            ctypes.byref(config),
            macs,
            abi.Port(constants.rate, constants.latency),
            abi.Port(system.rate, system.latency),
        )
        assert known == 1
        assert bytes(config) == bytes(abi.config_of(native(macs, SYSTEM)))
    assert (
        library.lpt_config_native(ctypes.byref(abi.Config()), 96, abi.Port(1, 0), abi.Port(1, 0))
        == 0
    )
