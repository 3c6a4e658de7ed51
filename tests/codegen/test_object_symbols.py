"""Objects stand alone: no heap, no C library; on cores without a float unit, soft float alone."""

import io
import re

import pytest
from elftools.elf.elffile import ELFFile

from lepton_cc.codegen.llvm.compile import compile_module
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.levels import LEVELS, OptLevel
from tests import real_models
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


def _cases() -> list[object]:
    return [
        pytest.param(
            model,
            target,
            level,
            id=f"{model}-{target}-O{level.value}",
            marks=[] if model.kind is Kind.REPOSITORY else [pytest.mark.slow],
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
    assert {"model_run"} <= defined <= {"model_run", "model_run_parallel"}
    allowed = ALLOWED[target]
    assert {name for name in wanted if not any(rule.fullmatch(name) for rule in allowed)} == set()
