"""How fast one core reads a buffer again and again: the bound of networks with few MACs."""

import ctypes
import time

from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.executable import aligned_bytes
from lepton_cc.ir.target import Target

_UNROLLED = 8
_TURN_SECONDS = 0.001
_NUM_TURNS = 100


def read_bytes_per_second(target: Target, size_bytes: int) -> float:
    """Bytes a second of vector loads over `size_bytes`, from whatever cache holds them."""
    width = max(target.vector_bytes, 8)
    step = width * _UNROLLED
    size = max(step, size_bytes // step * step)
    buffer = aligned_bytes(size)
    sink = aligned_bytes(width)
    code = LoadedCode(_module(target, width), target, 3)
    function = code.function("read", 4)
    num_passes, seconds = 1, 0.0
    best = float("inf")
    for _ in range(_NUM_TURNS):
        passes, last = ctypes.c_uint64(num_passes), ctypes.c_uint64(size)
        start = time.perf_counter()
        function(
            buffer.ctypes.data,
            ctypes.addressof(last),
            ctypes.addressof(passes),
            sink.ctypes.data,
        )
        seconds = (time.perf_counter() - start) / num_passes
        best = min(best, seconds)
        num_passes = max(1, int(_TURN_SECONDS / best))
    return size / best


def _module(target: Target, width: int) -> str:
    vector = f"<{width // 4} x i32>"
    numbers = range(_UNROLLED)
    bits = width * 8
    lines = [
        f'target triple = "{target.triple}"',
        "define void @read(ptr %buffer, ptr %size, ptr %count, ptr %sink) #0 {",
        "entry:",
        "  %last = load i64, ptr %size",
        "  %passes = load i64, ptr %count",
        "  br label %outer",
        "outer:",
        "  %pass = phi i64 [ 0, %entry ], [ %pass.next, %done ]",
        # The optimizer must not read once and use it in every pass.
        '  call void asm sideeffect "", "~{memory}"()',
        "  br label %inner",
        "inner:",
        "  %i = phi i64 [ 0, %outer ], [ %next, %inner ]",
        *(
            f"  %a{n} = phi {vector} [ zeroinitializer, %outer ], [ %b{n}, %inner ]"
            for n in numbers
        ),
    ]
    for n in numbers:
        lines += [
            f"  %o{n} = add i64 %i, {n * width}",
            f"  %p{n} = getelementptr i8, ptr %buffer, i64 %o{n}",
            f"  %v{n} = load {vector}, ptr %p{n}, align {width}",
            f"  %b{n} = or {vector} %a{n}, %v{n}",
        ]
    lines += [
        f"  %next = add i64 %i, {width * _UNROLLED}",
        "  %more = icmp ult i64 %next, %last",
        "  br i1 %more, label %inner, label %done",
        "done:",
        f"  %s1 = or {vector} %b0, %b1",
        *(f"  %s{n} = or {vector} %s{n - 1}, %b{n}" for n in numbers[2:]),
        f"  store {vector} %s{_UNROLLED - 1}, ptr %sink, align {width}",
        "  %pass.next = add i64 %pass, 1",
        "  %again = icmp ult i64 %pass.next, %passes",
        "  br i1 %again, label %outer, label %end",
        "end:",
        "  ret void",
        "}",
    ]
    width_words = f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'
    return "\n".join([*lines, f"attributes #0 = {{ nounwind {width_words} }}", ""])
