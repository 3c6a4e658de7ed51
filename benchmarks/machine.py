"""The machine that is measured: its name, one pinned CPU, and how fast that multiplies and adds."""

import ctypes
import os
import platform
import time
from pathlib import Path

import onnxruntime

from lepton_cc.codegen.llvm.compile import LoadedCode, llvm_version
from lepton_cc.ir.target import Target

_NUM_ACCUMULATORS = 12  # latency of 4 cycles times 2 units, and some to spare
_NUM_ITERATIONS = 50_000  # some 100 us, which a busy machine leaves undisturbed now and then
_NUM_TURNS = 500


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


def peak_gmacs(target: Target) -> float:
    """Billions of binary32 multiply-adds a second that one core does from registers.

    A loop of independent fused multiply-adds of full vectors, through the same LLVM.
    """
    code = LoadedCode(_peak_module(target), target, 3)
    function = code.function("peak", 2)
    count = ctypes.c_uint64(_NUM_ITERATIONS)
    sink = (ctypes.c_float * (64 * _NUM_ACCUMULATORS))()
    best = float("inf")
    for _ in range(_NUM_TURNS):
        start = time.perf_counter()
        function(ctypes.addressof(count), ctypes.addressof(sink))
        best = min(best, time.perf_counter() - start)
    return _NUM_ITERATIONS * _NUM_ACCUMULATORS * target.lanes(4) / best / 1e9


def _peak_module(target: Target) -> str:
    vector = f"<{target.lanes(4)} x float>"
    suffix = f"v{target.lanes(4)}f32"
    operation = "fma" if target.fused_multiply_add else "fmuladd"
    numbers = range(_NUM_ACCUMULATORS)
    lines = [
        f'target triple = "{target.triple}"',
        f"declare {vector} @llvm.{operation}.{suffix}({vector}, {vector}, {vector})",
        "define void @peak(ptr %count, ptr %sink) #0 {",
        "entry:",
        "  %last = load i64, ptr %count",
        # From memory, so that LLVM cannot know the operands.
        f"  %x = load {vector}, ptr %sink, align 4",
        "  br label %again",
        "again:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %again ]",
        *(
            f"  %a{n} = phi {vector} [ zeroinitializer, %entry ], [ %b{n}, %again ]"
            for n in numbers
        ),
        *(
            f"  %b{n} = call {vector} @llvm.{operation}.{suffix}"
            f"({vector} %a{n}, {vector} %x, {vector} %x)"
            for n in numbers
        ),
        "  %next = add i64 %i, 1",
        "  %more = icmp ult i64 %next, %last",
        "  br i1 %more, label %again, label %end",
        "end:",
    ]
    for n in numbers:
        offset = n * target.vector_bytes
        lines += [
            f"  %p{n} = getelementptr i8, ptr %sink, i64 {offset}",
            f"  store {vector} %b{n}, ptr %p{n}, align 4",
        ]
    bits = target.vector_bytes * 8
    width = f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'
    return "\n".join([*lines, "  ret void", "}", f"attributes #0 = {{ nounwind {width} }}", ""])
