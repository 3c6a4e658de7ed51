"""How long `lepton-cc` takes for the chip, as a process of its own."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.npu.subjects import TARGET
from benchmarks.page import row, table_head
from lepton_cc.codegen.targets import loader

NUM_RUNS = 2
_PROGRAM = "from lepton_cc.cli.main import lepton_cc; lepton_cc()"
_REGION_BYTES = 64 << 20


def compile_seconds(path: Path) -> float:
    """The least wall time of two runs, the start of Python included.

    The target has more flash and memory than ours, which ResNet-50's weights do not fit.

    Raises:
        CalledProcessError: it did not compile.
    """
    best = float("inf")
    for _ in range(NUM_RUNS):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, f"{TARGET}-large.toml")
            target.write_text(_roomy_target(), encoding="utf-8")
            words = (str(path), "-O3", f"--target={target}", "-o", f"{folder}/built")
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", _PROGRAM, *words], check=True, capture_output=True
            )
            best = min(best, time.perf_counter() - start)
    return best


def _roomy_target() -> str:
    source = Path(loader.__file__).with_name(f"{TARGET}.toml").read_text(encoding="utf-8")
    return re.sub(r"(?m)^(flash|sram) = \d+$", rf"\1 = {_REGION_BYTES}", source)


def compile_table(seconds: Mapping[str, float]) -> Iterator[str]:
    """The table."""
    yield from (f"### Time to compile, -O3 --target={TARGET}", "", *table_head(("model", "s")))
    yield from (row((name, f"{time_:.1f}")) for name, time_ in seconds.items())
    yield ""
