"""The example firmware: the same source on the emulated core and on the host prints the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.firmware_npu import generate, run
from lepton_cc.linking import application_glue, link_elf, npu_sources
from tests.lepton_cc.firmware import HARD_FLOAT, SOFT_FLOAT, toolchain_for
from tests.runtime_c.npu_driver.bindings import (
    ARITHMETIC,
    DRIVER,
    EMULATOR,
    HOST_BOARD,
    INCLUDES,
    WARNINGS,
    build,
    host_compiler,
)

APPLICATION = Path(generate.__file__).parent
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware") / "generated"
    generate.generate(folder)
    return folder


@pytest.fixture(scope="module")
def twin_output(generated: Path) -> str:
    """What the program on the host prints."""
    twin = generated.parent / "twin"
    sources = [
        *sorted(EMULATOR.glob("*.c")), *sorted(HOST_BOARD.glob("*.c")), *sorted(DRIVER.glob("*.c")),
        *sorted(generated.glob("*.c")), APPLICATION / "application.c",
    ]  # fmt: skip
    build(
        host_compiler(), "-std=c99", "-O1", *SANITIZERS, *ARITHMETIC, *WARNINGS, *INCLUDES,
        f"-I{generated}", *map(str, sources), "-o", str(twin),
    )  # fmt: skip
    result = subprocess.run([str(twin)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_twin_reads_the_digits(twin_output: str) -> None:
    lines = twin_output.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("digits"))
    assert found["engine of MACs"] == "256"
    assert int(found["right"]) >= 19
    assert found["of"] == found["interrupts"] == str(generate.NUM_SAMPLES)
    assert found["cycles"] == found["estimated"]


@pytest.mark.parametrize("config", [SOFT_FLOAT, HARD_FLOAT], ids=["rv32imc", "rv32imafc"])
def test_the_firmware_prints_the_same(
    generated: Path, twin_output: str, config: object, tmp_path: Path
) -> None:
    chosen = SOFT_FLOAT if config is SOFT_FLOAT else HARD_FLOAT
    image = link_elf(
        [],
        application_glue(),
        config=chosen,
        toolchain=toolchain_for(chosen),
        out=tmp_path / "firmware.elf",
        include_dirs=[generated],
        extra_sources=[
            *npu_sources(), *sorted(generated.glob("*.c")), APPLICATION / "application.c",
        ],
    )  # fmt: skip
    result = run.run(image.path)
    assert result.console == twin_output
    assert result.instructions > 0


@pytest.mark.slow
def test_makefile_and_cmake(twin_output: str, project_root: Path, tmp_path: Path) -> None:
    toolchain_for(SOFT_FLOAT)
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    if shutil.which("make") is None or shutil.which("cmake") is None:
        pytest.skip("no make, no cmake")
    folder = tmp_path / "made"
    for command in (
        ["make", "-C", str(APPLICATION), f"PYTHON={sys.executable}", f"BUILD={folder}"],
        [
            "cmake", "-S", str(APPLICATION), "-B", str(tmp_path / "cmake"),
            f"-DPython3_EXECUTABLE={sys.executable}",
        ],
        ["cmake", "--build", str(tmp_path / "cmake")],
    ):  # fmt: skip
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
    assert (folder / "firmware.txt").read_text() == (folder / "twin.txt").read_text() == twin_output
    built = subprocess.run([str(tmp_path / "cmake" / "twin")], capture_output=True, text=True)
    assert built.stdout == twin_output
