"""Drives the tensor engine of lepton-npu from Python: its emulator, built from runtime_c when first used."""

from lepton_cc.npu.engine import Engine
from lepton_cc.npu.results import EngineCounters, EngineFault, EngineRun, RetiredPacket

__all__ = ["Engine", "EngineCounters", "EngineFault", "EngineRun", "RetiredPacket"]
