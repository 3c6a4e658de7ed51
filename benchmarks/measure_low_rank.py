"""Accuracy, MACs, bytes and time of factorized models in generated code: docs/low-rank.md's rows.

    python -m benchmarks.measure_low_rank MODEL SHARE [--budget bytes] [--scheme w8a8] [--plain]
                                          [--fit GIGAMACS | --blocks] [--samples NAME]
                                          [--seconds] [--layers]

MODEL is one of benchmarks/measure_quantization.py, magika_v3_3 or stories260k_prefill64; reads
../shared. `--plain` splits the same layers by the singular values of their weights alone. `--fit`
fits the whole model afterwards, `--blocks` block by block. `--seconds` times dense and factorized
code in turns; without it the last column is empty.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure_quantization import SHARED, TASKS, Array, Task
from lepton_cc.calibration.data import CalibrationData, calibration_data
from lepton_cc.calibration.quantize import QuantizationOptions, quantize_prepared
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.low_rank.factorize import factorize_prepared
from lepton_cc.low_rank.options import LowRankOptions, LowRankResult
from lepton_cc.passes.low_rank.allocate import Budget
from lepton_cc.passes.low_rank.fit import FactorFit
from lepton_cc.passes.low_rank.split import split
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prune.contraction_weights import constant_arrays
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.passes.reconstruct.output_moments import FitMoments, matrices
from lepton_cc.reconstruction.blocks import BlockOptions, reconstruct_blocks
from lepton_cc.reconstruction.outputs import FitOptions

_ROUNDS = 15
_TARGET = "x86-64-v3"


@dataclass(frozen=True, slots=True)
class OtherTask:
    """A model beside the MLPerf Tiny ones, with its data."""

    name: str

    @property
    def path(self) -> Path:
        """The model."""
        return SHARED / "models" / "other" / f"{self.name}.onnx"

    def samples(self) -> tuple[Array, Array, Array]:
        """Calibration inputs, evaluation inputs, labels."""
        if self.name == "magika_v3_3":
            data = np.load(SHARED / "data" / "magika_eval.npz")
            x = data["x"].astype(np.int32)
            return x[::4], x, data["y"]
        data = np.load(SHARED / "data" / "stories260k_tokens.npz")
        return data["calib_ids"], data["eval_ids"], data["eval_ids"]

    def score(self, inputs: Array, outputs: Array, labels: Array) -> float:
        """Per cent of right classes; of the language model, nats for each next token."""
        if self.name == "magika_v3_3":
            return 100 * float(np.mean(outputs.reshape(len(labels), -1).argmax(axis=1) == labels))
        logits = outputs.reshape(*labels.shape, -1)[:, :-1].astype(np.float64)
        chosen = np.take_along_axis(logits, labels[:, 1:, None], axis=-1)[..., 0]
        return float(np.mean(np.logaddexp.reduce(logits, axis=-1) - chosen))


_ALL: tuple[Task | OtherTask, ...] = (
    *TASKS,
    OtherTask("magika_v3_3"),
    OtherTask("stories260k_prefill64"),
)


def _plain(result: LowRankResult) -> Graph:
    """Layers split as in `result`, as if what they read were white and had no mean."""
    graph = result.prepared
    for layer in result.layers:
        if layer.plan is None:
            continue
        arrays = constant_arrays(graph)
        (op,) = (one for one in graph.ops if one.results[0].name == layer.name)
        weights = matrices(op, arrays[op.inputs[1]])
        groups, depth, outputs = weights.shape
        white = FitMoments(
            np.broadcast_to(np.eye(depth), (groups, depth, depth)),
            weights,
            np.zeros((groups, depth)),
            np.zeros((groups, outputs)),
            np.sum(weights**2, axis=1),
            1,
        )
        made = FactorFit(op, weights, white).factors(layer.plan, 4)
        bias = arrays[op.inputs[2]] if len(op.inputs) > 2 else np.zeros(op.result.type.dims[-1])
        graph = split(graph, op, layer.plan, made, bias)
    return graph


class _Table:
    """Prints rows about forms of one model."""

    def __init__(self, task: Task | OtherTask, data: CalibrationData, scheme: str | None) -> None:
        self._task, self._data, self._scheme = task, data, scheme
        _, self._seen, self._labels = task.samples()

    def compiled(self, graph: Graph) -> CompiledModel:
        """Its code."""
        if self._scheme is not None:
            options = QuantizationOptions(WeightScheme(self._scheme))
            quantized = quantize_prepared(graph, self._data, options)
            assert quantized is not None  # it is not optional
            graph = quantized.graph
        options_ = CompileOptions(load_target(_TARGET))
        return CompiledModel(compile_model(self._task.path, options_, graph=graph), "")

    def row(self, form: str, model: CompiledModel, shares: str, best: float) -> None:
        """One line: score, MACs and bytes of weights, flash, arena, microseconds."""
        (port,) = model.inputs
        seen = self._seen.reshape(-1, *port.type.dims)
        outputs = np.concatenate([next(iter(model.run({port.name: x}).values())) for x in seen])
        score = self._task.score(seen.reshape(len(seen), -1), outputs, self._labels)
        memory = model.memory
        print(
            f"| {self._task.name} | {form} | {score:.3f} | {shares} | {memory.flash_bytes} |"
            f" {memory.arena_bytes} | {'-' if np.isinf(best) else f'{best * 1e6:.1f}'} |",
            flush=True,
        )


def _seconds(models: list[CompiledModel], rounds: int) -> list[float]:
    best = [float("inf")] * len(models)
    for _ in range(rounds):
        best = [min(s, m.bench(50)) for s, m in zip(best, models, strict=True)]
    return best


def measure(arguments: argparse.Namespace) -> None:
    """Prints a row for the model as it is, and one for each form asked for."""
    (task,) = (one for one in _ALL if one.name == arguments.model)
    prepared = PassManager(BEFORE_QUANTIZATION).run(import_model(task.path))
    (port,) = prepared.inputs
    known = task.samples()[0]
    if arguments.samples is not None:
        known = np.load(SHARED / "data" / f"{arguments.samples}.npz")["x"].astype(np.float32)
        known /= np.float32(task.divisor if isinstance(task, Task) else 1.0)
    known = known.reshape(-1, *port.type.dims)
    data = calibration_data(prepared, {port.name: known})
    fit = None if arguments.fit is None else FitOptions(num_macs=int(arguments.fit * 1e9))
    options = LowRankOptions(
        arguments.share, Budget(arguments.budget), arguments.max_error, fit=fit
    )
    start = time.perf_counter()
    result = factorize_prepared(prepared, prepared, data, options)
    forms = {"dense": prepared, "low rank": result.graph}
    if arguments.blocks:
        forms["by blocks"] = reconstruct_blocks(prepared, result.graph, data, BlockOptions()).graph
    elapsed = time.perf_counter() - start
    if arguments.plain:
        forms["weights alone"] = _plain(result)
    table = _Table(task, data, arguments.scheme)
    models = [table.compiled(graph) for graph in forms.values()]
    best = _seconds(models, _ROUNDS if arguments.seconds else 0)
    macs = result.after.num_macs / result.before.num_macs
    size = result.after.size_bytes / result.before.size_bytes
    for form, model, one in zip(forms, models, best, strict=True):
        shares = "100 % | 100 %" if form == "dense" else f"{macs:.0%} | {size:.0%}"
        table.row(form, model, shares, one)
    print(f"made in {elapsed:.0f} s")
    for layer in result.layers if arguments.layers else ():
        plan = "whole" if layer.plan is None else f"{layer.plan.form.value} {layer.plan.ranks}"
        error = "" if layer.error is None else f"{layer.error:.4f}"
        print(f"{layer.name}: {plan} {layer.before} {layer.after} {error} {layer.reason}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("model", choices=[task.name for task in _ALL])
    parser.add_argument("share", type=float)
    parser.add_argument("--budget", choices=[one.value for one in Budget], default="macs")
    parser.add_argument("--max-error", type=float, default=LowRankOptions().max_error)
    parser.add_argument("--scheme", choices=[one.value for one in WeightScheme])
    parser.add_argument("--samples", metavar="NAME", help="other ones to calibrate with")
    parser.add_argument("--fit", type=float, metavar="GIGAMACS")
    for flag in ("--plain", "--blocks", "--seconds", "--layers"):
        parser.add_argument(flag, action="store_true")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
