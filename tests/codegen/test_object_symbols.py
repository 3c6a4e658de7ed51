"""Objects stand alone: no heap, no C library; on cores without a float unit, soft float alone."""

import io
import re

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, assume, given, settings

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.llvm.compile import compile_module
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, QuantizedSoftmax, Range, Requantize
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.softmax import exponentials
from tests import real_models
from tests.ir.random_quantized_graphs import quantized_graphs
from tests.real_models import Kind, RealModel

# GCC Internals, "Routines for floating point emulation" and "Routines for integer arithmetic".
SOFT_FLOAT = re.compile(
    r"__(add|sub|mul|div|neg|eq|ne|lt|le|gt|ge|unord)[sd]f[23]"
    r"|__(fix|fixuns)[sd]f[sd]i|__(float|floatun)[sd]i[sd]f|__extendsfdf2|__truncdfsf2"
)
WIDE_INTEGERS = re.compile(r"__(mul|div|mod|udiv|umod|ashl|ashr|lshr)di3")
ALLOWED = {
    "x86-64": (),
    "x86-64-v4": (),
    "x86-64-v4-amx": (),
    "rv32imc": (SOFT_FLOAT, WIDE_INTEGERS),
    # Binary64 has no unit there.
    "rv32imafc": (SOFT_FLOAT, WIDE_INTEGERS),
}


def symbols(content: bytes) -> tuple[set[str], set[str]]:
    """The global symbols that an object defines, and those that it wants."""
    table = ELFFile(io.BytesIO(content)).get_section_by_name(".symtab")
    defined: set[str] = set()
    wanted: set[str] = set()
    for symbol in table.iter_symbols():
        if symbol["st_info"]["bind"] != "STB_LOCAL":
            (wanted if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
    return defined, wanted


# One of each kind; all others are left to long runs, which compile 120 models.
_SAMPLED = ("kws_dscnn_fp32", "kws_dscnn_int8_qdq", "ad_autoencoder_int8_qdq", "silero_vad_16k")


def _marks(model: RealModel) -> list[pytest.MarkDecorator]:
    if model.kind is Kind.REPOSITORY:
        return []
    return [pytest.mark.slow if model.name in _SAMPLED else pytest.mark.long]


def _cases() -> list[object]:
    return [
        pytest.param(
            model,
            target,
            level,
            id=f"{model}-{target}-O{level.value}",
            marks=_marks(model),
        )
        for model in real_models.ALL
        for target in ALLOWED
        for level in (
            (OptLevel.O0, OptLevel.O3) if model.kind is Kind.REPOSITORY else (OptLevel.O3,)
        )
    ]


@pytest.mark.parametrize(("model", "target", "level"), _cases())
def test_object_wants_nothing_else(model: RealModel, target: str, level: OptLevel) -> None:
    options = CompileOptions(load_target(target), level, name="model")
    program = compile_model(model.require(), options).program
    # Little of LLVM's time for big models: what is called is decided before.
    speed = LEVELS[level].llvm_level if model.kind is Kind.REPOSITORY else 1
    code = compile_module(emit_module(program), program.target, speed)
    defined, wanted = symbols(code.object_bytes)
    matrices = any(function.kernel.matrices for function in program.kernels)
    asks = {"model_permission"} if matrices else set()
    assert {"model_run"} <= defined - asks <= {"model_run", "model_run_parallel"}
    assert asks <= defined
    allowed = ALLOWED[target]
    assert {name for name in wanted if not any(rule.fullmatch(name) for rule in allowed)} == set()


def _soft_float(graph: Graph, level: OptLevel) -> set[str]:
    """The routines of soft float that a graph's code for rv32imc calls."""
    target, effort = load_target("rv32imc"), LEVELS[level]
    after = PassManager(effort.pipeline(target)).run(graph)
    program = assemble(after, "model", target, effort.schedule, reorder=effort.reorder)
    code = compile_module(emit_module(program), target, effort.llvm_level)
    _, wanted = symbols(code.object_bytes)
    return {name for name in wanted if SOFT_FLOAT.fullmatch(name)}


@pytest.mark.parametrize("level", [OptLevel.O0, OptLevel.O3, OptLevel.OS], ids=lambda o: o.value)
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16], ids=lambda d: d.value)
def test_integer_ops_need_no_soft_float(dtype: DType, level: OptLevel) -> None:
    builder = GraphBuilder("integers")
    x, y = (builder.input(name, TensorType(dtype, (4, 10))) for name in ("x", "y"))
    middle = 128 if dtype is DType.U8 else -3
    range_ = Range.whole(dtype, middle)
    added = QuantizedAdd.of((0.03, middle), (0.011, 5), 0.04, range_)
    small = 1e-5 if dtype is DType.I16 else 0.01
    outputs = [
        builder.emit(added, x, y),
        builder.emit(QuantizedMul(middle, 7, small, range_), x, y),
        builder.emit(Requantize(range_, 3), x, builder.constant(np.asarray(0.7, np.float32))),
    ]
    if dtype.bits == 8:
        softmax = QuantizedSoftmax(1, 1 / 256, range_, exponentials(np.float32(0.05)))
        outputs.append(builder.emit(softmax, x))
    graph = builder.finish(outputs, [f"y{number}" for number in range(len(outputs))])
    assert not _soft_float(graph, level)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=quantized_graphs())
def test_integer_graphs_need_no_soft_float(graph: Graph) -> None:
    assume(not any(value.type.dtype.is_float for value in (*graph.inputs, *graph.outputs)))
    assert not _soft_float(graph, OptLevel.O3)
