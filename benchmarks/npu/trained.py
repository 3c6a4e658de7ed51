"""Other trained networks, quantized by us: whether the chip gives the interpreter's bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lepton_cc
from benchmarks.measure_quantization import SHARED
from benchmarks.npu.subjects import TARGET
from benchmarks.page import row, table_head
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.hybrid import HybridModel

MODELS = (
    "ultraface_rfb320",
    "yunet_n_320",
    "ppocr_cls",
    "mnist_cnn",
    "silero_vad_16k",
    "stories260k_prefill64",
)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A float network quantized on its recorded inputs. `refusal`: why it did not compile or run.

    `num_equal` of `num_samples` gave the interpreter's bytes in every output.
    """

    name: str
    refusal: str = ""
    segments: int = 0
    on_core: tuple[str, ...] = ()
    cycles: int = 0
    num_samples: int = 0
    num_equal: int = 0


def checked_models(only: str) -> tuple[TrainedModel, ...]:
    """The models whose name contains `only`, if they are beside the checkout."""
    folder = SHARED / "models" / "other"
    paths = [folder / f"{name}.onnx" for name in MODELS if only in name]
    return tuple(_checked(path) for path in paths if path.is_file())


def _recorded(path: Path) -> list[dict[str, Array]]:
    samples: dict[str, dict[str, Array]] = {}
    with np.load(SHARED / "models" / "reference_io" / f"{path.stem}.npz") as arrays:
        for key in arrays.files:
            sample, _, name = key.partition("/")
            if sample.startswith("in"):
                samples.setdefault(sample, {})[name] = arrays[key]
    return list(samples.values())


def _checked(path: Path) -> TrainedModel:
    samples = _recorded(path)
    stacked = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    try:
        model = lepton_cc.compile(path, target=TARGET, quantize="w8a8", calibrate=stacked)
        engine = model.compilation.options.target.engine
        assert engine is not None
        graph = model.compilation.graph
        hybrid = HybridModel(graph, machine_of(engine))
        equal = 0
        for sample in samples:
            found, expected = hybrid.run(sample), interpret(graph, sample)
            equal += all(found[name].tobytes() == expected[name].tobytes() for name in expected)
    except Refused as refused:
        return TrainedModel(path.stem, str(refused).partition("\n")[0])
    segments = sum(isinstance(op.kind, EngineSegment) for op in graph.ops)
    core = dict.fromkeys(one.op.kind.mnemonic for one in model.compilation.fallbacks)
    return TrainedModel(path.stem, "", segments, tuple(core), hybrid.cycles, len(samples), equal)


def trained_table(models: Sequence[TrainedModel]) -> Iterator[str]:
    """The table."""
    yield from ("### Other networks, quantized with w8a8", "")
    yield from table_head(
        ("model", "compiles and runs", "inputs", "equal", "segments", "cycles", "on the core")
    )
    for one in models:
        if one.refusal:
            yield row((one.name, f"no: {one.refusal}", *("-",) * 5))
        else:
            figures = (one.num_samples, one.num_equal, one.segments)
            cells = (*map(str, figures), f"{one.cycles:,}", ", ".join(one.on_core) or "nothing")
            yield row((one.name, "yes", *cells))
    yield ""
