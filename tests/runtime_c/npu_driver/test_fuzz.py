"""Mutated payloads: refused by the driver, stopped by a fault, or run inside their regions."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from examples.firmware_npu import generate
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from tests.runtime_c.npu_driver.bindings import (
    ARITHMETIC,
    INCLUDES,
    WARNINGS,
    build,
    code_name,
    driver_sources,
    engine_sources,
    host_compiler,
)
from tests.runtime_c.npu_driver.payloads import sample

DIGITS = Path(generate.__file__).parent / "digits.onnx"
MACS = 64
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fuzz") / "fuzz"
    build(
        host_compiler(), "-std=c99", "-D_POSIX_C_SOURCE=200112L", "-O1", *SANITIZERS, *ARITHMETIC,
        *WARNINGS, *INCLUDES, *driver_sources(), *engine_sources(),
        str(Path(__file__).with_name("fuzz.c")), "-o", str(out),
    )  # fmt: skip
    return out


def _fuzz_sample(fuzzer: Path, folder: Path, seed: int, count: int) -> Counter[str]:
    """What became of `count` mutations of the payload of a random stream."""
    path = folder / f"{seed}.lpt"
    path.write_bytes(sample(seed, MACS, units=2).payload)
    return _fuzz(fuzzer, path, seed, count, MACS)


def _fuzz(fuzzer: Path, path: Path, seed: int, count: int, macs: int) -> Counter[str]:
    result = subprocess.run(
        [str(fuzzer), str(path), str(seed), str(count), str(macs)],
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    found: Counter[str] = Counter()
    for line in result.stdout.splitlines():
        what, number, times = line.split()
        name = what
        if what == "refused":
            name = code_name(int(number))
        elif what == "fault":
            name = Fault(int(number)).name
        found[name] += int(times)
    return found


def _check(found: Counter[str], count: int) -> None:
    assert found.total() >= count
    faults = {name for name in found if name in Fault.__members__}
    refusals = {name for name in found if name.startswith("ERROR_")}
    assert {"ILLEGAL_FIELD", "READ_OUT_OF_BOUNDS", "WEIGHT_STREAM"} <= faults
    assert {"ERROR_SECTION_CRC", "ERROR_TRUNCATED", "ERROR_BAD_BINDING"} <= refusals
    assert "ERROR_DEVICE_STUCK" not in refusals
    assert found["ran"] > count // 50


@pytest.mark.slow
def test_thousands_of_mutations(fuzzer: Path, tmp_path: Path) -> None:
    found = sum((_fuzz_sample(fuzzer, tmp_path, seed, 1500) for seed in (1, 2)), Counter())
    _check(found, 3000)


def test_mutations_of_a_compiled_model(fuzzer: Path, tmp_path: Path) -> None:
    """Its second stream tests each layer."""
    options = CompileOptions(load_target("lepton-npu"), self_test=True)
    engine = compile_model(DIGITS, options).program.engine
    assert engine is not None
    path = tmp_path / "digits.lpt"
    path.write_bytes(engine.payload)
    found = _fuzz(fuzzer, path, 4, 4000, 256)
    _check(found, 4000)
    assert found["ERROR_TEST_MISMATCH"] > 0


@pytest.mark.slow
@pytest.mark.long
def test_a_hundred_thousand_mutations(fuzzer: Path, tmp_path: Path) -> None:
    found = sum((_fuzz_sample(fuzzer, tmp_path, seed, 12500) for seed in range(10, 18)), Counter())
    _check(found, 100_000)
    assert len([name for name in found if name in Fault.__members__]) >= 15
