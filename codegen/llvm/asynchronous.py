"""Entry points that do not wait for the tensor engine, beside NAME_run; each returns a status.

    NAME_start(task, in, out, arena)   the core's first stretch, then the first segment is started
    NAME_poll(task)                    busy, or the next stretch and the next segment; at last done
    NAME_finish(task)                  the same to the end, waiting

They lie in a section of their own, which linkers drop that drop what is not called
(--gc-sections). `lepton_npu_task` (lepton/npu.h) begins with in, out, arena, the number of
stretches that have been run, and the status of the newest segment.
"""

from collections.abc import Callable, Sequence

from lepton_cc.codegen.program import Program
from lepton_cc.codegen.stretches import Stretch, stretches

_OK, _BUSY, _NULL_ARGUMENT = 0, 1, -1
_IN, _OUT, _ARENA, _STEP = range(4)

# What the name of their section ends with.
SECTION_SUFFIX = "_asynchronous"
DECLARATIONS = (
    "declare i32 @lepton_npu_start(ptr, ptr, i32)",
    "declare i32 @lepton_npu_poll(ptr)",
    "declare i32 @lepton_npu_wait(ptr)",
)


def asynchronous_entry_points(
    program: Program,
    checks: Sequence[str],
    port_loads: Sequence[str],
    run_stretch: Callable[[Stretch], Sequence[str]],
) -> list[str]:
    """The functions as LLVM IR.

    `checks` are NAME_run's of its arguments, `port_loads` read the pointers behind %in and %out,
    `run_stretch` calls the kernels of a stretch on them, on %arena and %weights.
    """
    name = program.name
    return [
        _advance(program, port_loads, run_stretch),
        _start(name, checks),
        _continuation(name, "poll", "poll", repeats=False),
        _continuation(name, "finish", "wait", repeats=True),
    ]


def _section(name: str) -> str:
    return f'section ".text.{name}{SECTION_SUFFIX}"'


def _member(number: int, register: str) -> str:
    return f"  %{register} = getelementptr ptr, ptr %task, i32 {number}"


def _advance(
    program: Program, port_loads: Sequence[str], run_stretch: Callable[[Stretch], Sequence[str]]
) -> str:
    """Runs the stretch that is next; busy if a segment follows."""
    lines = [
        f"define internal i32 @{program.name}_advance(ptr %task, ptr %weights) #0 "
        f"{_section(program.name)} {{",
        "entry:",
        _member(_STEP, "step.slot"),
        "  %step = load i32, ptr %step.slot",
        "  %status.slot = getelementptr i32, ptr %step.slot, i32 1",
        "  %step.next = add i32 %step, 1",
        "  %in = load ptr, ptr %task",
        _member(_OUT, "out.slot"),
        "  %out = load ptr, ptr %out.slot",
        _member(_ARENA, "arena.slot"),
        "  %arena = load ptr, ptr %arena.slot",
        *port_loads,
    ]
    for number, stretch in enumerate(stretches(program)):
        lines += [
            f"  %is{number} = icmp eq i32 %step, {number}",
            f"  br i1 %is{number}, label %stretch{number}, label %other{number}",
            f"stretch{number}:",
            "  store i32 %step.next, ptr %step.slot",
            *run_stretch(stretch),
        ]
        if stretch.segment is None:
            lines += [f"  store i32 {_OK}, ptr %status.slot", f"  ret i32 {_OK}"]
        else:
            lines += [
                f"  %started{number} = call i32 @lepton_npu_start(ptr %task, "
                f"ptr @{program.name}_payload, i32 {stretch.segment})",
                f"  ret i32 %started{number}",
            ]
        lines.append(f"other{number}:")
    return "\n".join([*lines, f"  ret i32 {_OK}", "}", ""])


def _start(name: str, checks: Sequence[str]) -> str:
    lines = [
        f"define i32 @{name}_start(ptr %task, ptr %in, ptr %out, ptr %arena) #0 "
        f"{_section(name)} {{",
        "check:",
        "  %no.task = icmp eq ptr %task, null",
        "  br i1 %no.task, label %bad.task, label %entry",
        "bad.task:",
        f"  ret i32 {_NULL_ARGUMENT}",
        *checks,
        "  store ptr %in, ptr %task",
        _member(_OUT, "out.slot"),
        "  store ptr %out, ptr %out.slot",
        _member(_ARENA, "arena.slot"),
        "  store ptr %arena, ptr %arena.slot",
        _member(_STEP, "step.slot"),
        "  store i32 0, ptr %step.slot",
        f"  %status = call i32 @{name}_advance(ptr %task, ptr @{name}_weights)",
        f"  %busy = icmp eq i32 %status, {_BUSY}",
        f"  %result = select i1 %busy, i32 {_OK}, i32 %status",
        "  ret i32 %result",
    ]
    return "\n".join([*lines, "}", ""])


def _continuation(name: str, suffix: str, asked: str, *, repeats: bool) -> str:
    """Asks the driver; goes on with the core if a segment has ended well."""
    again = [
        f"  %busy = icmp eq i32 %next, {_BUSY}",
        "  br i1 %busy, label %ask, label %end",
        "end:",
    ]
    lines = [
        f"define i32 @{name}_{suffix}(ptr %task) #0 {_section(name)} {{",
        "  br label %ask",
        "ask:",
        f"  %status = call i32 @lepton_npu_{asked}(ptr %task)",
        f"  %ok = icmp eq i32 %status, {_OK}",
        "  br i1 %ok, label %go, label %stop",
        "stop:",
        "  ret i32 %status",
        "go:",
        f"  %next = call i32 @{name}_advance(ptr %task, ptr @{name}_weights)",
        *(again if repeats else []),
        "  ret i32 %next",
    ]
    return "\n".join([*lines, "}", ""])
