"""A program as one LLVM module: kernels, the function that calls them, the public entry points.

    NAME_run(in, out, arena)                      status; serial
    NAME_run_parallel(in, out, arena, parallel)   the same on the caller's threads
    NAME_weights                                  all constants, one aligned section
    NAME_start, NAME_poll, NAME_finish            with a tensor engine: `asynchronous`

In process there are no entry points: the caller calls `NAME_execute` and gives the constants.
`NAME_repeat` does so many times, for measurements. With exposed kernels, each can be called alone.
A profiled module has hooks besides (`profile_hooks`), and `NAME_execute` a parameter for them.
"""

from lepton_cc.codegen.kernel.expr import Var
from lepton_cc.codegen.kernel.parallel import over_range, parallel_extent
from lepton_cc.codegen.kernel.types import INDEX, Buffer, Space
from lepton_cc.codegen.llvm.asynchronous import DECLARATIONS as ASYNCHRONOUS_DECLARATIONS
from lepton_cc.codegen.llvm.asynchronous import asynchronous_entry_points
from lepton_cc.codegen.llvm.emit import FunctionEmitter
from lepton_cc.codegen.llvm.matrix_unit import (
    MATRIX_INTRINSICS,
    configuration,
    permission_check,
    permission_function,
)
from lepton_cc.codegen.llvm.profile_hooks import DECLARATION, IS_SILENT, has_clock, read_clock
from lepton_cc.codegen.program import (
    CONSTANT_ALIGNMENT,
    Call,
    KernelFunction,
    Place,
    Program,
    Role,
)
from lepton_cc.codegen.stretches import Stretch
from lepton_cc.ir.target import Target

# The status codes of lepton.h that entry points return.
_OK, _NULL_ARGUMENT, _MISALIGNED_ARENA, _UNSUPPORTED_CPU = 0, -1, -2, -6
_ARENA_ALIGNMENT = 16
_ENGINE_DECLARATION = "declare i32 @lepton_npu_invoke(ptr, i32, ptr, ptr, ptr)"


def emit_module(
    program: Program,
    *,
    in_process: bool = False,
    expose_kernels: bool = False,
    profile: bool = False,
) -> str:
    """The module as LLVM IR text."""
    return _ModuleEmitter(program, in_process, expose_kernels, profile).text()


class _ModuleEmitter:
    """Collects the parts of one module."""

    def __init__(
        self, program: Program, in_process: bool, expose_kernels: bool, profile: bool
    ) -> None:
        self._program = program
        self._expose_kernels = expose_kernels
        self._target: Target = program.target
        self._in_process = in_process
        self._index = f"i{program.target.pointer_bits}"
        self._call_attributes = " noinline" if profile else ""
        self._has_hooks = profile and has_clock(program.target)
        self._intrinsics: set[str] = {DECLARATION} if self._has_hooks else set()

    def text(self) -> str:
        """The whole module."""
        program = self._program
        kernels = [self._kernel(function) for function in program.kernels]
        tasks = [
            self._task(function)
            for function in program.kernels
            if parallel_extent(function.kernel) is not None
        ]
        parts = [f'target triple = "{self._target.triple}"', ""]
        parts += [*kernels, *tasks, self._execute()]
        if self._in_process:
            parts.append(self._repeat())
        else:
            parts += [self._weights(), *self._entry_points()]
            if program.engine is not None:
                parts += self._asynchronous()
        return "\n".join([*parts, *sorted(self._intrinsics), self._attributes()]) + "\n"

    def _attributes(self) -> str:
        wide = self._target.vector_bytes * 8
        width = f' "prefer-vector-width"="{wide}" "min-legal-vector-width"="{wide}"' if wide else ""
        # Kernels copy and clear with loops of their own: no library function is to be called.
        return f'attributes #0 = {{ nounwind "no-builtins"{width} }}'

    # Kernels

    def _kernel(self, function: KernelFunction) -> str:
        kernel = function.kernel
        pointers = {buffer: f"%{buffer.name}" for buffer in kernel.parameters}
        emitter = FunctionEmitter(self._target, pointers)
        for local in kernel.locals:
            assert local.space is not Space.MEMORY
            emitter.declare_local(local)
        for matrix in kernel.matrices:
            emitter.declare_matrix(matrix)
        parameters = [self._parameter(buffer, function) for buffer in kernel.parameters]
        body = kernel.body
        if parallel_extent(kernel) is not None:
            parameters += [f"{self._index} %begin", f"{self._index} %end"]
            bounds = Var(INDEX, "begin"), Var(INDEX, "end")
            for bound in bounds:
                emitter.bind(bound, f"%{bound.name}")
            body = over_range(kernel, *bounds)
        emitter.emit_block(body)
        self._intrinsics |= emitter.intrinsics
        linkage = "" if self._expose_kernels else "internal "
        symbol = self._symbol(kernel.name)
        head = f"define {linkage}void @{symbol}({', '.join(parameters)}) #0 {{"
        text = [emitter.text()]
        if kernel.matrices:
            self._intrinsics |= MATRIX_INTRINSICS
            table, begin, end = configuration(symbol, kernel.matrices)
            head = f"{table}\n{head}"
            text = [begin, *text, end]
        return "\n".join([head, "entry:", *text, "  ret void", "}", ""])

    def _parameter(self, buffer: Buffer, function: KernelFunction) -> str:
        words = ["ptr"]
        if buffer.name not in function.aliased:
            words.append("noalias")
        if not buffer.written:
            words.append("readonly")
        return " ".join([*words, f"%{buffer.name}"])

    def _symbol(self, kernel: str) -> str:
        return f"{self._program.name}_{kernel}"

    def _task(self, function: KernelFunction) -> str:
        """The function that the caller's threads run; its context is an array of arguments."""
        kernel = function.kernel
        lines = [
            f"define internal void @{self._symbol(kernel.name)}_task"
            "(ptr %context, i32 %begin32, i32 %end32) #0 {",
            f"  %begin = sext i32 %begin32 to {self._index}",
            f"  %end = sext i32 %end32 to {self._index}",
        ]
        if self._index == "i32":
            lines[1:] = ["  %begin = add i32 %begin32, 0", "  %end = add i32 %end32, 0"]
        arguments = []
        for number in range(len(kernel.parameters)):
            lines += [
                f"  %s{number} = getelementptr ptr, ptr %context, i32 {number}",
                f"  %a{number} = load ptr, ptr %s{number}",
            ]
            arguments.append(f"ptr %a{number}")
        arguments += [f"{self._index} %begin", f"{self._index} %end"]
        lines.append(f"  call void @{self._symbol(kernel.name)}({', '.join(arguments)})")
        return "\n".join([*lines, "  ret void", "}", ""])

    # Calls

    def _execute(self) -> str:
        linkage = "" if self._in_process else "internal "
        lines = [
            f"define {linkage}{self._result} @{self._program.name}_execute"
            "(ptr %in, ptr %out, ptr %arena, ptr %weights, ptr %parallel"
            f"{', ptr %ticks' if self._has_hooks else ''}) #0 {{",
            "entry:",
            *self._port_loads(),
        ]
        if self._has_hooks:
            lines.append(IS_SILENT)
        if self._has_parallel():
            lines += self._parallel_prologue()
        functions = self._program.kernels_by_name()
        for number, call in enumerate(self._program.calls):
            if self._has_hooks:
                lines += read_clock(number)
            if call.segment is not None:
                lines += self._engine_call(number, call.segment)
            else:
                lines += self._call(number, call, functions[call.kernel])
        if self._has_hooks:
            lines += read_clock(len(self._program.calls))
        return "\n".join([*lines, self._return, "}", ""])

    def _port_loads(self) -> list[str]:
        """The pointers that %in and %out hold."""
        lines = []
        for role, base, ports in (
            (Role.INPUT, "%in", self._program.inputs),
            (Role.OUTPUT, "%out", self._program.outputs),
        ):
            for number in range(len(ports)):
                slot = f"%{role.value}.slot{number}"
                lines += [
                    f"  {slot} = getelementptr ptr, ptr {base}, i32 {number}",
                    f"  %{role.value}{number} = load ptr, ptr {slot}",
                ]
        return lines

    def _asynchronous(self) -> list[str]:
        self._intrinsics |= set(ASYNCHRONOUS_DECLARATIONS)
        checks = _argument_checks(self._index, arena=self._program.arena_bytes > 0)
        return asynchronous_entry_points(
            self._program, checks, self._port_loads(), self._serial_calls
        )

    def _serial_calls(self, stretch: Stretch) -> list[str]:
        """The kernels of a stretch, each whole."""
        functions = self._program.kernels_by_name()
        lines: list[str] = []
        for number, call in stretch.calls:
            loads, arguments = self._call_arguments(number, call)
            extent = parallel_extent(functions[call.kernel].kernel)
            if extent is not None:
                arguments += [f"{self._index} 0", f"{self._index} {extent}"]
            symbol = self._symbol(call.kernel)
            lines += [*loads, f"  call void @{symbol}({', '.join(arguments)})"]
        return lines

    def _call_arguments(self, number: int, call: Call) -> tuple[list[str], list[str]]:
        """Code that computes the pointers to a call's places, and these with their type."""
        lines: list[str] = []
        arguments: list[str] = []
        for position, place in enumerate(call.arguments):
            pointer, code = self._pointer(f"c{number}.{position}", place)
            lines += code
            arguments.append(f"ptr {pointer}")
        return lines, arguments

    @property
    def _result(self) -> str:
        """What `NAME_execute` gives: a status where the engine may refuse."""
        return "void" if self._program.engine is None else "i32"

    @property
    def _status(self) -> str:
        return "" if self._program.engine is None else "%status = "

    @property
    def _return(self) -> str:
        return "  ret void" if self._program.engine is None else f"  ret i32 {_OK}"

    def _engine_call(self, number: int, segment: int) -> list[str]:
        """Runs a segment through the driver; what it refuses ends the run."""
        self._intrinsics.add(_ENGINE_DECLARATION)
        tag = f"e{number}"
        return [
            f"  %{tag} = call i32 @lepton_npu_invoke(ptr @{self._program.name}_payload, "
            f"i32 {segment}, ptr %arena, ptr %in, ptr %out)",
            f"  %{tag}.ok = icmp eq i32 %{tag}, {_OK}",
            f"  br i1 %{tag}.ok, label %{tag}.next, label %{tag}.stop",
            f"{tag}.stop:",
            f"  ret i32 %{tag}",
            f"{tag}.next:",
        ]

    @property
    def _no_ticks(self) -> str:
        return ", ptr null" if self._has_hooks else ""

    def _has_parallel(self) -> bool:
        return any(parallel_extent(f.kernel) is not None for f in self._program.kernels)

    def _parallel_prologue(self) -> list[str]:
        most = max(len(function.kernel.parameters) for function in self._program.kernels)
        return [
            f"  %arguments = alloca [{most} x ptr]",
            "  %serial = icmp eq ptr %parallel, null",
            "  br i1 %serial, label %start, label %threads",
            "threads:",
            "  %run.loaded = load ptr, ptr %parallel",
            "  %self.slot = getelementptr ptr, ptr %parallel, i32 1",
            "  %self.loaded = load ptr, ptr %self.slot",
            "  br label %start",
            "start:",
            "  %run = phi ptr [ null, %entry ], [ %run.loaded, %threads ]",
            "  %self = phi ptr [ null, %entry ], [ %self.loaded, %threads ]",
        ]

    def _pointer(self, tag: str, place: Place) -> tuple[str, list[str]]:
        if place.role in (Role.INPUT, Role.OUTPUT):
            return f"%{place.role.value}{place.position}", []
        base = "%weights" if place.role is Role.CONSTANT else "%arena"
        if place.position == 0:
            return base, []
        line = f"  %{tag} = getelementptr i8, ptr {base}, {self._index} {place.position}"
        return f"%{tag}", [line]

    def _call(self, number: int, call: Call, function: KernelFunction) -> list[str]:
        lines, arguments = self._call_arguments(number, call)
        symbol = f"@{self._symbol(call.kernel)}"
        extent = parallel_extent(function.kernel)
        if extent is None:
            return [*lines, f"  call void {symbol}({', '.join(arguments)}){self._call_attributes}"]
        bounds = [f"{self._index} 0", f"{self._index} {extent}"]
        lines.append(f"  br i1 %serial, label %c{number}.serial, label %c{number}.parallel")
        lines += [
            f"c{number}.serial:",
            f"  call void {symbol}({', '.join([*arguments, *bounds])}){self._call_attributes}",
            f"  br label %c{number}.end",
            f"c{number}.parallel:",
        ]
        for position, argument in enumerate(arguments):
            slot = f"%c{number}.slot{position}"
            lines += [
                f"  {slot} = getelementptr ptr, ptr %arguments, i32 {position}",
                f"  store {argument}, ptr {slot}",
            ]
        lines += [
            f"  call void %run(ptr %self, i32 {extent}, ptr {symbol}_task, ptr %arguments)",
            f"  br label %c{number}.end",
            f"c{number}.end:",
        ]
        return lines

    def _repeat(self) -> str:
        """The serial program, run a number of times that is read from memory."""
        name = self._program.name
        return "\n".join(
            [
                f"define void @{name}_repeat"
                "(ptr %in, ptr %out, ptr %arena, ptr %weights, ptr %count) #0 {",
                "entry:",
                "  %last = load i64, ptr %count",
                "  br label %again",
                "again:",
                "  %done = phi i64 [ 0, %entry ], [ %next, %again ]",
                f"  call {self._result} @{name}_execute"
                "(ptr %in, ptr %out, ptr %arena, ptr %weights, "
                f"ptr null{self._no_ticks}) noinline",
                "  %next = add i64 %done, 1",
                "  %more = icmp ult i64 %next, %last",
                "  br i1 %more, label %again, label %end",
                "end:",
                "  ret void",
                "}",
                "",
            ]
        )

    # Entry points

    def _weights(self) -> str:
        blob = self._program.constants_blob() or bytes(CONSTANT_ALIGNMENT)
        engine = self._program.engine
        payload = "" if engine is None else self._bytes("payload", engine.payload, "")
        return self._bytes("weights", blob) + payload

    def _bytes(self, suffix: str, content: bytes, linkage: str = "internal ") -> str:
        """Bytes as a constant in a section of its own."""
        escaped = "".join(_ESCAPES[byte] for byte in content)
        symbol = f"{self._program.name}_{suffix}"
        return (
            f"@{symbol} = {linkage}constant [{len(content)} x i8] "
            f'c"{escaped}", section ".rodata.{symbol}", align {CONSTANT_ALIGNMENT}\n'
        )

    def _entry_points(self) -> list[str]:
        name = self._program.name
        checks = _argument_checks(self._index, arena=self._program.arena_bytes > 0)
        points: list[str] = []
        if any(function.kernel.matrices for function in self._program.kernels):
            checks += permission_check(name, _UNSUPPORTED_CPU)
            points.append(permission_function(name))
        variants = [
            ("", "", f"ptr null{self._no_ticks}"),
            ("_parallel", ", ptr %parallel", f"ptr %parallel{self._no_ticks}"),
        ]
        if self._has_hooks:
            variants.append(("_profiled", ", ptr %ticks", "ptr null, ptr %ticks"))
        for suffix, extra, last in variants:
            points.append(
                "\n".join(
                    [
                        f"define i32 @{name}_run{suffix}"
                        f"(ptr %in, ptr %out, ptr %arena{extra}) #0 {{",
                        *checks,
                        f"  {self._status}call {self._result} @{name}_execute"
                        f"(ptr %in, ptr %out, ptr %arena, ptr @{name}_weights, {last})",
                        f"  ret i32 {'%status' if self._status else _OK}",
                        "}",
                        "",
                    ]
                )
            )
        return points


def _argument_checks(index: str, *, arena: bool) -> list[str]:
    """Refuses null pointers, and an arena that is needed but not aligned; `good` goes on."""
    checked = ["in", "out", "arena"] if arena else ["in", "out"]
    lines = ["entry:", *(f"  %{name}.null = icmp eq ptr %{name}, null" for name in checked)]
    lines.append("  %io.null = or i1 %in.null, %out.null")
    if not arena:
        return [
            *lines,
            "  br i1 %io.null, label %bad.null, label %good",
            "bad.null:",
            f"  ret i32 {_NULL_ARGUMENT}",
            "good:",
        ]
    return [
        *lines,
        "  %null = or i1 %io.null, %arena.null",
        "  br i1 %null, label %bad.null, label %aligned",
        "bad.null:",
        f"  ret i32 {_NULL_ARGUMENT}",
        "aligned:",
        f"  %address = ptrtoint ptr %arena to {index}",
        f"  %low = and {index} %address, {_ARENA_ALIGNMENT - 1}",
        f"  %misaligned = icmp ne {index} %low, 0",
        "  br i1 %misaligned, label %bad.arena, label %good",
        "bad.arena:",
        f"  ret i32 {_MISALIGNED_ARENA}",
        "good:",
    ]


_ESCAPES = tuple(
    chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:02X}"
    for byte in range(256)
)
