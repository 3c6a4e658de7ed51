"""64-bit products by constants that two kernels share are right on 32-bit cores.

LLVM 22 hoists such a constant; of one whose low word is a power of two (150 << 30) its back end for
riscv32 then drops the product. `codegen.llvm.compile` turns hoisting off.
"""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.integer import Range
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.types import TensorType
from tests.differential.layers import assert_same_bytes
from tests.differential.ways import EMULATED, Way

SIZE, VARIANCE_BITS = 150, 15


def _norms() -> Graph:
    """RMS norms with the factor 150 << 30 in front of their sums of squares."""
    builder = GraphBuilder("norms")
    scale = builder.constant(np.asarray(-1460, np.int32))
    outputs = []
    for number, zero_point in enumerate((0, 77)):
        x = builder.input(f"x{number}", TensorType(DType.I8, (1, SIZE)))
        bits = (VARIANCE_BITS, 62, 22, 33)
        kind = QuantizedNorm(0, False, zero_point, 4233476250, *bits, Range.whole(DType.I8, 0))
        outputs.append(builder.emit(kind, x, scale))
    return builder.finish(outputs, ["y0", "y1"])


@pytest.mark.parametrize("way", EMULATED, ids=str)
def test_products_are_there(way: Way, tmp_path: Path) -> None:
    assert (SIZE << (2 * VARIANCE_BITS)) % (1 << 32) == 1 << 31
    way.require()
    graph = _norms()
    rng = np.random.default_rng(0)
    shape = (1, SIZE)
    inputs = {f"x{n}": rng.integers(-128, 128, shape).astype(np.int8) for n in range(2)}
    run = way.load(way.compile_graph(graph, "norms"), tmp_path)
    assert_same_bytes(run(inputs), interpret(graph, inputs))
