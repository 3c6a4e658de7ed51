"""How fast one core multiplies and adds from registers: what kernels are measured against."""

import ctypes
import time
from dataclasses import dataclass

from lepton_cc.codegen.kernel.ir import Matrix
from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.llvm.matrix_unit import MATRIX_INTRINSICS, configuration
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.target import DotProduct, Target
from lepton_cc.measure.layer_times import LayerTime
from lepton_cc.report import LayerReport

_NUM_ACCUMULATORS = 12  # latency of 4 cycles times 2 units, and some to spare
_MATRIX_ROWS = 16  # and as many 32-bit words in each
_NUM_ITERATIONS = 50_000  # some 100 us, which a busy machine leaves undisturbed now and then
_NUM_TURNS = 200


@dataclass(frozen=True, slots=True)
class Peaks:
    """What one core reaches in GMAC/s; None where its target has no instruction for it.

    f32, i8: in vector registers; matrix: of u8 by i8 in the matrix unit.
    """

    f32: float | None
    i8: float | None
    matrix: float | None = None

    def of(self, layer: LayerReport) -> float | None:
        """That of the unit that a layer's code uses."""
        if layer.uses_matrices:
            return self.matrix
        is_float = layer.dtype[0] == "f" and "requantize" not in layer.operation
        return self.f32 if is_float else self.i8

    def share(self, row: LayerTime) -> float | None:
        """A layer's part of the peak of its unit, 0 to 1."""
        if row.layer is None or row.gmacs is None:
            return None
        peak = self.of(row.layer)
        return row.gmacs / peak if peak else None


def measured_peaks(target: Target) -> Peaks:
    """Measures each kind, in some tens of milliseconds."""
    vectors = (peak_gmacs(target, DType.F32), peak_gmacs(target, DType.I8))
    return Peaks(*vectors, matrix_peak_gmacs(target))


def peak_gmacs(target: Target, dtype: DType) -> float | None:
    """Billions of multiply-adds a second, of f32 or of u8 by i8; None without an instruction.

    A loop of independent instructions on full vectors, through the same LLVM.
    """
    lines = _instruction(target, dtype)
    if lines is None:
        return None
    products = 4 if dtype is DType.I8 else 1
    per_iteration = _NUM_ACCUMULATORS * target.lanes(4) * products
    return per_iteration / _iteration_seconds(_module(target, *lines), target) / 1e9


def matrix_peak_gmacs(target: Target) -> float | None:
    """Billions of multiply-adds a second, of u8 by i8 in the matrix unit; None without one."""
    if not target.matrix_registers:
        return None
    num_totals = target.matrix_registers - 2
    per_iteration = num_totals * _MATRIX_ROWS**2 * 4 * _MATRIX_ROWS
    return per_iteration / _iteration_seconds(_matrix_module(target), target) / 1e9


def _iteration_seconds(module: str, target: Target) -> float:
    """The least seconds of an iteration of a module's `peak`."""
    code = LoadedCode(module, target, 3)
    function = code.function("peak", 2)
    count = ctypes.c_uint64(_NUM_ITERATIONS)
    sink = (ctypes.c_float * (64 * _NUM_ACCUMULATORS))()
    best = float("inf")
    for _ in range(_NUM_TURNS):
        start = time.perf_counter()
        function(ctypes.addressof(count), ctypes.addressof(sink))
        best = min(best, time.perf_counter() - start)
    return best / _NUM_ITERATIONS


def _instruction(target: Target, dtype: DType) -> tuple[str, str, str] | None:
    """Type of %x, declaration, and the call on %x and the accumulator %a{n}."""
    lanes = target.lanes(4)
    if dtype is DType.F32 and target.vector_bytes:
        operation = "fma" if target.fused_multiply_add else "fmuladd"
        vector = f"<{lanes} x float>"
        name = f"@llvm.{operation}.v{lanes}f32"
        call = f"call {vector} {name}({vector} %x, {vector} %x, {vector} %a{{n}})"
        return vector, f"declare {vector} {name}({vector}, {vector}, {vector})", call
    if dtype is DType.I8 and target.dot_product is DotProduct.QUADS:
        vector, bytes_ = f"<{lanes} x i32>", f"<{lanes * 4} x i8>"
        name = f"@llvm.x86.avx512.vpdpbusd.{target.vector_bytes * 8}"
        call = f"call {vector} {name}({vector} %a{{n}}, {bytes_} %x, {bytes_} %x)"
        return bytes_, f"declare {vector} {name}({vector}, {bytes_}, {bytes_})", call
    return None


def _module(target: Target, operand: str, declaration: str, call: str) -> str:
    numbers = range(_NUM_ACCUMULATORS)
    accumulator = declaration.split("@", 1)[0].removeprefix("declare ").strip()
    bits = target.vector_bytes * 8
    lines = [
        f'target triple = "{target.triple}"',
        declaration,
        "define void @peak(ptr %count, ptr %sink) #0 {",
        "entry:",
        "  %last = load i64, ptr %count",
        # From memory, so that LLVM cannot know the operands.
        f"  %x = load {operand}, ptr %sink, align 4",
        "  br label %again",
        "again:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %again ]",
        *(
            f"  %a{n} = phi {accumulator} [ zeroinitializer, %entry ], [ %b{n}, %again ]"
            for n in numbers
        ),
        *(f"  %b{n} = {call.format(n=n)}" for n in numbers),
        "  %next = add i64 %i, 1",
        "  %more = icmp ult i64 %next, %last",
        "  br i1 %more, label %again, label %end",
        "end:",
    ]
    for n in numbers:
        lines += [
            f"  %p{n} = getelementptr i8, ptr %sink, i64 {n * target.vector_bytes}",
            f"  store {accumulator} %b{n}, ptr %p{n}, align 4",
        ]
    width = f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'
    return "\n".join([*lines, "  ret void", "}", f"attributes #0 = {{ nounwind {width} }}", ""])


def _matrix_module(target: Target) -> str:
    """Every register but two adds up products of these two, which are zero: speed is the same."""
    numbers = range(target.matrix_registers)
    matrices = [Matrix(f"m{number}", _MATRIX_ROWS, _MATRIX_ROWS) for number in numbers]
    table, begin, end = configuration("peak", matrices)
    *totals, lhs, rhs = numbers
    lines = [
        f'target triple = "{target.triple}"',
        table,
        *sorted(MATRIX_INTRINSICS),
        "declare void @llvm.x86.tdpbusd(i8 immarg, i8 immarg, i8 immarg)",
        "define void @peak(ptr %count, ptr %sink) nounwind {",
        "entry:",
        begin,
        "  %last = load i64, ptr %count",
        "  br label %again",
        "again:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %again ]",
        *(f"  call void @llvm.x86.tdpbusd(i8 {n}, i8 {lhs}, i8 {rhs})" for n in totals),
        "  %next = add i64 %i, 1",
        "  %more = icmp ult i64 %next, %last",
        "  br i1 %more, label %again, label %end",
        "end:",
        end,
        "  ret void",
        "}",
    ]
    return "\n".join([*lines, ""])
