"""Quantized models compiled for lepton-npu, for the tests of what is told about them."""

from functools import cache
from pathlib import Path

from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import Compilation, CompileOptions, compile_model
from lepton_cc.engine_report.document import EngineReport
from lepton_cc.engine_report.program_report import program_report

MODELS = Path(__file__).resolve().parents[3] / "models"


@cache
def compiled(name: str, target: str = "lepton-npu") -> Compilation:
    """A model of digits at 8 bits, its ranges guessed."""
    npu = load_target(target)
    options = CompileOptions(npu, quantization=quantization_options("w8a8", None, None, npu))
    return compile_model(MODELS / f"{name}.onnx", options)


@cache
def report_of(name: str, target: str = "lepton-npu") -> EngineReport:
    """Its report."""
    compilation = compiled(name, target)
    return program_report(compilation.program, compilation.fallbacks)
