"""The wheel holds every module and data file of the rooms, once, under lepton_cc."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOMS = ("codegen", "ir", "passes", "runtime_c")
SUFFIXES = {".py", ".typed", ".toml", ".h", ".c", ".S", ".ld", ".mk", ".css", ".js", ".txt"}


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools is older than the build requires")
    # A copy, since building writes beside the sources.
    source = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(
        project_root,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"),
    )
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", source.parent, source], check=True)
    (built,) = source.parent.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.slow
def test_wheel_holds_the_rooms_and_nothing_else(wheel: zipfile.ZipFile, project_root: Path) -> None:
    expected = {
        f"lepton_cc/{path.relative_to(project_root / 'lepton_cc').as_posix()}"
        for path in _sources(project_root / "lepton_cc")
    } | {
        f"lepton_cc/{path.relative_to(project_root).as_posix()}"
        for room in ROOMS
        for path in _sources(project_root / room)
    }
    installed = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert len(installed) == len(set(installed))
    assert set(installed) - expected == set()
    assert expected - set(installed) == set()


@pytest.mark.slow
def test_wheel_imports_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = "import lepton_cc.ir, lepton_cc.ir.ops, lepton_cc.codegen; print(lepton_cc.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(ran.stdout.strip()) == tmp_path / "lepton_cc" / "__init__.py"


_USE = """
import pathlib, sys
import numpy as np
import lepton_cc
from lepton_cc.cli.main import lepton, lepton_cc as compiler

assert pathlib.Path(lepton_cc.__file__).is_relative_to(sys.argv[1])
data = np.load("samples.npz")
np.save("image.npy", data["x"][:1].astype(np.float32))
np.savez("calibration.npz", image=data["x"][1:20].astype(np.float32))
for command, arguments in (
    (compiler, ["digits.onnx", "--target=lepton-npu", "--calibrate=calibration.npz",
                "--emit=elf,c", "-o", "out", "-q"]),
    (lepton, ["run", "out", "--input", "image=image.npy", "--output", "scores.npz"]),
    (lepton, ["inspect", "out", "--html", "page.html"]),
):
    command(arguments, standalone_mode=False)
(scores,) = np.load("scores.npz").values()
assert scores.argmax() == data["y"][0], scores
"""


@pytest.mark.slow
def test_an_installed_wheel_compiles_and_runs(
    wheel: zipfile.ZipFile, project_root: Path, tmp_path: Path
) -> None:
    """On the chip: its sources in C, systems and targets, the board, the page's assets."""
    home, work = tmp_path / "installed", tmp_path / "work"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
    ]
    subprocess.run([*pip, "--target", home, str(wheel.filename)], check=True)
    work.mkdir()
    shutil.copy(project_root / "models" / "digits_cnn.onnx", work / "digits.onnx")
    shutil.copy(project_root / "models" / "digits_samples.npz", work / "samples.npz")
    ran = subprocess.run(
        [sys.executable, "-c", _USE, str(home)],
        cwd=work,
        env={
            "PYTHONPATH": str(home),
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", str(tmp_path)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "<svg" in (work / "page.html").read_text(encoding="utf-8")


def _sources(folder: Path) -> list[Path]:
    """Files to install below a folder, links not followed."""
    linked = {folder / room for room in ROOMS}
    return [
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES and path.is_file() and not linked & set(path.parents)
    ]
