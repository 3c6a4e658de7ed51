"""What the golden texts and trained models compute stays the same through the passes."""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.lir_file import read_lir
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.catalogue import PASSES
from lepton_cc.passes.manager import PassManager, PassRecord
from lepton_cc.passes.observers import DumpGraphs
from lepton_cc.passes.pipeline_text import parse_pipeline
from tests.ir.random_graphs import random_array, random_inputs
from tests.passes.test_basic_passes import assert_same_bits

PROJECT_ROOT = Path(__file__).resolve().parents[2]
GOLDEN = PROJECT_ROOT / "tests" / "golden" / "passes"
# Products instead of `pow`, and other orders of summation: right within rounding, not to the bit.
ROUNDED = ("canonicalize_powers", "canonicalize_reassociate")
EXACT = sorted(
    path.stem
    for stem in ("canonicalize", "eliminate", "fold_constants")
    for path in GOLDEN.glob(f"{stem}*.lir")
    if path.stem not in ROUNDED
)
INEXACT = (*ROUNDED, *sorted(path.stem for path in GOLDEN.glob("fold_batchnorm*.lir")))
ODD = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 0.3, -7.5, 3e38)
PIPELINE = (
    "(fold-constants,canonicalize{reshape-transposes=false},eliminate-common-subexpressions)*,"
    "propagate-layout,(fold-constants,fold-batchnorm,canonicalize,"
    "eliminate-common-subexpressions,eliminate-dead-code)*"
)


def golden(name: str) -> tuple[Graph, Graph]:
    """The graph of a golden file, and what its passes make of it."""
    text = (GOLDEN / f"{name}.lir").read_text(encoding="utf-8").partition("// gives:")[0]
    pipeline = text.partition("\n")[0].removeprefix("// passes: ")
    graph = parse_graph(text)
    return graph, PassManager(parse_pipeline(pipeline, PASSES)).run(graph)


def odd_array(type_: TensorType, rng: np.random.Generator) -> Array:
    if type_.dtype is not DType.F32:
        return random_array(type_, rng)
    return np.asarray(rng.choice(np.array(ODD, np.float32), type_.dims))


@pytest.mark.parametrize("name", EXACT)
def test_exact_laws_keep_every_bit_of_odd_floats(name: str) -> None:
    before, after = golden(name)
    rng = np.random.default_rng(1)
    for _ in range(40):
        inputs = {value.name: odd_array(value.type, rng) for value in before.inputs}
        assert_same_bits(interpret(after, inputs), interpret(before, inputs))


@pytest.mark.parametrize("name", INEXACT)
def test_other_laws_keep_the_results_within_rounding(name: str) -> None:
    before, after = golden(name)
    inputs = {name: np.abs(array) for name, array in random_inputs(before).items()}
    expected = interpret(before, inputs)
    for output, array in interpret(after, inputs).items():
        np.testing.assert_allclose(array, expected[output], rtol=1e-5, atol=1e-5)


def test_min_and_max_of_a_zero_keep_their_order() -> None:
    text = "graph g(%x: f32[1]) {{ %z = constant f32[1] ({}) %m = {}(%z, %x) return %m as m }}"
    for zero, function in (("0", "max"), ("-0.0", "max"), ("0", "min"), ("-0.0", "min")):
        graph = parse_graph(text.format(zero, function))
        after = PassManager(parse_pipeline("canonicalize", PASSES)).run(graph)
        for value in (0.0, -0.0):
            inputs = {"x": np.array([value], np.float32)}
            assert_same_bits(interpret(after, inputs), interpret(graph, inputs))


def check_model(path: Path, folder: Path) -> Graph:
    """The model through the pipeline; every dumped graph reads back as it was."""
    graph = import_model(path)
    seen: list[Graph] = []

    def remember(record: PassRecord, current: Graph) -> None:
        if record.changed:
            seen.append(current)

    after = PassManager(parse_pipeline(PIPELINE, PASSES), [DumpGraphs(folder), remember]).run(graph)
    dumps = sorted(folder.glob("*.lir"))
    assert [read_lir(dump) for dump in dumps] == seen
    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)
    for name, array in interpret(after, inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)
    return after


@pytest.mark.parametrize("name", ["digits_cnn", "digits_dscnn", "digits_gru", "digits_lstm"])
def test_trained_models_keep_their_meaning(name: str, tmp_path: Path) -> None:
    check_model(PROJECT_ROOT / "models" / f"{name}.onnx", tmp_path)


@pytest.mark.parametrize(
    "name", ["ad_autoencoder_fp32_bn", "ic_resnet8_fp32_bn", "kws_dscnn_fp32_bn"]
)
def test_batch_norms_of_real_models_vanish(name: str, shared_dir: Path, tmp_path: Path) -> None:
    after = check_model(shared_dir / "models" / "mlperf_tiny" / f"{name}.onnx", tmp_path)
    assert "mul" not in {op.kind.mnemonic for op in after.ops}
