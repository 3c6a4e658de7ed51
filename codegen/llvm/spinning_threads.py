"""Machine code of a thread pool that waits by spinning, so that measurements see the model alone.

    void spin_run(state, count, task, context)   a lepton_parallel's `run`: the caller takes part
    void spin_work(state, index)                 what thread `index` runs until `stop` is set

Every thread takes one even part of [0, count). Threads that wait for the next loop take all of
their CPU; `thread_pool` in the driver is the pool for everything else.
"""

import ctypes

from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.ir.target import Target


class SpinState(ctypes.Structure):
    """Shared by the threads; `generation` counts loops, `pending` the workers that are not done."""

    _fields_ = (
        ("generation", ctypes.c_int64),
        ("pending", ctypes.c_int64),
        ("num_threads", ctypes.c_int64),
        ("stop", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("task", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    )


_SOURCE = """
%State = type { i64, i64, i64, i64, i64, ptr, ptr }

declare void @llvm.x86.sse2.pause()
declare i32 @sched_yield()

; Waits a moment; for longer and longer, it lets others have the CPU: on a busy machine the one that
; is waited for may not be running.
define internal void @wait(i64 %turn) {
  call void @llvm.x86.sse2.pause()
  %patient = icmp ult i64 %turn, 4096
  br i1 %patient, label %done, label %yield
yield:
  %ignored = call i32 @sched_yield()
  br label %done
done:
  ret void
}

define internal void @part(ptr %state, i64 %index) {
  %count_at = getelementptr %State, ptr %state, i64 0, i32 4
  %count = load i64, ptr %count_at
  %threads_at = getelementptr %State, ptr %state, i64 0, i32 2
  %threads = load i64, ptr %threads_at
  %scaled = mul i64 %count, %index
  %begin = sdiv i64 %scaled, %threads
  %next = add i64 %index, 1
  %scaled_next = mul i64 %count, %next
  %end = sdiv i64 %scaled_next, %threads
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %work, label %done
work:
  %task_at = getelementptr %State, ptr %state, i64 0, i32 5
  %task = load ptr, ptr %task_at
  %context_at = getelementptr %State, ptr %state, i64 0, i32 6
  %context = load ptr, ptr %context_at
  %begin32 = trunc i64 %begin to i32
  %end32 = trunc i64 %end to i32
  call void %task(ptr %context, i32 %begin32, i32 %end32)
  br label %done
done:
  ret void
}

define void @spin_run(ptr %state, i32 %count, ptr %task, ptr %context) {
entry:
  %pending_at = getelementptr %State, ptr %state, i64 0, i32 1
  %threads_at = getelementptr %State, ptr %state, i64 0, i32 2
  %count_at = getelementptr %State, ptr %state, i64 0, i32 4
  %task_at = getelementptr %State, ptr %state, i64 0, i32 5
  %context_at = getelementptr %State, ptr %state, i64 0, i32 6
  %wide = sext i32 %count to i64
  store i64 %wide, ptr %count_at
  store ptr %task, ptr %task_at
  store ptr %context, ptr %context_at
  %threads = load i64, ptr %threads_at
  %workers = sub i64 %threads, 1
  store atomic i64 %workers, ptr %pending_at release, align 8
  %before = atomicrmw add ptr %state, i64 1 seq_cst
  call void @part(ptr %state, i64 0)
  br label %wait
wait:
  %turn = phi i64 [ 0, %entry ], [ %next, %spin ]
  %left = load atomic i64, ptr %pending_at acquire, align 8
  %all = icmp eq i64 %left, 0
  br i1 %all, label %done, label %spin
spin:
  call void @wait(i64 %turn)
  %next = add i64 %turn, 1
  br label %wait
done:
  ret void
}

define void @spin_work(ptr %state, i64 %index) {
entry:
  %pending_at = getelementptr %State, ptr %state, i64 0, i32 1
  %stop_at = getelementptr %State, ptr %state, i64 0, i32 3
  br label %wait
wait:
  %last = phi i64 [ 0, %entry ], [ %last, %spin ], [ %now, %work ]
  %turn = phi i64 [ 0, %entry ], [ %next, %spin ], [ 0, %work ]
  %now = load atomic i64, ptr %state acquire, align 8
  %old = icmp eq i64 %now, %last
  br i1 %old, label %spin, label %woken
spin:
  call void @wait(i64 %turn)
  %next = add i64 %turn, 1
  br label %wait
woken:
  %stop = load atomic i64, ptr %stop_at acquire, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %done, label %work
work:
  call void @part(ptr %state, i64 %index)
  %before = atomicrmw sub ptr %pending_at, i64 1 seq_cst
  br label %wait
done:
  ret void
}
"""


def spinning_threads(target: Target) -> LoadedCode:
    """The two functions, for an x86-64 target that runs on this machine."""
    return LoadedCode(f'target triple = "{target.triple}"\n{_SOURCE}', target, 2)
