"""What the removal of channels and heads saves and costs before any fit: tables of docs/pruning.md.

    python -m benchmarks.measure_removal MODEL PATTERN:SHARE ...

MODEL is ic_resnet8_fp32 or stories260k_prefill64; reads ../shared. Losses are of floats on what was
held out: the share of the output's variance that is missed, and the accuracy, or the cross-entropy
in nats a token and the divergence from the original. Everything else is of the model with w8a8:
flash and arena on rv32imc, its instructions in the emulator, and the cycles of lepton-npu.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure_quantization import SHARED, Array
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.codegen.costs import num_macs
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.pruning.options import read_options
from lepton_cc.pruning.prune import prune

_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class _Subject:
    """A model, samples that it is pruned with and others, and what is said of its outputs.

    `scores` are of outputs [samples, ...] and of the original's.
    """

    path: Path
    known: Array
    seen: Array
    scores: Callable[[Array, Array], str]


def _pictures() -> _Subject:
    data = SHARED / "data"
    known = [np.load(data / f"{name}.npz")["x"] for name in ("ic_calib", "ic_train_subset")]
    both = np.concatenate(known).astype(np.float32)
    evaluation = np.load(data / "ic_eval.npz")
    labels = evaluation["y"].reshape(-1)

    def scores(given: Array, original: Array) -> str:
        missed = float(np.mean((given - original) ** 2) / original.var())
        right = float(np.mean(given.reshape(len(labels), -1).argmax(axis=1) == labels))
        return f"{missed:.1%} | {right:.1%}"

    path = SHARED / "models" / "mlperf_tiny" / "ic_resnet8_fp32.onnx"
    known_both = np.concatenate([both, both[..., ::-1]])
    return _Subject(path, known_both, evaluation["x"].astype(np.float32), scores)


def _tokens() -> _Subject:
    data = np.load(SHARED / "data" / "stories260k_tokens.npz")
    seen = data["eval_ids"].astype(np.int64)

    def scores(given: Array, original: Array) -> str:
        (ours, theirs) = (_log_shares(one.reshape(*seen.shape, -1)) for one in (given, original))
        said = np.take_along_axis(ours[:, :-1], seen[:, 1:, None], axis=2)
        divergence = float(np.mean(np.sum(np.exp(theirs) * (theirs - ours), axis=-1)))
        return f"{divergence:.4f} | {-float(np.mean(said)):.4f}"

    path = SHARED / "models" / "other" / "stories260k_prefill64.onnx"
    return _Subject(path, data["calib_ids"].astype(np.int64), seen, scores)


def _log_shares(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


_SUBJECTS = {"ic_resnet8_fp32": _pictures, "stories260k_prefill64": _tokens}


def _outputs(graph: Graph, samples: Array) -> Array:
    """What the graph gives before a final softmax, f64[samples, ...]."""
    (port,), value = graph.inputs, _before_softmax(graph)
    run = inner_run(graph, [value])
    rows = [run({port.name: x.reshape(port.type.dims)})[value.name] for x in samples]
    return np.concatenate(rows).astype(np.float64)


def _before_softmax(graph: Graph) -> Value:
    op = graph.producers()[graph.outputs[0]]
    return op.inputs[0] if isinstance(op.kind, Softmax) else graph.outputs[0]


def _costs(subject: _Subject, graph: Graph) -> str:
    (port,) = graph.inputs
    known = subject.known[:: max(1, len(subject.known) // _SAMPLES)]
    samples = {port.name: known.reshape(-1, *port.type.dims)}
    figures = []
    for name in ("rv32imc", "lepton-npu"):
        target = load_target(name)
        options = CompileOptions(
            target, quantization=quantization_options("w8a8", samples, None, target)
        )
        model = CompiledModel(compile_model(subject.path, options, graph=graph), "")
        model.run({port.name: samples[port.name][0].reshape(port.type.dims)})
        memory = model.memory
        cycles = model.last_engine_cycles or model.last_instructions
        figures.append(f"{memory.arena_bytes:,} | {memory.flash_bytes:,} | {cycles:,}")
    macs = sum(map(num_macs, graph.ops))
    return f"{macs:,} | {' | '.join(figures)}"


def measure(subject: _Subject, patterns: Sequence[str]) -> None:
    """Prints a row for the original, and one for each pattern."""
    graph = import_model(subject.path)
    (port,) = graph.inputs
    known = {port.name: subject.known.reshape(-1, *port.type.dims)}
    original: Array | None = None
    for text in patterns:
        start = time.process_time()
        result = prune(graph, known, read_options(text))
        work = time.process_time() - start
        if original is None:
            original = _outputs(result.prepared, subject.seen)
            scores = subject.scores(original, original)
            print(f"| as it was | {scores} | {_costs(subject, result.prepared)} | |", flush=True)
        scores = subject.scores(_outputs(result.graph, subject.seen), original)
        print(f"| {text} | {scores} | {_costs(subject, result.graph)} | {work:.0f} s |")
        widths = [one.channels[1] for one in result.layers if one.channels[0] > one.channels[1]]
        print(f"channels left: {widths} {result.note}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("model", choices=sorted(_SUBJECTS))
    parser.add_argument("patterns", nargs="+", metavar="PATTERN:SHARE")
    arguments = parser.parse_args()
    print(
        "| removed | missed | score | MACs | rv32imc arena | flash | instructions "
        "| npu arena | flash | cycles | work |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    measure(_SUBJECTS[arguments.model](), arguments.patterns)


if __name__ == "__main__":
    main()
