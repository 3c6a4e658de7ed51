"""The stack that the driver takes on the control core, read from the compiler's listing."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lepton_cc import runtime_c
from lepton_cc.artifacts.stack.builtins import builtin_stack_bytes
from lepton_cc.artifacts.stack.listing import Function, read_functions
from lepton_cc.linking import ControlCoreConfig, npu_sources
from lepton_cc.linking.toolchain import ToolchainKind
from lepton_cc.runtime_c import npu_driver
from tests.lepton_cc.firmware import HARD_FLOAT, SOFT_FLOAT, toolchain_for
from tests.runtime_c.npu_driver.bindings import HEADER, ROOT

BUS = {"read_register", "write_register", "wait_for_interrupt", "lepton_board_sleep"}


@dataclass(frozen=True, slots=True)
class Frame:
    own_bytes: int
    callees: frozenset[str]
    calls_pointers: bool


def _frame(function: Function) -> Frame:
    own, callees, pointers = 0, set(), False
    for instruction in function.instructions:
        if instruction.mnemonic == "addi" and instruction.operands[:2] == ("sp", "sp"):
            own += max(0, -int(instruction.operands[2]))
        elif instruction.mnemonic in {"call", "tail"}:
            callees.add(instruction.operands[0])
        elif instruction.mnemonic == "jalr":
            pointers = True
    return Frame(own, frozenset(callees), pointers)


def _frames(config: ControlCoreConfig, folder: Path) -> dict[str, Frame]:
    toolchain = toolchain_for(config)
    if toolchain.kind is ToolchainKind.GCC:
        pytest.skip("the listing's reader knows clang's")
    frames: dict[str, Frame] = {}
    for source in npu_sources():
        out = folder / f"{source.stem}.s"
        subprocess.run(
            [
                *toolchain.command, *toolchain.target_arguments(config.march, config.mabi),
                "-std=c99", "-O2", "-ffreestanding", "-fno-builtin", "-S", str(source),
                f"-I{ROOT / 'include'}", f"-I{ROOT / 'boards' / 'control_core'}", "-o", str(out),
            ],
            check=True,
        )  # fmt: skip
        frames |= {f.name: _frame(f) for f in read_functions(out.read_text(encoding="utf-8"))}
    return frames


def _total(frames: Mapping[str, Frame], name: str, bus_bytes: int) -> int:
    if name not in frames:
        assert name == "lepton_board_sleep", name
        return 0
    frame = frames[name]
    below = [_total(frames, callee, bus_bytes) for callee in frame.callees]
    return frame.own_bytes + max([*below, bus_bytes if frame.calls_pointers else 0, 0])


def _define(name: str) -> int:
    found = re.search(rf"#define {name} (\d+)", HEADER.read_text(encoding="utf-8"))
    assert found
    return int(found[1])


def test_python_and_the_header_state_the_same_bound() -> None:
    assert Path(runtime_c.__file__).parent == ROOT
    assert _define("LEPTON_NPU_STACK_BYTES") == npu_driver.CALL_STACK_BYTES
    for name in npu_driver.CALLS:
        assert builtin_stack_bytes(name) == npu_driver.CALL_STACK_BYTES


@pytest.mark.parametrize("config", [SOFT_FLOAT, HARD_FLOAT], ids=["rv32imc", "rv32imafc"])
def test_the_bound_holds(config: ControlCoreConfig, tmp_path: Path) -> None:
    frames = _frames(config, tmp_path)
    bus_bytes = _define("LEPTON_NPU_BUS_STACK_BYTES")
    assert all(_total(frames, name, 0) <= bus_bytes for name in BUS)
    needed = {name: _total(frames, name, bus_bytes) for name in npu_driver.CALLS}
    # Not so far below that the constant has lost its sense.
    assert needed[npu_driver.INVOKE] > npu_driver.CALL_STACK_BYTES // 2
    assert max(needed.values()) <= npu_driver.CALL_STACK_BYTES
