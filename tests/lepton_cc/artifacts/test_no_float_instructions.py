"""Int8 models for a core without floating-point unit: not one float instruction in the object.

Soft float is called at the border alone, where the model's float inputs are quantized and its float
outputs made, and in softmax; requantization and sums are integer code.
"""

import io

import numpy as np
import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.emulator.instruction_starts import instruction_starts
from lepton_cc.generated_code import generate_code
from tests import real_models
from tests.codegen.test_object_symbols import symbols
from tests.real_models import RealModel

# The RISC-V Instruction Set Manual, volume I: "RV32/64G Instruction Set Listings", major opcodes.
LOAD_FP, STORE_FP, OP_FP = 0x07, 0x27, 0x53
MADD, MSUB, NMSUB, NMADD = 0x43, 0x47, 0x4B, 0x4F
FLOAT_OPCODES = (LOAD_FP, STORE_FP, OP_FP, MADD, MSUB, NMSUB, NMADD)
# "Compressed" extension: quadrants 0 and 2, funct3 of c.fld, c.flw, c.fsd, c.fsw and with sp.
FLOAT_FUNCT3 = (1, 3, 5, 7)
# Quantize, dequantize, softmax; nothing of binary64.
BORDER = {
    *("__addsf3", "__subsf3", "__mulsf3", "__divsf3", "__fixsfsi", "__floatsisf", "__floatunsisf"),
    *("__ltsf2", "__gtsf2", "__lesf2", "__gesf2", "__eqsf2", "__nesf2", "__unordsf2"),
}


def num_float_instructions(content: bytes) -> int:
    """Instructions of the F and D extensions in all code of an object for RV32."""
    count = 0
    for section in ELFFile(io.BytesIO(content)).iter_sections():
        if not section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR:
            continue
        text = section.data()
        words = np.frombuffer(text[: len(text) // 2 * 2], "<u2")
        first = words[instruction_starts(text, ())]
        is_long = (first & 3) == 3
        wide = is_long & np.isin(first & 0x7F, FLOAT_OPCODES)
        short = ~is_long & np.isin(first & 3, (0, 2)) & np.isin(first >> 13, FLOAT_FUNCT3)
        count += int(np.count_nonzero(wide | short))
    return count


def _object(model: RealModel, target: str) -> bytes:
    options = CompileOptions(load_target(target), name="model")
    return generate_code(compile_model(model.require(), options)).object_bytes


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(m, id=str(m), marks=pytest.mark.slow if m in real_models.LARGE_INT8 else [])
        for m in real_models.TINY_INT8
    ],
)
def test_integer_core_gets_integer_code(model: RealModel) -> None:
    content = _object(model, "rv32imc")
    assert num_float_instructions(content) == 0
    wanted = {name for name in symbols(content)[1] if "f" in name.removeprefix("__")}
    assert wanted <= BORDER


def test_float_instructions_are_seen() -> None:
    assert num_float_instructions(_object(real_models.TINY_INT8[1], "rv32imafc")) > 0
