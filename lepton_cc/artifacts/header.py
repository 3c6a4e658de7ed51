"""Writes `NAME.h`, the whole interface of a compiled model in C99 and C++11."""

from collections.abc import Sequence

from lepton_cc.artifacts.c_types import c_type
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.llvm.profile_hooks import has_clock
from lepton_cc.codegen.program import Port, Program
from lepton_cc.passes.quantize.expose_integers import PortScale
from lepton_cc.report import MemoryReport

_HEAD = """\
/* {name}.h: {name}, compiled by lepton-cc for {target}.
 *
 * All state is the caller's: no heap, nothing global that changes. Calls with different arenas
 * may run at the same time.
 */
#ifndef {guard}
#define {guard}

#include "lepton/{runtime}.h"

#ifdef __cplusplus
extern "C" {{
#endif

/* Bytes of working memory that {name}_run is given, aligned to LEPTON_ARENA_ALIGNMENT; faster at
 * {name}_ARENA_BEST_ALIGNMENT. */
#define {name}_ARENA_BYTES {arena}u
#define {name}_ARENA_BEST_ALIGNMENT {alignment}u

/* Most bytes of stack that {name}_run takes below its caller's{stack_note}. */
#define {name}_STACK_BYTES {stack}u
{task_stack}
/* Bytes of code and constants{flash_note}. */
#define {name}_FLASH_BYTES {flash}u

{pointer_assertion}LEPTON_STATIC_ASSERT({name}_ARENA_BEST_ALIGNMENT % LEPTON_ARENA_ALIGNMENT == 0,
                     {name}_arena_alignments_agree);
"""

_POINTER_ASSERTION = """\
LEPTON_STATIC_ASSERT(sizeof(void *) == {size}, {name}_is_for_{bits}_bit_pointers);
"""

_RUN = """\
/* Runs the model once. `arena` may be {arena_rule}; it keeps nothing between two runs.
 *
 * Buffers may not overlap. Returns LEPTON_OK, LEPTON_ERROR_NULL_ARGUMENT or
 * LEPTON_ERROR_MISALIGNED_ARENA.{note}
 */
lepton_status {name}_run(const {name}_inputs *in, const {name}_outputs *out, void *arena);
"""

_MATRIX_NOTE = """
 * First it asks Linux for the process to use AMX tiles (arch_prctl, ARCH_REQ_XCOMP_PERM), which
 * takes less than a microsecond. Returns LEPTON_ERROR_UNSUPPORTED_CPU if there are none."""

_RUN_PARALLEL = """\
/* The same on threads that the caller lends; the result has the same bytes. */
lepton_status {name}_run_parallel(const {name}_inputs *in, const {name}_outputs *out, void *arena,
                                  const lepton_parallel *parallel);
"""

_RUN_PROFILED = """\
/* As {name}_run, and reads the clock before each of the layers, and after the last one. */
#define {name}_NUM_LAYERS {num_layers}u
lepton_status {name}_run_profiled(const {name}_inputs *in, const {name}_outputs *out, void *arena,
                                  uint64_t ticks[{name}_NUM_LAYERS + 1u]);
"""

_ASYNCHRONOUS = """\
/* The same beside other work: {name}_start gives the first layers to the engine and returns.
 *
 * {name}_poll says LEPTON_BUSY while the engine runs, LEPTON_OK when the model is done; it runs the
 * layers that the core has between the engine's, so call it from the main loop. {name}_finish waits
 * for the end. An error is the result of all further calls. `in`, `out`, what they point to and the
 * arena stay in place until the end. `task` is the caller's memory: of any content, but zeros if an
 * interrupt handler looks at it, which calls lepton_npu_interrupt(task).
 */
lepton_status {name}_start(lepton_npu_task *task, const {name}_inputs *in,
                           const {name}_outputs *out, void *arena);
lepton_status {name}_poll(lepton_npu_task *task);
lepton_status {name}_finish(lepton_npu_task *task);
"""

_PAYLOAD = """\
/* The payload of the tensor engine (lepton/npu.h): what {name}_run gives to its driver. */
#define {name}_PAYLOAD_BYTES {num_bytes}u
extern const uint8_t {name}_payload[{name}_PAYLOAD_BYTES];
"""

_ENGINE_NOTE = """
 * Buffers are aligned to 16 bytes. Returns LEPTON_ERROR_MISALIGNED_BUFFER too, and
 * LEPTON_ERROR_DEVICE if the tensor engine refuses or faults. The board gives access to it by
 * lepton_npu_bus (lepton/npu.h)."""

_PORTABLE_NOTE = " as lepton-cc compiles it; your compiler's code may differ"

_FOOT = """\
#ifdef __cplusplus
}}
#endif

#endif /* {guard} */
"""


def header_text(
    program: Program,
    memory: MemoryReport,
    builtins: Sequence[str],
    *,
    portable: bool = False,
    profiled: bool = False,
) -> str:
    """The header of a program; `builtins` are the compiler's routines that its code calls.

    `portable`: it goes with C sources, whose stack and flash depend on who compiles them.
    `profiled`: the code has hooks, if the target has a clock.
    """
    name = program.name
    guard = f"LEPTON_MODEL_{name.upper()}_H"
    listed = f", those of {len(builtins)} routines of the compiler's library included"
    head = _HEAD.format(
        name=name,
        target=program.target.name,
        guard=guard,
        runtime="lepton" if program.engine is None else "npu",
        arena=memory.arena_bytes,
        alignment=max(16, program.target.vector_bytes),
        stack=memory.stack_bytes,
        stack_note=_PORTABLE_NOTE if portable else listed if builtins else "",
        task_stack=_task_stack(name, memory),
        flash=memory.flash_bytes,
        flash_note=_flash_note(program, builtins, portable=portable),
        pointer_assertion=""
        if portable
        else _POINTER_ASSERTION.format(
            name=name, size=program.target.pointer_bits // 8, bits=program.target.pointer_bits
        ),
    )
    has_matrices = any(f.kernel.matrices for f in program.kernels) and not portable
    parallel = any(parallel_extent(f.kernel) is not None for f in program.kernels)
    parts = [
        head,
        _struct(f"{name}_inputs", "const ", program.inputs),
        _struct(f"{name}_outputs", "", program.outputs),
        _RUN.format(
            name=name,
            arena_rule="any address of that alignment" if memory.arena_bytes else "anything",
            note=_MATRIX_NOTE if has_matrices else _ENGINE_NOTE if program.engine else "",
        ),
    ]
    if program.engine is not None:
        parts.append(_ASYNCHRONOUS.format(name=name))
        parts.append(_PAYLOAD.format(name=name, num_bytes=len(program.engine.payload)))
    if parallel:
        parts.append(_RUN_PARALLEL.format(name=name))
    if profiled and has_clock(program.target):
        parts.append(_RUN_PROFILED.format(name=name, num_layers=len(program.calls)))
    return "\n".join([*parts, _FOOT.format(guard=guard)])


def _flash_note(program: Program, builtins: Sequence[str], *, portable: bool) -> str:
    if portable:
        return _PORTABLE_NOTE
    of_run = "" if program.engine is None else f" of {program.name}_run"
    return of_run + (", without the compiler's library" if builtins else "")


def _task_stack(name: str, memory: MemoryReport) -> str:
    if memory.task_stack_bytes == 0:
        return ""
    return (
        "\n/* Most bytes of stack of a task that the caller's threads run. */\n"
        f"#define {name}_TASK_STACK_BYTES {memory.task_stack_bytes}u\n"
    )


def _struct(name: str, qualifier: str, ports: Sequence[Port]) -> str:
    lines = ["typedef struct {"]
    for port in ports:
        scale = "" if port.scale is None else f", {_scale(port.scale)}"
        size = f"{port.type.size_bytes} bytes"
        lines.append(f"    /* {_comment(port.name)}: {port.type}, {size}{scale} */")
        lines.append(f"    {qualifier}{c_type(port.type.dtype)} *{port.identifier};")
    if not ports:
        # C99 has no empty structs.
        lines.append("    const void *nothing;")
    return "\n".join([*lines, f"}} {name};", ""])


def _scale(scale: PortScale) -> str:
    """What the integers of a port mean."""
    point = f" - {scale.zero_point}" if scale.zero_point >= 0 else f" + {-scale.zero_point}"
    return f"real = {scale.scale!r} * (integer{point})"


def _comment(text: str) -> str:
    """A name of the model inside a C comment: printable, and it cannot end the comment."""
    printable = text.encode("unicode_escape").decode("ascii")
    return printable.replace("*/", "*\\/").replace("/*", "/\\*").replace("??/", "? ?/")
