"""The machine that is measured: its name, and one pinned CPU."""

import os
import platform
from pathlib import Path

import onnxruntime

from lepton_cc.codegen.llvm.compile import llvm_version


def pin_to_one_cpu() -> int:
    """Keeps this process, and threads that it starts later, on one of its CPUs; gives which."""
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


def description() -> str:
    """CPU, operating system, and the versions of what is compared."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    return (
        f"{cpu}, {os.cpu_count()} CPUs, one of them used; {platform.system()}; "
        f"LLVM {llvm_version()}, ONNX Runtime {onnxruntime.__version__}, "
        f"Python {platform.python_version()}"
    )
