"""The saturating form of requantized bytes against the plain one, and as machine code."""

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.kernel.expr import Const, Expr, MulAdd, NarrowingCast, Var, index, load
from lepton_cc.codegen.kernel.integer_expr import QuantizedSum, RoundedProduct, Saturate
from lepton_cc.codegen.kernel.ir import For, Kernel, LoopKind, Store, expressions, walk
from lepton_cc.codegen.kernel.legalize import expand
from lepton_cc.codegen.kernel.printer import print_kernel
from lepton_cc.codegen.kernel.saturate import saturating
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.executable import Executable
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.integer import QuantizedAdd, Range, Requantize
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.codegen.kernel.expression_evaluator import Evaluator, Memory
from tests.codegen.lower.code_case import whole_range

NUMBERS = np.concatenate(
    [
        np.arange(-700, 700, dtype=np.int32),
        np.array([1 << 20, -(1 << 20), (1 << 26) - 1, -(1 << 26)], np.int32),
    ]
)
SIZE = NUMBERS.size
X = Buffer("x", DType.I32, SIZE)
RESIDUAL = Buffer("r", DType.U8, SIZE)
AT = Var(INDEX, "i")


def fma(lhs: Expr, rhs: Expr, addend: Expr) -> Expr:
    return MulAdd(DType.F32, lhs, rhs, addend)


def kernel(value: Expr) -> Kernel:
    """y[i] = value for all i."""
    assert isinstance(value.type, DType)
    y = Buffer("y", value.type, SIZE, written=True)
    body = (For(AT, index(0), index(SIZE), (Store(y, AT, value),), LoopKind.SERIAL),)
    return Kernel("k", (X, RESIDUAL, y), (), body)


def computed(given: Kernel) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """What a kernel stores."""
    plain = expand(given, roundings=False, square_roots=False, fused=True, saturates=True)
    y = given.parameters[-1]
    memory: Memory = {
        X: NUMBERS,
        RESIDUAL: np.arange(SIZE).astype(np.uint8),
        y: np.zeros(SIZE, y.dtype.numpy),
    }
    evaluator = Evaluator(memory)
    evaluator.run(plain)
    return memory[y]


def product(zero_point: int, low: int, high: int, bound: float = 2.0**29) -> Expr:
    """Ties, because of the scale, and numbers far out of range; with the zero point."""
    scale = Const(DType.F32, 0.5)
    bounds = (low - zero_point, high - zero_point)
    return RoundedProduct(DType.I32, load(X, AT), scale, *bounds, bound) + zero_point


def saturates(given: Kernel) -> bool:
    """True if the kernel's stored value is a Saturate."""
    stores = [part for part in walk(given.body) if isinstance(part, Store)]
    return isinstance(expressions(stores[0])[1], Saturate)


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
@pytest.mark.parametrize("zero_point", [-128, 0, 5, 127])
@pytest.mark.parametrize("margin", [0, 9])
def test_requantized(dtype: DType, zero_point: int, margin: int) -> None:
    offset = 128 if dtype is DType.U8 else 0
    low, high = -128 + margin + offset, 127 - 2 * margin + offset
    plain = kernel(NarrowingCast(dtype, product(zero_point + offset, low, high)))
    better = saturating(plain, fma)
    assert saturates(better)
    np.testing.assert_array_equal(computed(better), computed(plain))


def test_what_is_not_proved_stays() -> None:
    plain = kernel(NarrowingCast(DType.I8, product(3, -128, 127, 2.0**31)))
    assert saturating(plain, fma) is plain


def test_a_flipped_sign_is_part_of_the_zero_point() -> None:
    narrow = NarrowingCast(DType.I8, product(-128, -128, 127))
    plain = kernel(narrow.bitcast(DType.U8) ^ 128)
    better = saturating(plain, fma)
    assert "saturate<u8, 0>" in print_kernel(better)
    np.testing.assert_array_equal(computed(better), computed(plain))


@pytest.mark.parametrize(("scale", "proved"), [(0.37, True), (1e8, False)])
def test_sums(scale: float, proved: bool) -> None:
    lhs = product(-7, -128, 100).cast(DType.I32)
    rhs = (load(RESIDUAL, AT) ^ 128).bitcast(DType.I8).cast(DType.I32)
    total = QuantizedSum(DType.I32, lhs, rhs, 128, 0.5, scale, -3.25, -100, 127)
    plain = kernel(NarrowingCast(DType.I8, total))
    better = saturating(plain, fma)
    assert saturates(better) is proved
    np.testing.assert_array_equal(computed(better), computed(plain))


@pytest.mark.parametrize("target_name", ["x86-64-v3", "x86-64-v4-vnni", "x86-64-v4-amx"])
@pytest.mark.parametrize("columns", [7, 64, 150])
def test_machine_code(columns: int, target_name: str) -> None:
    target = load_target(target_name)
    if not runs_on_this_machine(target):
        pytest.skip(f"this machine does not run {target_name}")
    rng = np.random.default_rng(columns + 1)
    builder = GraphBuilder("bytes")
    x = builder.input("x", TensorType(DType.I8, (50, 64)))
    residual = builder.input("residual", TensorType(DType.I8, (50, columns)))
    scales = builder.constant(rng.uniform(1e-3, 1e-2, columns).astype(np.float32))
    outputs = []
    for zero_point in (-128, 11):
        weights = builder.constant(whole_range(DType.I8, 64, columns, seed=zero_point + 200))
        total = builder.emit(MatMul(-5, 0), x, weights)
        range_ = Range(DType.I8, zero_point, -128, 127)
        y = builder.emit(Requantize(range_), total, scales)
        add = QuantizedAdd(0.7, 1.3, -2.5, Range(DType.I8, 3, -100, 127))
        sum_ = builder.emit(add, y, residual)
        outputs += [y, sum_]
    graph = builder.finish(outputs, ["a", "b", "c", "d"])
    inputs = {"x": whole_range(DType.I8, 50, 64), "residual": whole_range(DType.I8, 50, columns)}
    expected = interpret(graph, inputs)
    assert np.ptp(expected["a"].astype(int)) == np.ptp(expected["c"].astype(int)) == 255
    graph = PassManager(LEVELS[OptLevel.O3].pipeline(target)).run(graph)
    program = assemble(graph, "case", target, LEVELS[OptLevel.O3].schedule)
    results = Executable(program, 2).run(inputs)
    for name, result in expected.items():
        np.testing.assert_array_equal(results[name], result)
