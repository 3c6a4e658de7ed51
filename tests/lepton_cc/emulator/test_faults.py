"""Firmware that fails: every way gives one clear error with the place, and none hangs."""

from pathlib import Path

import pytest

from lepton_cc.emulator import ControlCore
from lepton_cc.ir.diagnostics import Code, Refused
from tests.lepton_cc.emulator.models import BROKEN
from tests.lepton_cc.firmware import SOFT_FLOAT, link_model

IN_MODEL = r"0x200[0-9a-f]{5} \(broken_run\+0x[0-9a-f]+\)"

FAULTS = (
    (0, r"the model returned LEPTON_ERROR_INDEX_OUT_OF_RANGE \(-4\)"),
    (1, rf"illegal instruction at {IN_MODEL}"),
    (2, rf"read of memory at 0x00000000 \(4 bytes\) at {IN_MODEL}"),
    (3, rf"write to read-only memory at 0x200[0-9a-f]{{5}} \(4 bytes\) at {IN_MODEL}"),
    (4, rf"still running after 1000000 instructions, at {IN_MODEL}"),
    (5, r"the stack of 8192 bytes overflowed at 0x200[0-9a-f]{5} \(endless\+0x[0-9a-f]+\)"),
    (6, rf"jump to non-executable memory at 0x80[0-9a-f]{{6}}, return address {IN_MODEL}"),
    (7, rf"environment call at {IN_MODEL}"),
    (8, rf"illegal instruction at {IN_MODEL}"),
    (9, r"the core stopped without an exit, at 0x200[0-9a-f]{5}"),
    (10, rf"waits for an interrupt that will not come, at {IN_MODEL}"),
    (11, r"the model wrote to 0x80[0-9a-f]{6}, 4 bytes into 'z' of 4"),
    (12, r"the model changed its input 'how'"),
    (13, r"the model wrote to 0x80[0-9a-f]{6}, 30 bytes into 'arena' of 30"),
)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> ControlCore:
    image = link_model(BROKEN, SOFT_FLOAT, tmp_path_factory.mktemp("broken"))
    return ControlCore(image.path, instruction_limit=1_000_000)


@pytest.mark.parametrize(("how", "message"), FAULTS)
def test_fault_names_its_place(broken: ControlCore, how: int, message: str) -> None:
    with pytest.raises(Refused, match=message) as refusal:
        broken.run({"how": how.to_bytes(4, "little")})
    (diagnostic,) = refusal.value.diagnostics
    assert diagnostic.code is Code.EMULATION_FAULT


def test_status_is_announced_on_the_console(broken: ControlCore) -> None:
    with pytest.raises(Refused, match="it printed: lepton: the model returned an error"):
        broken.run({"how": (0).to_bytes(4, "little")})


def test_fault_leaves_the_core_usable(broken: ControlCore) -> None:
    with pytest.raises(Refused):
        broken.run({"how": (2).to_bytes(4, "little")})
    assert broken.run({"how": (99).to_bytes(4, "little")}).outputs == {"z": b"\x01\0\0\0"}


def test_image_without_the_table_is_refused(tmp_path: Path) -> None:
    image = link_model(BROKEN, SOFT_FLOAT, tmp_path)
    data = image.path.read_bytes()
    image.path.write_bytes(data.replace(b"lepton_board_the_model", b"lepton_board_no_model!"))
    with pytest.raises(Refused, match="'lepton_board_the_model' is missing"):
        ControlCore(image.path)
