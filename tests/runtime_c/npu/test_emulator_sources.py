"""The emulator's C under the host's compilers, and fuzzed under sanitizers."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from lepton_cc import runtime_c
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.header import header_text
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.npu.library import include_folders, source_files
from tests.codegen.npu.random_streams import machine_of, random_stream

ROOT = Path(runtime_c.__file__).parent
HEADER = ROOT / "include" / "lepton" / "npu_isa.h"
DRIVER = Path(__file__).with_name("fuzz_emulator.c")
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
INCLUDES = tuple(f"-I{folder}" for folder in include_folders())
SECONDS = 900


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_header_is_made_from_the_tables() -> None:
    assert HEADER.read_text(encoding="utf-8") == header_text(), "run `make docs`"


def test_sources_compile_without_a_warning(compiler: str, tmp_path: Path) -> None:
    for source in source_files():
        _run(
            compiler, "-std=c99", "-O2", *WARNINGS, *INCLUDES, "-c", str(source),
            "-o", str(tmp_path / f"{source.stem}.o"),
        )  # fmt: skip


@pytest.mark.parametrize("header", ["emulator.h", "host.h"])
def test_headers_in_cxx(compiler: str, header: str, tmp_path: Path) -> None:
    source = tmp_path / "use.cpp"
    source.write_text(f'#include "{header}"\nint main() {{ return LPT_FAULT_NONE; }}\n')
    _run(compiler, "-std=c++11", *WARNINGS, *INCLUDES, "-fsyntax-only", str(source))


def test_nothing_is_global_and_mutable(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    nm = shutil.which("nm")
    if compiler is None or nm is None:
        pytest.skip("no host C compiler or no nm")
    for source in source_files():
        out = tmp_path / f"{source.stem}.o"
        _run(compiler, "-std=c99", "-O2", *INCLUDES, "-c", str(source), "-o", str(out))
        kinds = {line.split()[-2] for line in _run(nm, "--defined-only", str(out)).splitlines()}
        assert kinds <= set("TtRr"), (source.name, kinds)


def _corpus(num_cases: int) -> bytes:
    cases = []
    for seed in range(num_cases):
        macs = (64, 128, 256)[seed % 3]
        drawn = random_stream(5000 + seed, machine_of(macs))
        constants, input_ = drawn.regions[Region.CONSTANTS], drawn.regions[Region.INPUT0]
        sizes = (macs, len(drawn.stream), len(constants), len(input_), len(input_))
        cases.append(struct.pack("<5I", *sizes) + drawn.stream + constants + input_)
    return b"".join(cases)


def _fuzz(compiler: str, folder: Path, count: int, seed: int) -> dict[Fault, int]:
    program, corpus = folder / "fuzz", folder / "corpus"
    sources = (*map(str, source_files()), str(DRIVER))
    _run(compiler, "-std=c99", "-g", "-O1", *SANITIZERS, *WARNINGS, *INCLUDES, *sources,
         "-o", str(program))  # fmt: skip
    corpus.write_bytes(_corpus(30))
    lines = _run(str(program), str(corpus), str(count), str(seed)).splitlines()
    return {Fault(int(code)): int(number) for code, number in map(str.split, lines)}


@pytest.mark.slow
def test_mutated_streams_under_sanitizers(compiler: str, tmp_path: Path) -> None:
    faults = _fuzz(compiler, tmp_path, 600, seed=1)
    assert faults[Fault.NONE] > 20
    assert len(faults) > 8


@pytest.mark.slow
@pytest.mark.long
def test_many_mutated_streams_under_sanitizers(compiler: str, tmp_path: Path) -> None:
    faults = _fuzz(compiler, tmp_path, 20_000, seed=2)
    assert len(faults) > 16
