"""The machine that is measured: its name, and the versions of what ran on it."""

import os
import platform
from pathlib import Path

from lepton_cc.codegen.llvm.compile import llvm_version


def description(*libraries: str) -> str:
    """CPU, operating system, and the versions of what is compared."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    versions = (f"LLVM {llvm_version()}", *libraries, f"Python {platform.python_version()}")
    return f"{cpu}, {os.cpu_count()} CPUs, one of them used; {platform.system()}; " + ", ".join(
        versions
    )
