"""Builds control-core firmware out of hand-written models, for the tests that link and run it."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from lepton_cc import runtime_c
from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.linking import (
    BoardPort,
    ControlCoreConfig,
    LinkedImage,
    Toolchain,
    board_source,
    find_toolchain,
    link_elf,
)

SOFT_FLOAT = ControlCoreConfig(flash_bytes=1 << 20, sram_bytes=1 << 18)
HARD_FLOAT = ControlCoreConfig(
    flash_bytes=1 << 20, sram_bytes=1 << 18, march="rv32imafc", mabi="ilp32f"
)


@dataclass(frozen=True, slots=True)
class HandModel:
    """A model in C as the code generator would write it: header fields and the body of `run`."""

    name: str
    inputs: tuple[BoardPort, ...]
    outputs: tuple[BoardPort, ...]
    source: str
    arena_bytes: int = 0

    def header(self) -> str:
        """Writes the model's `NAME.h`."""
        return "\n".join(
            [
                "#include <lepton/lepton.h>",
                _struct(f"{self.name}_inputs", "const ", self.inputs),
                _struct(f"{self.name}_outputs", "", self.outputs),
                f"lepton_status {self.name}_run(const {self.name}_inputs *in, "
                f"const {self.name}_outputs *out, void *arena);",
                "",
            ]
        )

    def glue(self) -> str:
        """Writes the model's board glue."""
        return board_source(self.name, self.inputs, self.outputs, arena_bytes=self.arena_bytes)


def _struct(name: str, qualifier: str, ports: Sequence[BoardPort]) -> str:
    fields = "".join(f"{qualifier}{port.c_type} *{port.name}; " for port in ports)
    return f"typedef struct {{ {fields or 'const char *nothing; '}}} {name};"


def toolchain_for(config: ControlCoreConfig) -> Toolchain:
    """Finds a tool chain for `config`, or skips the test."""
    try:
        return find_toolchain(march=config.march, mabi=config.mabi)
    except ToolchainError as error:
        pytest.skip(str(error))


def compile_model(model: HandModel, config: ControlCoreConfig, folder: Path) -> Path:
    """Compiles `model` to an object beside its header in `folder`."""
    toolchain = toolchain_for(config)
    (folder / f"{model.name}.h").write_text(model.header(), encoding="utf-8")
    source = folder / f"{model.name}.c"
    source.write_text(f'#include "{model.name}.h"\n{model.source}', encoding="utf-8")
    out = folder / f"{model.name}.o"
    subprocess.run(
        [
            *toolchain.command,
            *toolchain.target_arguments(config.march, config.mabi),
            *("-std=c99", "-O2", "-g0", "-ffreestanding", "-w", "-c"),
            f"-I{Path(runtime_c.__file__).parent.resolve() / 'include'}",
            str(source),
            "-o",
            str(out),
        ],
        check=True,
        cwd=folder,
    )
    return out


def link_model(model: HandModel, config: ControlCoreConfig, folder: Path) -> LinkedImage:
    """Compiles and links `model`; all files are left in `folder`."""
    return link_elf(
        [compile_model(model, config, folder)],
        model.glue(),
        config=config,
        toolchain=toolchain_for(config),
        out=folder / f"{model.name}.elf",
        include_dirs=[folder],
    )
