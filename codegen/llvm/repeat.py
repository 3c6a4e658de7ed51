"""A loop of machine code around an entry point, so that a measurement holds nothing of Python's.

`repeat(entry, in, out, arena, count)` calls `entry(in, out, arena)` as often as the u64 at `count`.
"""

from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.ir.target import Target

NUM_PARAMETERS = 5

_LOOP = """
define void @repeat(ptr %entry.point, ptr %in, ptr %out, ptr %arena, ptr %count) {
entry:
  %last = load i64, ptr %count
  br label %again
again:
  %done = phi i64 [ 0, %entry ], [ %next, %again ]
  %status = call i32 %entry.point(ptr %in, ptr %out, ptr %arena)
  %next = add i64 %done, 1
  %more = icmp ult i64 %next, %last
  br i1 %more, label %again, label %end
end:
  ret void
}
"""


def repeat_loop(target: Target) -> LoadedCode:
    """The loop for a target that runs on this machine; `repeat` is its function."""
    return LoadedCode(f'target triple = "{target.triple}"\n{_LOOP}', target, 2)
