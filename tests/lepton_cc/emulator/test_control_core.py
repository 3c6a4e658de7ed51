"""The emulated control core: results, exact counts, devices."""

from pathlib import Path

import numpy as np
import pytest
import unicorn
from numpy.typing import NDArray
from unicorn import riscv_const

from lepton_cc.emulator import Bus, ControlCore
from lepton_cc.emulator.image import Image, read_image
from lepton_cc.ir.diagnostics import Code, Refused
from lepton_cc.linking import ControlCoreConfig
from tests.lepton_cc.emulator.models import MATMUL, NOTHING, SIZE, WITH_DEVICE
from tests.lepton_cc.firmware import HARD_FLOAT, SOFT_FLOAT, link_model


def _matmul_inputs() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    return x, np.array([-(10**12) - 3, 1234567], np.int64)


def _matmul_bytes() -> dict[str, bytes]:
    x, y = _matmul_inputs()
    return {"x": x.tobytes(), "y": y.tobytes()}


def _sequential_matmul(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Adds in the order of the C loop, each product rounded."""
    result = np.zeros((SIZE, SIZE), np.float32)
    for k in range(SIZE):
        result += x[:, k : k + 1] * x[k : k + 1, :]
    return result


def _count_slowly(image: Image, inputs: dict[str, bytes]) -> int:
    """Counts the instructions of the model's run with a hook on each, sharing nothing with ours."""
    core = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
    core.mem_map(image.flash.begin, image.flash.size_bytes)
    core.mem_map(image.sram.begin, image.sram.size_bytes)
    core.mem_map(0x10000000, 0x1000)
    for segment in image.segments:
        core.mem_write(segment.address, segment.data)
    for port in image.inputs:
        core.mem_write(port.address, inputs[port.name])
    names = {function.name: function.begin for function in image.functions}
    entry = names["matmul_run"]
    state = {"count": 0, "return": 0}

    def step(uc: unicorn.Uc, address: int, _size: int, _data: object) -> None:
        if address == entry:
            state["return"] = uc.reg_read(riscv_const.UC_RISCV_REG_RA)
        if address == state["return"]:
            uc.emu_stop()
        elif state["return"]:
            state["count"] += 1

    core.hook_add(unicorn.UC_HOOK_CODE, step)
    core.emu_start(image.entry, image.flash.end)
    return state["count"]


@pytest.mark.parametrize("config", [SOFT_FLOAT, HARD_FLOAT], ids=["rv32imc", "rv32imafc"])
def test_runs_and_counts_exactly(config: ControlCoreConfig, tmp_path: Path) -> None:
    image = link_model(MATMUL, config, tmp_path)
    core = ControlCore(image.path)
    run = core.run(_matmul_bytes())
    x, y = _matmul_inputs()
    z = np.frombuffer(run.outputs["z"], np.float32).reshape(SIZE, SIZE)
    if config is SOFT_FLOAT:
        np.testing.assert_array_equal(z, _sequential_matmul(x))
    else:  # the compiler may contract to fused multiply-adds
        np.testing.assert_allclose(z, _sequential_matmul(x), rtol=1e-4, atol=1e-5)
    quotient = -(-int(y[0]) // int(y[1]))
    product = int(y[0]) * int(y[1])
    assert np.frombuffer(run.outputs["q"], np.int64).tolist() == [quotient, product, 42 + 55]
    assert run.instructions == _count_slowly(read_image(image.path), _matmul_bytes())
    assert sum(run.instructions_by_function.values()) == run.instructions
    assert run.instructions_by_function["matmul_run"] > SIZE**3
    assert ("__mulsf3" in run.instructions_by_function) == (config is SOFT_FLOAT)
    # Eleven frames of at least 64 bytes, in a stack of 8 KiB.
    assert 11 * 64 < run.stack_high_water_bytes < 4096
    assert run.console == ""


def test_runs_are_independent_and_reproducible(tmp_path: Path) -> None:
    core = ControlCore(link_model(MATMUL, SOFT_FLOAT, tmp_path).path)
    first, second = core.run(_matmul_bytes()), core.run(_matmul_bytes())
    assert first.outputs == second.outputs
    assert first.instructions_by_function == second.instructions_by_function
    assert first.stack_high_water_bytes == second.stack_high_water_bytes


def test_image_describes_its_buffers(tmp_path: Path) -> None:
    core = ControlCore(link_model(MATMUL, SOFT_FLOAT, tmp_path).path)
    sizes = {port.name: port.size_bytes for port in (*core.inputs, *core.outputs)}
    assert sizes == {"x": 4 * SIZE**2, "y": 16, "z": 4 * SIZE**2, "q": 24}


def test_model_without_inputs_or_arena(tmp_path: Path) -> None:
    run = ControlCore(link_model(NOTHING, SOFT_FLOAT, tmp_path).path).run({})
    assert run.outputs == {"z": b"\x01\xff\x01"}


class _Doubler:
    """Doubles the word whose address is stored to register 4; register 8 counts the requests."""

    base = 0x40000000
    size_bytes = 0x1000

    def __init__(self) -> None:
        self.num_requests = 0

    def connect(self, bus: Bus) -> None:
        self.num_requests = 0
        self._bus = bus

    def load(self, offset: int, size_bytes: int) -> int:
        assert (offset, size_bytes) == (8, 4)
        return self.num_requests

    def store(self, offset: int, size_bytes: int, value: int) -> None:
        assert (offset, size_bytes) == (4, 4)
        word = int.from_bytes(self._bus.read(value, 4), "little")
        self._bus.write(value, (2 * word).to_bytes(4, "little"))
        self.num_requests += 1


def test_device_is_bus_master(tmp_path: Path) -> None:
    image = link_model(WITH_DEVICE, SOFT_FLOAT, tmp_path)
    core = ControlCore(image.path, devices=[_Doubler()])
    for _ in range(2):
        run = core.run({"x": (21).to_bytes(4, "little")})
        assert np.frombuffer(run.outputs["z"], np.int32).tolist() == [42, 1]


def test_wrong_inputs_are_refused_together(tmp_path: Path) -> None:
    core = ControlCore(link_model(MATMUL, SOFT_FLOAT, tmp_path).path)
    with pytest.raises(Refused) as refusal:
        core.run({"x": b"123", "w": b""})
    codes = {diagnostic.code for diagnostic in refusal.value.diagnostics}
    messages = "\n".join(diagnostic.message for diagnostic in refusal.value.diagnostics)
    assert codes == {Code.BAD_INPUT_DATA}
    assert "no input 'w'" in messages
    assert f"'x' takes {4 * SIZE**2} bytes, 3 were given" in messages
    assert "'y' is missing" in messages


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no elf at all" * 100])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.elf"
    path.write_bytes(content)
    with pytest.raises(Refused, match="no image for the control core"):
        ControlCore(path)
