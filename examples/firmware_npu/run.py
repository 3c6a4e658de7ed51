"""Runs a firmware image on the emulated control core with its engine, and prints what it prints.

`python run.py FIRMWARE.elf [TARGET]`.
"""

import sys
from pathlib import Path

from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.emulator import ControlCore, EmulatedRun
from lepton_cc.emulator.tensor_engine import TensorEngine


def run(elf: Path, target: str = "lepton-npu") -> EmulatedRun:
    """One run from reset, on the core and the engine that `target` describes."""
    engine = load_target(target).engine
    assert engine is not None, f"{target} has no tensor engine"
    return ControlCore(elf, devices=[TensorEngine(machine_of(engine))]).run({})


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), *sys.argv[2:3]).console, end="")
