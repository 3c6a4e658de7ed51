"""Linking: sizes, refusals, reproducible bytes."""

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from lepton_cc.ir.diagnostics import Code, Refused, ToolchainError
from lepton_cc.linking import BoardPort, Toolchain, ToolchainKind, find_toolchain, link_elf
from tests.lepton_cc.firmware import (
    HARD_FLOAT,
    SOFT_FLOAT,
    HandModel,
    compile_model,
    link_model,
    toolchain_for,
)

ADD = HandModel(
    name="add",
    inputs=(BoardPort("x", "float", 100),),
    outputs=(BoardPort("z", "float", 100),),
    arena_bytes=3000,
    source="""
static const float weights[5] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f};
lepton_status add_run(const add_inputs *in, const add_outputs *out, void *arena) {
    for (int i = 0; i < 100; i++) out->z[i] = in->x[i] + weights[i % 5];
    return LEPTON_OK;
}
""",
)


def test_sizes_are_those_of_the_sections(tmp_path: Path) -> None:
    image = link_model(ADD, SOFT_FLOAT, tmp_path)
    with image.path.open("rb") as file:
        sizes = {section.name: section["sh_size"] for section in ELFFile(file).iter_sections()}
    in_flash = sizes[".text"] + sizes[".rodata"] + sizes[".data"]
    assert in_flash <= image.flash_bytes < in_flash + 32
    in_sram = SOFT_FLOAT.stack_bytes + 2 * 400 + 3000
    assert in_sram <= image.sram_bytes < in_sram + 64


def test_bytes_do_not_depend_on_the_place(tmp_path: Path) -> None:
    folders = (tmp_path / "one", tmp_path / "other" / "deep")
    images = []
    for folder in folders:
        folder.mkdir(parents=True)
        images.append(link_model(ADD, SOFT_FLOAT, folder).path.read_bytes())
    assert images[0] == images[1]
    assert str(tmp_path).encode() not in images[0]


@pytest.mark.parametrize(
    ("config", "memory"),
    [
        (dataclasses.replace(SOFT_FLOAT, flash_bytes=512), "512"),
        (dataclasses.replace(SOFT_FLOAT, sram_bytes=9000), "9000"),
    ],
    ids=["flash", "sram"],
)
def test_too_small_memory_is_refused_with_what_is_missing(
    config: object, memory: str, tmp_path: Path
) -> None:
    full = link_model(ADD, SOFT_FLOAT, tmp_path)
    assert isinstance(config, type(SOFT_FLOAT))
    with pytest.raises(Refused) as refusal:
        link_model(ADD, config, tmp_path)
    (diagnostic,) = refusal.value.diagnostics
    needed = full.flash_bytes if config.flash_bytes == 512 else full.sram_bytes
    assert diagnostic.code is Code.DOES_NOT_FIT
    assert f"needs {needed} bytes" in diagnostic.message
    assert f"there are {memory}" in diagnostic.message


def test_failed_link_leaves_the_old_file(tmp_path: Path) -> None:
    image = link_model(ADD, SOFT_FLOAT, tmp_path)
    before = image.path.read_bytes()
    broken = dataclasses.replace(
        ADD, source="int absent(void);" + ADD.source.replace("i % 5", "absent()")
    )
    with pytest.raises(ToolchainError, match="undefined symbol: absent") as failure:
        link_model(broken, SOFT_FLOAT, tmp_path)
    assert failure.value.diagnostic.code is Code.TOOL_FAILED
    assert image.path.read_bytes() == before


def test_objects_of_another_float_abi_are_refused(tmp_path: Path) -> None:
    model = compile_model(ADD, HARD_FLOAT, tmp_path)
    with pytest.raises(ToolchainError, match="floating-point ABI"):
        link_elf(
            [model],
            ADD.glue(),
            config=SOFT_FLOAT,
            toolchain=toolchain_for(SOFT_FLOAT),
            out=tmp_path / "mixed.elf",
            include_dirs=[tmp_path],
        )
    assert not (tmp_path / "mixed.elf").exists()


def test_missing_tool_chain_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ToolchainError, match="pip install ziglang") as failure:
        find_toolchain()
    assert failure.value.diagnostic.code is Code.TOOL_MISSING


def test_each_kind_is_told_its_target() -> None:
    zig, clang, gcc = (Toolchain(kind, ("tool",), "tool 1") for kind in ToolchainKind)
    assert "-mcpu=generic_rv32+m+a+f+c" in zig.target_arguments("rv32imafc", "ilp32f")
    assert clang.target_arguments("rv32imc", "ilp32") == (
        "--target=riscv32-unknown-elf",
        "-march=rv32imc",
        "-mabi=ilp32",
    )
    assert gcc.target_arguments("rv32imc", "ilp32") == ("-march=rv32imc", "-mabi=ilp32")
    with pytest.raises(ToolchainError, match="rv64gc"):
        zig.target_arguments("rv64gc", "lp64")
