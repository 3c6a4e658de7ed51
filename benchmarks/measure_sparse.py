"""Bytes and time of code for weights with zeros, beside dense code: the tables of docs/pruning.md.

    python -m benchmarks.measure_sparse MODEL PATTERN SHARE TARGET [--floats] [--layers]

PATTERN is unstructured, n:m, or blocks-RxC. Zeros are put where weights are smallest, so that this
needs no pruning: it says nothing about accuracy. Reads ../shared.
"""

import argparse

import numpy as np

from benchmarks.measure_quantization import TASKS, Array, Task
from lepton_cc.calibration.quantize import quantization_options
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.target import Execution, Target
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.pattern import Pattern, named_pattern
from lepton_cc.pruning.savings import savings

_ROUNDS, _RUNS, _SAMPLES = 15, 50, 50
# Layers with fewer rows of weights keep theirs.
_FEWEST_ROWS = 16


def _with_zeros(graph: Graph, pattern: Pattern, share: float) -> Graph:
    changed = {}
    for layer in prunable_layers(graph):
        matrix = layer.weights.reshape(-1, layer.weights.shape[-1])
        if len(matrix) < _FEWEST_ROWS or not pattern.fits(layer.channels, matrix.shape[1]):
            continue
        kept = pattern.kept(np.abs(matrix.astype(np.float64)), share)
        changed[layer.op.inputs[1]] = np.where(kept, matrix, np.float32(0)).reshape(
            layer.weights.shape
        )
    return with_constants(graph, changed)


def _compiled(
    task: Task, graph: Graph, target: Target, known: Array, *, floats: bool
) -> CompiledModel:
    (port,) = graph.inputs
    method = None if floats else "w8a8"
    samples = None if floats else {port.name: known[:_SAMPLES]}
    quantization = quantization_options(method, samples, None, target)
    options = CompileOptions(target, quantization=quantization)
    return CompiledModel(compile_model(task.path, options, graph=graph), "")


def _check(model: CompiledModel, sample: dict[str, Array]) -> None:
    """Stops if a quantized model's bytes are not the interpreter's."""
    got, want = model.run(sample), interpret(model.compilation.imported, sample)
    if any(not np.array_equal(got[name], want[name]) for name in want):
        raise SystemExit("the code computes something else than the interpreter")


def measure(task: Task, pattern: Pattern, share: float, target: Target, *, floats: bool) -> Graph:
    """Prints a row for dense code and one for sparse; gives the graph with zeros."""
    graph = PassManager(BEFORE_QUANTIZATION).run(import_model(task.path))
    pruned = _with_zeros(graph, pattern, share)
    (port,) = graph.inputs
    known, seen, _ = task.samples()
    known = known.reshape(-1, *port.type.dims)
    models = [_compiled(task, one, target, known, floats=floats) for one in (graph, pruned)]
    sample = {port.name: seen[0].reshape(port.type.dims).astype(np.float32)}
    for model in models:
        if not floats:
            _check(model, sample)
        model.run(sample)
    counted = target.execution is Execution.CONTROL_CORE
    best = [float("inf")] * len(models)
    for _ in range(0 if counted else _ROUNDS):
        best = [min(s, model.bench(_RUNS)) for s, model in zip(best, models, strict=True)]
    for form, model, seconds in zip(("dense", "sparse"), models, best, strict=True):
        spent = (
            f"{model.last_instructions:,} instructions" if counted else f"{seconds * 1e6:.2f} us"
        )
        title = f"{task.name} | {pattern.name} {share:.0%} | {target.name}"
        print(f"| {title} | {form} | {spent} | {model.memory.flash_bytes:,} |")
    return pruned


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("model", choices=[task.name for task in TASKS])
    parser.add_argument("pattern")
    parser.add_argument("share", type=float)
    parser.add_argument("target")
    parser.add_argument("--floats", action="store_true", help="f32, not w8a8")
    parser.add_argument("--layers", action="store_true", help="compile each layer alone, too")
    arguments = parser.parse_args()
    pattern = named_pattern(arguments.pattern)
    if pattern is None:
        parser.error(f"{arguments.pattern} is no pattern")
    target = load_target(arguments.target)
    (task,) = (task for task in TASKS if task.name == arguments.model)
    pruned = measure(task, pattern, arguments.share, target, floats=arguments.floats)
    if not arguments.layers:
        return
    dtype = DType.F32 if arguments.floats else DType.I8
    for one in savings(pruned, target, dtype, count=True):
        cycles = f", {one.dense_cycles:,} to {one.cycles:,} cycles" if one.cycles else ""
        print(f"{one.name}: {one.form}, {one.dense_bytes:,} to {one.stored_bytes:,} bytes{cycles}")
        if one.note:
            print(f"note: {one.note}")


if __name__ == "__main__":
    main()
