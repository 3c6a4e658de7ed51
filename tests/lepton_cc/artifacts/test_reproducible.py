"""The same model gives the same bytes, whatever the hash seed, the folder or the number of jobs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EMIT = "lib,obj,asm,c,llvm,ir,program"


def build(project_root: Path, cwd: Path, seed: str, *arguments: str) -> dict[str, bytes]:
    """Runs the command line in its own process; gives the files that it wrote."""
    code = "from lepton_cc.cli.main import lepton_cc; lepton_cc()"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(project_root)}
    model = project_root / "models" / "digits_dscnn.onnx"
    command = [sys.executable, "-c", code, str(model), "-q", "-o", "out", *arguments]
    subprocess.run(command, cwd=cwd, env=environment, check=True, timeout=300)
    return {path.name: path.read_bytes() for path in sorted((cwd / "out").iterdir())}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--target=x86-64-v4", "--emit", EMIT), id="x86-64-v4"),
        pytest.param(
            ("--target=lepton-npu", "--emit", f"{EMIT},elf"),
            id="lepton-npu",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--target=lepton-npu", "--quantize=w8a8", "--emit", EMIT),
            id="lepton-npu-w8a8",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bytes_are_the_same(project_root: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    if "elf" in arguments[-1]:
        pytest.importorskip("ziglang", reason="no tool chain from PyPI")
    one, other = tmp_path / "one", tmp_path / "a longer name" / "two"
    one.mkdir()
    other.mkdir(parents=True)
    first = build(project_root, one, "1", *arguments)
    second = build(project_root, other, "4242", "-j2", *arguments)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]
