"""The self-test that the compiler puts into payloads, run by the driver on the emulated engine."""

import ctypes
from pathlib import Path

import pytest

from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.payload import Section
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.diagnostics import UsageError
from tests.runtime_c.npu_driver.bindings import (
    AlignedBytes,
    Engine,
    Memory,
    Model,
    code_name,
)
from tests.runtime_c.npu_driver.payloads import patched, repaired, section_place

MODEL = Path(__file__).resolve().parents[3] / "models" / "digits_cnn.onnx"


def options(*, integer_ports: bool = False, self_test: bool = False) -> CompileOptions:
    target = load_target("lepton-npu")
    quantization = quantization_options(None, None, None, target)
    return CompileOptions(
        target, quantization=quantization, integer_ports=integer_ports, self_test=self_test
    )


def self_test(driver: ctypes.CDLL, machine: Machine, content: bytes, result_bytes: int) -> str:
    engine = Engine(machine, driver)
    payload, model = AlignedBytes(content), Model()
    output = ctypes.c_uint32(0)
    result, arena = AlignedBytes(bytes(result_bytes)), AlignedBytes(bytes(16))
    outputs = (ctypes.c_void_p * 1)(result.address)
    inputs = (ctypes.c_void_p * 1)(result.address)
    memory = Memory(arena.address, 16, inputs, outputs, None, 0, None, 0)
    code = driver.lpt_load(
        ctypes.byref(model),
        ctypes.byref(engine.device),
        ctypes.c_void_p(payload.address),
        payload.size_bytes,
    )
    if code_name(code) != "OK":
        return code_name(code)
    return code_name(
        driver.lpt_selftest(
            ctypes.byref(engine.device),
            ctypes.byref(model),
            ctypes.byref(memory),
            ctypes.byref(output),
        )
    )


def test_a_compiled_payload_tests_itself(driver: ctypes.CDLL) -> None:
    program = compile_model(MODEL, options(integer_ports=True, self_test=True)).program
    assert program.engine is not None
    machine, payload = program.engine.machine, program.engine.payload
    assert self_test(driver, machine, payload, 10) == "OK"
    _, constants, _ = section_place(payload, Section.CONSTANTS)
    # The first scale of the first layer, twice as large.
    broken = patched(payload, constants + 2, bytes([payload[constants + 2] ^ 0x80]))
    assert self_test(driver, machine, broken, 10) == "ERROR_SECTION_CRC"
    assert self_test(driver, machine, repaired(broken), 10) == "ERROR_TEST_MISMATCH"


def test_a_model_that_needs_the_core_has_none() -> None:
    with pytest.raises(UsageError, match=r"quantize.*--io=quantized"):
        compile_model(MODEL, options(self_test=True))
