"""NAME_start, NAME_poll, NAME_finish: a model of two segments, as C on the host and on the core."""

import ctypes
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lepton_cc
from examples.firmware_npu import generate, run
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.linking import application_glue, link_elf, npu_sources
from lepton_cc.runtime_c.status import Status
from tests.lepton_cc.firmware import SOFT_FLOAT, toolchain_for
from tests.runtime_c.npu_driver.bindings import (
    INCLUDES,
    WARNINGS,
    AlignedBytes,
    Engine,
    build,
    host_compiler,
)

SHAPE = (1, 3, 8, 8)
_TASK_BYTES = 1024

_APPLICATION = """
#include "lepton/application.h"
#include "two.h"

LEPTON_ALIGNED(16) static float x[192];
LEPTON_ALIGNED(16) static float first[256], second[256];
LEPTON_ALIGNED(16) static uint8_t arena[two_ARENA_BYTES];
static lepton_npu_task task;

lepton_status lepton_application(void)
{
    const two_inputs in = {x};
    const two_outputs out = {first}, again = {second};
    lepton_status status;
    uint32_t i, num_busy = 0u, num_different = 0u;

    for (i = 0u; i < 192u; ++i) {
        x[i] = (float)(i % 7u) - 3.0f;
    }
    status = two_run(&in, &out, arena);
    if (status == LEPTON_OK) {
        status = two_start(&task, &in, &again, arena);
    }
    while (status == LEPTON_OK && (status = two_poll(&task)) == LEPTON_BUSY) {
        ++num_busy;
        status = LEPTON_OK;
        if (task.step == 2u) {
            break;
        }
    }
    if (status == LEPTON_OK) {
        status = two_finish(&task);
    }
    for (i = 0u; i < 256u; ++i) {
        num_different += first[i] != second[i] ? 1u : 0u;
    }
    lepton_board_print(num_different == 0u && num_busy != 0u ? "same" : "different");
    return status;
}
"""


def _two_segments() -> onnx.ModelProto:
    """Convolution, softmax on the core, convolution."""
    rng = np.random.default_rng(0)
    nodes, weights = [helper.make_node("Softmax", ["a"], ["s"], axis=1)], []
    for x, y, size in (("x", "a", (8, 3, 3, 3)), ("s", "y", (4, 8, 3, 3))):
        array = rng.normal(size=size).astype(np.float32)
        weights.append(numpy_helper.from_array(array, f"{y}.w"))
        nodes.append(helper.make_node("Conv", [x, f"{y}.w"], [y], pads=[1] * 4))
    nodes = [nodes[1], nodes[0], nodes[2]]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size, 8, 8))]
        for name, size in (("x", 3), ("y", 4))
    )
    graph = helper.make_graph(nodes, "two", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `c` and `obj`: a header goes with either."""
    folder = tmp_path_factory.mktemp("asynchronous")
    samples = {"x": np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)}
    model = lepton_cc.compile(_two_segments(), target="lepton-npu", name="two", calibrate=samples)
    assert [call.segment for call in model.compilation.program.calls] == [None, 0, None, 1, None]
    for kind in ("c", "obj"):
        model.save(folder / kind, emit=[kind])
    return folder


class Two:
    """The generated C in this process, with its memory."""

    def __init__(self, code: ctypes.CDLL, engine: Engine, driver: ctypes.CDLL) -> None:
        self.code = code
        self.engine = engine
        driver.choose_bus(ctypes.byref(engine.host.bus))
        x = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
        self.x, self.y = AlignedBytes(x.tobytes()), AlignedBytes(bytes(4 * 256))
        self.arena, self.task = AlignedBytes(bytes(4096)), AlignedBytes(bytes(_TASK_BYTES))
        self.inputs = (ctypes.c_void_p * 1)(self.x.address)
        self.outputs = (ctypes.c_void_p * 1)(self.y.address)

    def call(self, name: str, *arguments: object) -> Status:
        return Status(getattr(self.code, f"two_{name}")(*arguments))

    @property
    def ports(self) -> tuple[object, ...]:
        return self.inputs, self.outputs, ctypes.c_void_p(self.arena.address)

    def start(self) -> Status:
        return self.call("start", ctypes.c_void_p(self.task.address), *self.ports)

    def poll(self) -> Status:
        return self.call("poll", ctypes.c_void_p(self.task.address))

    def finish(self) -> Status:
        return self.call("finish", ctypes.c_void_p(self.task.address))


@pytest.fixture(scope="module")
def two(compiled: Path, driver: ctypes.CDLL) -> Two:
    ctypes.CDLL(driver._name, mode=ctypes.RTLD_GLOBAL)
    folder = compiled / "c"
    payload, out = compiled / "payload.c", compiled / "two.so"
    payload.write_text(generate.payload_source("two", (folder / "two.lpt").read_bytes()))
    build(
        host_compiler(), "-std=c99", "-O1", "-fPIC", "-shared", "-ffp-contract=off", *WARNINGS,
        *INCLUDES, f"-Wa,-I{folder}", str(folder / "two.c"), str(folder / "two_weights.S"),
        str(payload), "-o", str(out),
    )  # fmt: skip
    described = load_target("lepton-npu").engine
    assert described is not None
    return Two(ctypes.CDLL(str(out)), Engine(machine_of(described), driver), driver)


def test_polled_and_finished_runs_are_the_run(two: Two) -> None:
    assert two.call("run", *two.ports) is Status.OK
    expected = two.y.content
    for ends in (two.poll, two.finish):
        two.y.fill(b"\x55")
        assert two.start() is Status.OK
        statuses = [two.poll() for _ in range(3)]
        assert set(statuses) == {Status.BUSY}
        while (status := ends()) is Status.BUSY:
            pass
        assert status is two.poll() is two.finish() is Status.OK
        assert two.y.content == expected


def test_errors_last(two: Two) -> None:
    inputs, outputs, arena = two.ports
    task = ctypes.c_void_p(two.task.address)
    assert two.call("start", task, None, outputs, arena) is Status.ERROR_NULL_ARGUMENT
    assert two.call("start", None, *two.ports) is Status.ERROR_NULL_ARGUMENT
    assert two.call("poll", None) is two.call("finish", None) is Status.ERROR_NULL_ARGUMENT
    misaligned = ctypes.c_void_p(two.arena.address + 4)
    assert two.call("start", task, inputs, outputs, misaligned) is Status.ERROR_MISALIGNED_ARENA
    # A board without an engine.
    two.engine.library.choose_bus(None)
    assert two.start() is Status.ERROR_NULL_ARGUMENT
    assert two.poll() is two.finish() is Status.ERROR_NULL_ARGUMENT
    two.engine.library.choose_bus(ctypes.byref(two.engine.host.bus))
    assert two.start() is two.finish() is Status.OK


@pytest.mark.slow
def test_the_core_gives_the_same(compiled: Path, tmp_path: Path) -> None:
    source = tmp_path / "application_code.c"
    source.write_text(_APPLICATION, encoding="utf-8")
    image = link_elf(
        [compiled / "obj" / "two.o"],
        application_glue(),
        config=SOFT_FLOAT,
        toolchain=toolchain_for(SOFT_FLOAT),
        out=tmp_path / "two.elf",
        include_dirs=[compiled / "obj"],
        extra_sources=[*npu_sources(), source],
    )
    assert run.run(image.path).console == "same"
