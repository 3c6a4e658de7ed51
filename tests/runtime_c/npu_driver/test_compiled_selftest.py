"""The self-test that the compiler puts into payloads, run by the driver on the emulated engine."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.codegen.npu.engine_program import EngineProgram
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.payload import Section
from lepton_cc.codegen.npu.payload_reader import decode_payload
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.diagnostics import UsageError
from tests.runtime_c.npu_driver.bindings import (
    AlignedBytes,
    Engine,
    LayerReport,
    Memory,
    Model,
    code_name,
)
from tests.runtime_c.npu_driver.payloads import Sample, patched, repaired, section_place

RESULT_BYTES = 10
MODEL = Path(__file__).resolve().parents[3] / "models" / "digits_cnn.onnx"


def options(*, integer_ports: bool = False, self_test: bool = False) -> CompileOptions:
    target = load_target("lepton-npu")
    quantization = quantization_options(None, None, None, target)
    return CompileOptions(
        target, quantization=quantization, integer_ports=integer_ports, self_test=self_test
    )


class OnEngine:
    """A payload on an engine, with memory for its tests."""

    def __init__(self, driver: ctypes.CDLL, machine: Machine, content: bytes) -> None:
        self.driver = driver
        self.engine = Engine(machine, driver)
        self.payload, self.model = AlignedBytes(content), Model()
        self.report = LayerReport()
        code = driver.lpt_load(
            ctypes.byref(self.model),
            ctypes.byref(self.engine.device),
            ctypes.c_void_p(self.payload.address),
            self.payload.size_bytes,
        )
        self.loaded = code_name(code)

    def self_test(self) -> str:
        result, arena = AlignedBytes(bytes(RESULT_BYTES)), AlignedBytes(bytes(16))
        ports = (ctypes.c_void_p * 1)(result.address)
        memory = Memory(arena.address, 16, ports, ports, None, 0, None, 0)
        output = ctypes.c_uint32(0)
        return self._call(self.driver.lpt_selftest, memory, output)

    @property
    def diagnosis_bytes(self) -> int:
        return int(self.driver.lpt_diagnosis_bytes(ctypes.byref(self.model)))

    def diagnose(self, state_bytes: int) -> str:
        state = AlignedBytes(bytes(state_bytes))
        memory = Memory(None, 0, None, None, state.address, state_bytes, None, 0)
        found = self._call(self.driver.lpt_diagnose, memory, self.report)
        assert len(state.content) == state_bytes
        return found

    def _call(self, function: Any, memory: Memory, result: Any) -> str:
        device, model = ctypes.byref(self.engine.device), ctypes.byref(self.model)
        return code_name(function(device, model, ctypes.byref(memory), ctypes.byref(result)))


@pytest.fixture(scope="module")
def program() -> EngineProgram:
    found = compile_model(MODEL, options(integer_ports=True, self_test=True)).program.engine
    assert found is not None
    return found


def test_a_compiled_payload_tests_itself(driver: ctypes.CDLL, program: EngineProgram) -> None:
    machine, payload = program.machine, program.payload
    assert OnEngine(driver, machine, payload).self_test() == "OK"
    _, constants, _ = section_place(payload, Section.CONSTANTS)
    # The first scale of the first layer, twice as large.
    broken = patched(payload, constants + 2, bytes([payload[constants + 2] ^ 0x80]))
    assert OnEngine(driver, machine, broken).loaded == "ERROR_SECTION_CRC"
    assert OnEngine(driver, machine, repaired(broken)).self_test() == "ERROR_TEST_MISMATCH"


def test_the_first_layer_that_differs_is_named(driver: ctypes.CDLL, program: EngineProgram) -> None:
    machine, payload = program.machine, program.payload
    good = OnEngine(driver, machine, payload)
    assert good.diagnose(good.diagnosis_bytes) == "OK"
    assert good.diagnose(good.diagnosis_bytes - 16) == "ERROR_SMALL_BUFFER"
    names = [record.nodes for record in decode_payload(payload).layers if record.segment == 1]
    layers = [str(layer.location) for layer in program.segments[0].layers]
    assert names == layers
    _, constants, size = section_place(payload, Section.CONSTANTS)
    named = set()
    for scale in range(constants + 2, constants + size, 400):
        broken = patched(payload, scale, bytes([payload[scale] ^ 0x80]))
        tested = OnEngine(driver, machine, repaired(broken))
        if tested.diagnose(good.diagnosis_bytes) == "ERROR_TEST_MISMATCH":
            assert tested.report.nodes.decode() == names[tested.report.layer - 1]
            named.add(tested.report.layer)
    # Several layers have weights that one of these hits.
    assert len(named) > 1


def test_a_payload_without_results_of_layers(driver: ctypes.CDLL, payload: Sample) -> None:
    tested = OnEngine(driver, payload.machine, payload.payload)
    assert (tested.loaded, tested.diagnosis_bytes) == ("OK", 0)
    assert tested.diagnose(64) == "ERROR_NO_TEST"


def test_a_model_that_needs_the_core_has_none() -> None:
    with pytest.raises(UsageError, match=r"quantize.*--io=quantized"):
        compile_model(MODEL, options(self_test=True))
