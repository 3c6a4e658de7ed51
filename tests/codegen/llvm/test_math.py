"""Every function of every type through LLVM, in vector loops: equal to NumPy to the bit."""

import ctypes

import numpy as np
import pytest

from lepton_cc.codegen.kernel.expr import Expr, Var, index
from lepton_cc.codegen.kernel.ir import For, Kernel, LoopKind, Store
from lepton_cc.codegen.kernel.legalize import legalize
from lepton_cc.codegen.kernel.rewrite import Rewriter
from lepton_cc.codegen.kernel.types import INDEX, Buffer
from lepton_cc.codegen.llvm.compile import LoadedCode
from lepton_cc.codegen.llvm.emit import FunctionEmitter
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from tests.codegen.c.kernels import (
    LENGTH,
    conversion_kernels,
    function_kernels,
    primitive_kernels,
    sample,
)
from tests.codegen.kernel.expression_evaluator import Evaluator, Memory

# It has no fused multiply-add, so that results are those of two roundings.
TARGET = load_target("x86-64")
LANES = 4
pytestmark = pytest.mark.skipif(not runs_on_this_machine(TARGET), reason="no x86-64 machine")
GROUPS = {
    "functions": function_kernels,
    "primitives": primitive_kernels,
    "conversions": conversion_kernels,
}


def _vectorized(kernel: Kernel) -> tuple[Kernel, Var, Expr]:
    """The element-wise kernel in vectors of four, its old variable, and its value."""
    (loop,) = kernel.body
    assert isinstance(loop, For)
    (store,) = loop.body
    assert isinstance(store, Store)
    outer, lane, old = Var(INDEX, "block"), Var(INDEX, "lane"), loop.var
    at = outer * LANES + lane
    inner = Rewriter(lambda expr: at if expr is old else expr).statement(store)
    vector = For(lane, index(0), index(LANES), (inner,), LoopKind.VECTOR)
    body = (For(outer, index(0), index(LENGTH // LANES), (vector,)),)
    return Kernel(kernel.name, kernel.parameters, (), body), old, store.value


def _llvm(kernels: list[Kernel]) -> str:
    functions, intrinsics = [], set[str]()
    for kernel in kernels:
        pointers = {buffer: f"%p{number}" for number, buffer in enumerate(kernel.parameters)}
        emitter = FunctionEmitter(TARGET, pointers)
        emitter.emit_block(legalize(kernel, TARGET).body)
        parameters = ", ".join(f"ptr {pointer}" for pointer in pointers.values())
        functions.append(
            f"define void @{kernel.name}({parameters}) {{\nentry:\n{emitter.text()}\n  ret void\n}}"
        )
        intrinsics |= emitter.intrinsics
    return "\n".join([f'target triple = "{TARGET.triple}"', *functions, *sorted(intrinsics)])


@pytest.mark.parametrize("group", GROUPS)
def test_llvm_computes_what_the_kernel_means(group: str) -> None:
    cases = [_vectorized(kernel) for kernel in GROUPS[group]()]
    code = LoadedCode(_llvm([kernel for kernel, _, _ in cases]), TARGET, 1)
    for kernel, variable, value in cases:
        memory: Memory = {
            buffer: sample(buffer.dtype, buffer.size, seed)
            for seed, buffer in enumerate(kernel.parameters)
        }
        result: Buffer = kernel.parameters[-1]
        evaluator = Evaluator(memory)
        evaluator.bind({variable: np.arange(LENGTH)})
        expected = evaluator.evaluate(value)
        arrays = [memory[buffer] for buffer in kernel.parameters]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        code.function(kernel.name, len(pointers))(*pointers)
        got, word = memory[result], np.dtype(f"u{memory[result].itemsize}")
        same = got.view(word) == expected.view(word)
        if result.dtype.is_float:
            same |= np.isnan(got) & np.isnan(expected)
        assert same.all(), (kernel.name, got[~same][:4], expected[~same][:4])
