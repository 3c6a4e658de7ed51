"""Runs linked firmware of the control core on the host, counting its instructions exactly."""

from lepton_cc.emulator.control_core import ControlCore, EmulatedRun
from lepton_cc.emulator.devices import Bus, ClockedDevice, MappedDevice

__all__ = ["Bus", "ClockedDevice", "ControlCore", "EmulatedRun", "MappedDevice"]
