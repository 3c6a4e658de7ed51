"""Drives the tensor engine of lepton-npu from Python.

The engine is the emulator of `runtime_c/npu/emulator`, built when it is first used.
"""

from lepton_cc.npu.engine import Engine
from lepton_cc.npu.results import EngineCounters, EngineFault, EngineRun, RetiredPacket

__all__ = ["Engine", "EngineCounters", "EngineFault", "EngineRun", "RetiredPacket"]
