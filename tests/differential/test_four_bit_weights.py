"""Models with 4-bit weights: the same bytes everywhere, half of the flash, digits still read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.lower.subbyte import SMALLEST_PACKED
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.matmul import MatMul
from tests.differential.layers import assert_same_bytes, showing_layers
from tests.differential.ways import ANCHOR, C_OF_32_BITS, EMULATED, INTEGERS, NATIVE, C, Way
from tests.four_bit_models import digits, quantized_digits
from tests.real_models import DIGITS, RealModel

MODELS = DIGITS[:2]
_BY_NAME = {way.name: way for way in (*NATIVE, *INTEGERS, *C, *C_OF_32_BITS, *EMULATED)}
_QUICK = ("host-O3", "host-Os", "x86-64", "x86-64-v3-vnni", "x86-64-v4-vnni")
# What compiles for seconds, and has its like among the others.
_LONG = ("gcc-matrices", "gcc-m32-O3", "clang-m32-O3")
# Right answers out of 80; with 8 bits it is 79 and 78.
_RIGHT: Mapping[str, int] = {"digits_cnn": 79, "digits_dscnn": 76}


def _marks(name: str) -> list[pytest.MarkDecorator]:
    if name in _LONG:
        return [pytest.mark.long]
    return [] if name in _QUICK else [pytest.mark.slow]


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request: pytest.FixtureRequest) -> RealModel:
    """One of the networks."""
    found: RealModel = request.param
    return found


@pytest.fixture(scope="module")
def path(model: RealModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with 4-bit weights."""
    return quantized_digits(model, 4, tmp_path_factory.mktemp(model.name))


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, id=name, marks=_marks(name)) for name, way in _BY_NAME.items()],
)
def test_every_layer_has_the_same_bytes(path: Path, way: Way, tmp_path: Path) -> None:
    way.require()
    compilation = way.compile(path)
    shown = showing_layers(compilation)
    run = way.load(shown, tmp_path)
    plainest = ANCHOR.compile(path).graph
    for image in digits()[0][:3]:
        sample = {"image": image}
        assert_same_bytes(run(sample), interpret(shown.graph, sample))
        assert_same_bytes(interpret(compilation.graph, sample), interpret(plainest, sample))


def test_digits_are_read(model: RealModel, path: Path, tmp_path: Path) -> None:
    run = _BY_NAME["host-O3"].prepare(path, tmp_path)
    images, classes = digits()
    answers = [int(np.argmax(next(iter(run({"image": image}).values())))) for image in images]
    assert int((np.array(answers) == classes).sum()) >= _RIGHT[model.name]


@pytest.mark.parametrize("name", ["x86-64", "x86-64-v4-vnni", "rv32imc"])
def test_weights_stay_four_bits_wide(
    name: str, model: RealModel, path: Path, tmp_path: Path
) -> None:
    way = _BY_NAME[name]
    narrow, wide = (way.compile(p) for p in (path, quantized_digits(model, 8, tmp_path)))
    bodies = [op.kind.body.ops if isinstance(op.kind, Fused) else (op,) for op in narrow.graph.ops]
    contractions = [op for body in bodies for op in body if isinstance(op.kind, Conv | MatMul)]
    assert contractions
    assert all(op.inputs[1].type.dtype is DType.I4 for op in contractions)
    num_weights = sum(
        op.result.type.num_elements
        for op in narrow.graph.ops
        if isinstance(op.kind, Constant)
        and op.result.type.dtype is DType.I4
        and op.result.type.num_elements >= SMALLEST_PACKED
    )
    assert num_weights >= 3000
    saved = wide.program.constants_bytes - narrow.program.constants_bytes
    # Columns that fill vectors up cost a little.
    assert saved > 0.45 * num_weights
