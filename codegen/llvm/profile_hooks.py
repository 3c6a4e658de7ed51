"""What a profiled module has more: it reads the clock around each kernel call.

    NAME_run_profiled(in, out, arena, ticks)   as NAME_run; ticks: u64[number of calls + 1]

Reading k is taken before call k, the last one after all. The hooks are in no other module; in this
one, a call without an array pays a branch for each. Kernels are kept apart from their caller, so
that each has its own symbol: the emulator of a core without such a clock counts by symbol.
"""

from lepton_cc.ir.target import Execution, Target

DECLARATION = "declare i64 @llvm.readcyclecounter()"
# Computed once, in the entry block.
IS_SILENT = "  %silent = icmp eq ptr %ticks, null"


def has_clock(target: Target) -> bool:
    """True if code for the target can read a clock: x86-64's time stamp counter."""
    return target.execution is Execution.NATIVE


def read_clock(number: int) -> list[str]:
    """Stores the clock as reading `number`, unless the caller gave no array."""
    tag = f"h{number}"
    return [
        f"  br i1 %silent, label %{tag}.end, label %{tag}.read",
        f"{tag}.read:",
        f"  %{tag}.clock = call i64 @llvm.readcyclecounter()",
        f"  %{tag}.slot = getelementptr i64, ptr %ticks, i32 {number}",
        f"  store i64 %{tag}.clock, ptr %{tag}.slot",
        f"  br label %{tag}.end",
        f"{tag}.end:",
    ]
