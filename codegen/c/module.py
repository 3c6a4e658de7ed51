"""A program as one portable C99 file: kernels, the function that calls them, the entry points.

    NAME_run(in, out, arena)                      status; serial
    NAME_run_parallel(in, out, arena, parallel)   the same on the caller's threads, if any loop may
    NAME_start, NAME_poll, NAME_finish            with a tensor engine: `asynchronous`

The constants are `NAME_weights`, one aligned object that `codegen.c.weights` puts beside it. The
file includes the model's header and is freestanding but for that.
"""

from collections.abc import Iterable, Sequence

from lepton_cc.codegen.c.asynchronous import asynchronous_entry_points
from lepton_cc.codegen.c.kernel import CFunction, emit_kernel
from lepton_cc.codegen.c.support import SupportFunction
from lepton_cc.codegen.c.types import comment, element_type, memory_type
from lepton_cc.codegen.kernel.ir import Kernel
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.program import Call, KernelFunction, Place, Program, Role
from lepton_cc.codegen.stretches import Stretch
from lepton_cc.ir.dtype import DType

# Results must not depend on the compiler: no contraction, no wider intermediate results. (clang's
# -ffp-contract=fast disregards the pragma; its default and GCC's every mode respect theirs.)
_FLOAT_RULES = """\
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: this code relies on IEEE 754"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "floats are computed in a wider format; on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif
"""
_MAY_ALIAS = """\
/* The arena holds values of different types one after the other. */
#if defined(__GNUC__) || defined(__clang__)
#define LEPTON_MAY_ALIAS __attribute__((may_alias))
#else
#define LEPTON_MAY_ALIAS
#endif
"""


def prelude(dtypes: Iterable[DType], support: Iterable[SupportFunction]) -> str:
    """What stands above kernels: rules for floats, the types of memory, support functions."""
    names = {memory_type(dtype): element_type(dtype) for dtype in dtypes}
    types = [f"typedef {kind} LEPTON_MAY_ALIAS {name};" for name, kind in sorted(names.items())]
    ordered = sorted(set(support), key=lambda function: (function.text.count("lepton_"), function))
    functions = [function.text for function in ordered]
    return "\n".join([_FLOAT_RULES, _MAY_ALIAS + "\n".join(types) + "\n", *functions])


def emit_c_module(program: Program) -> str:
    """The C file; it includes `NAME.h`."""
    return _CModule(program).text()


class _CModule:
    """Collects the parts of one file."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._name = program.name
        self._parallel = any(parallel_extent(f.kernel) is not None for f in program.kernels)

    def text(self) -> str:
        """The whole file."""
        program = self._program
        kernels = [self._kernel(function) for function in program.kernels]
        dtypes = {buffer.dtype for f in program.kernels for buffer in f.kernel.parameters}
        support = [function for kernel in kernels for function in kernel.support]
        head = (
            f"/* {comment(self._name)}: a model compiled by lepton-cc to portable C99. */\n"
            f'#include "{self._name}.h"\n\n#include <stddef.h>\n#include <stdint.h>\n'
        )
        parts = [head, prelude(dtypes, support)]
        if program.constants_bytes:
            parts.append(f"extern const uint8_t {self._name}_weights[];\n")
        if program.engine is not None:
            parts.append(f"extern const uint8_t {self._name}_payload[];\n")
        for function, emitted in zip(program.kernels, kernels, strict=True):
            parts.append(emitted.text)
            if parallel_extent(function.kernel) is not None:
                parts.append(self._task(function.kernel))
        parts += [self._execute(), self._entry_points()]
        if program.engine is not None:
            parts.append(self._asynchronous())
        return "\n".join(parts)

    def _symbol(self, kernel: str) -> str:
        return f"{self._name}_{kernel}"

    def _kernel(self, function: KernelFunction) -> CFunction:
        name = function.kernel.name
        served = (call.location.nodes for call in self._program.calls if call.kernel == name)
        nodes = tuple(dict.fromkeys(node for location in served for node in location))
        return emit_kernel(
            function.kernel, self._symbol(name), aliased=function.aliased, nodes=nodes
        )

    def _task(self, kernel: Kernel) -> str:
        """The arguments of a parallel kernel, and the function that threads run over them."""
        symbol = self._symbol(kernel.name)
        members = [
            f"    {'' if buffer.written else 'const '}{memory_type(buffer.dtype)} *a{number};"
            for number, buffer in enumerate(kernel.parameters)
        ]
        values = [f"arguments->a{number}" for number in range(len(kernel.parameters))]
        return "\n".join(
            [
                "typedef struct {",
                *members,
                f"}} {symbol}_arguments;\n",
                f"static void {symbol}_task(void *context, int32_t begin, int32_t end)",
                "{",
                f"    const {symbol}_arguments *const arguments = context;",
                f"    {symbol}({', '.join([*values, 'begin', 'end'])});",
                "}\n",
            ]
        )

    # Calls

    def _execute(self) -> str:
        name, program = self._name, self._program
        roles = {place.role for call in program.calls for place in call.arguments}
        parameters = [
            f"const {name}_inputs *in",
            f"const {name}_outputs *out",
            "uint8_t *arena",
            *(["const lepton_parallel *parallel"] if self._parallel else []),
        ]
        used = {"in": Role.INPUT, "out": Role.OUTPUT, "arena": Role.ARENA}
        lines = [f"    (void){word};" for word, role in used.items() if role not in roles]
        functions = program.kernels_by_name()
        for call in program.calls:
            if call.segment is not None:
                lines += self._engine_call(call, call.segment)
            else:
                lines += self._call(call, functions[call.kernel].kernel)
        lines.append("    return LEPTON_OK;")
        head = f"static lepton_status {name}_execute({', '.join(parameters)})"
        return "\n".join([head, "{", *lines, "}", ""])

    def _asynchronous(self) -> str:
        read = {
            place.role
            for call in self._program.calls
            if call.segment is None
            for place in call.arguments
        }
        roles = {"in": Role.INPUT, "out": Role.OUTPUT, "arena": Role.ARENA}
        unused = [word for word, role in roles.items() if role not in read]
        return asynchronous_entry_points(self._program, self._checks(), unused, self._serial_calls)

    def _serial_calls(self, stretch: Stretch) -> Sequence[str]:
        """The kernels of a stretch, each whole."""
        functions = self._program.kernels_by_name()
        lines = []
        for _, call in stretch.calls:
            arguments = [self._argument(place) for place in call.arguments]
            extent = parallel_extent(functions[call.kernel].kernel)
            if extent is not None:
                arguments += ["0", str(extent)]
            note = comment(f"{call.operation} {call.location}".strip())
            symbol = self._symbol(call.kernel)
            lines += [f"    /* {note} */", f"    {symbol}({', '.join(arguments)});"]
        return lines

    def _engine_call(self, call: Call, segment: int) -> Sequence[str]:
        """Runs a segment of the tensor engine; the structs of ports are arrays of pointers."""
        note = f"    /* engine: {comment(str(call.location))} */"
        return [
            note,
            "    {",
            f"        const lepton_status status = lepton_npu_invoke({self._name}_payload, "
            f"{segment}u, arena,",
            "            (const void *const *)(const void *)in, (void *const *)(const void *)out);",
            "        if (status != LEPTON_OK) {",
            "            return status;",
            "        }",
            "    }",
        ]

    def _call(self, call: Call, kernel: Kernel) -> Sequence[str]:
        symbol = self._symbol(call.kernel)
        arguments = [self._argument(place) for place in call.arguments]
        note = f"    /* {comment(f'{call.operation} {call.location}'.strip())} */"
        extent = parallel_extent(kernel)
        if extent is None:
            return [note, f"    {symbol}({', '.join(arguments)});"]
        return [
            note,
            "    {",
            f"        {symbol}_arguments arguments = {{{', '.join(arguments)}}};",
            "        if (parallel != NULL) {",
            f"            parallel->run(parallel->self, {extent}, {symbol}_task, &arguments);",
            "        } else {",
            f"            {symbol}_task(&arguments, 0, {extent});",
            "        }",
            "    }",
        ]

    def _argument(self, place: Place) -> str:
        match place.role:
            case Role.INPUT:
                return f"(const void *)in->{self._program.inputs[place.position].identifier}"
            case Role.OUTPUT:
                return f"(void *)out->{self._program.outputs[place.position].identifier}"
            case Role.CONSTANT:
                return f"(const void *)({self._name}_weights + {place.position})"
            case Role.ARENA:
                return f"(void *)(arena + {place.position})"

    def _entry_points(self) -> str:
        name = self._name
        variants = [("", "")]
        if self._parallel:
            variants.append(("_parallel", ",\n        const lepton_parallel *parallel"))
        points = []
        for suffix, extra in variants:
            threads = ("parallel" if extra else "NULL",) if self._parallel else ()
            arguments = ", ".join(("in", "out", "arena", *threads))
            points += [
                f"lepton_status {name}_run{suffix}(const {name}_inputs *in, "
                f"const {name}_outputs *out, void *arena{extra})",
                "{",
                *self._checks(),
                f"    return {name}_execute({arguments});",
                "}",
                "",
            ]
        return "\n".join(points)

    def _checks(self) -> Sequence[str]:
        arena = " || arena == NULL" if self._program.arena_bytes else ""
        checks = [
            f"    if (in == NULL || out == NULL{arena}) {{",
            "        return LEPTON_ERROR_NULL_ARGUMENT;",
            "    }",
        ]
        if arena:
            checks += [
                "    if (((uintptr_t)arena & (LEPTON_ARENA_ALIGNMENT - 1u)) != 0) {",
                "        return LEPTON_ERROR_MISALIGNED_ARENA;",
                "    }",
            ]
        return checks
