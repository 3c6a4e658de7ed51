"""Entry points in C that do not wait for the tensor engine: NAME_start, NAME_poll, NAME_finish.

They do what those of `codegen.llvm.asynchronous` do.
"""

from collections.abc import Callable, Sequence

from lepton_cc.codegen.program import Program
from lepton_cc.codegen.stretches import Stretch, stretches

_START = """\
lepton_status {name}_start(lepton_npu_task *task, const {name}_inputs *in,
    const {name}_outputs *out, void *arena)
{{
    lepton_status status;

    if (task == NULL) {{
        return LEPTON_ERROR_NULL_ARGUMENT;
    }}
{checks}
    task->inputs = in;
    task->outputs = out;
    task->arena = arena;
    task->step = 0u;
    status = {name}_advance(task);
    return status == LEPTON_BUSY ? LEPTON_OK : status;
}}
"""
_CONTINUATIONS = """\
lepton_status {name}_poll(lepton_npu_task *task)
{{
    const lepton_status status = lepton_npu_poll(task);

    return status == LEPTON_OK ? {name}_advance(task) : status;
}}

lepton_status {name}_finish(lepton_npu_task *task)
{{
    lepton_status status;

    do {{
        status = lepton_npu_wait(task);
        if (status == LEPTON_OK) {{
            status = {name}_advance(task);
        }}
    }} while (status == LEPTON_BUSY);
    return status;
}}
"""


def asynchronous_entry_points(
    program: Program,
    checks: Sequence[str],
    unused: Sequence[str],
    run_stretch: Callable[[Stretch], Sequence[str]],
) -> str:
    """The functions, and the one that runs the stretch that is next.

    `checks` are NAME_run's of its arguments; of `in`, `out` and `arena` no kernel reads `unused`;
    `run_stretch` calls the kernels of a stretch on the others, indented by a step.
    """
    name = program.name
    sources = {
        "in": f"const {name}_inputs *const in = task->inputs",
        "out": f"const {name}_outputs *const out = task->outputs",
        "arena": "uint8_t *const arena = task->arena",
    }
    lines = [
        "/* Runs what the core has to do next; busy if a segment of the engine follows. */",
        f"static lepton_status {name}_advance(lepton_npu_task *task)",
        "{",
        *(f"    {source};" for word, source in sources.items() if word not in unused),
        "",
        "    switch (task->step) {",
    ]
    for number, stretch in enumerate(stretches(program)):
        lines += [
            f"    case {number}u:",
            "        ++task->step;",
            *(f"    {line}" for line in run_stretch(stretch)),
        ]
        if stretch.segment is None:
            lines += ["        task->status = LEPTON_OK;", "        break;"]
        else:
            lines.append(
                f"        return lepton_npu_start(task, {name}_payload, {stretch.segment}u);"
            )
    lines += ["    default:", "        break;", "    }", "    return LEPTON_OK;", "}", ""]
    entries = [_START.format(name=name, checks="\n".join(checks)), _CONTINUATIONS.format(name=name)]
    return "\n".join([*lines, *entries])
