"""Accuracy, bytes and time of pruned models in generated code: the rows of docs/pruning.md.

    python -m benchmarks.measure_pruning [--model NAME] [--prune PATTERN:SHARE] [--steps N]
        [--macs N] [--target TARGET] [--no-fit]

Reads ../shared. Images are calibrated with ic_calib, ic_train_subset and the mirror images of both,
without their labels; everything else with its own calibration data.
"""

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from benchmarks.measure_quantization import SHARED, TASKS, Array, Task
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.pruning.options import PruneOptions, read_options
from lepton_cc.pruning.prune import prune
from lepton_cc.pruning.savings import savings
from lepton_cc.reconstruction.outputs import FitOptions

_ROUNDS = 5
# What the table of docs/pruning.md holds.
_ROWS = (
    ("kws_dscnn_fp32", "unstructured:0.5"),
    ("kws_dscnn_fp32", "2:4"),
    ("ic_resnet8_fp32", "unstructured:0.5"),
    ("ic_resnet8_fp32", "2:4"),
    ("ic_resnet8_fp32", "channels:0.3"),
    ("ad_autoencoder_fp32", "blocks-1x16:0.75"),
)


def _calibration(task: Task, dims: tuple[int, ...]) -> Array:
    known, _, _ = task.samples()
    if task.name.startswith("ic"):
        more = np.load(SHARED / "data" / "ic_train_subset.npz")["x"].astype(np.float32)
        known = np.concatenate([known, more])
        known = np.concatenate([known, known[..., ::-1]])
    return known.reshape(-1, *dims)


def _compiled(task: Task, graph: Graph, target: str) -> CompiledModel:
    options = CompileOptions(load_target(target))
    return CompiledModel(compile_model(task.path, options, graph=graph), "")


def _score(task: Task, model: CompiledModel) -> float:
    (port,) = model.inputs
    _, seen, labels = task.samples()
    seen = seen.reshape(-1, *port.type.dims)
    outputs = [next(iter(model.run({port.name: x}).values())) for x in seen]
    return task.score(seen.reshape(len(seen), -1), np.concatenate(outputs), labels)


def measure(task: Task, options: PruneOptions, target: str) -> None:
    """Prints a row: dense, pruned, and pruned and fitted, if that is asked for."""
    graph = import_model(task.path)
    (port,) = graph.inputs
    known = {port.name: _calibration(task, port.type.dims)}
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, work = time.perf_counter(), time.process_time()
    result = prune(graph, known, options)
    seconds, work = time.perf_counter() - start, time.process_time() - work
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
    stages = {"dense": result.prepared}
    if result.fit is not None:
        stages["pruned"] = result.fit.unfitted
    stages["fitted" if result.fit is not None else "pruned"] = result.graph
    models = {form: _compiled(task, one, target) for form, one in stages.items()}
    best = dict.fromkeys(models, float("inf"))
    for _ in range(_ROUNDS):
        best = {form: min(best[form], model.bench(50)) for form, model in models.items()}
    scores = ", ".join(f"{form} {_score(task, model):.2f}" for form, model in models.items())
    costs = ", ".join(
        f"{form} {m.memory.arena_bytes} {m.memory.flash_bytes} {best[form] * 1e6:.1f}"
        for form, m in models.items()
    )
    print(
        f"| {task.name} | {options.title} | {result.sparsity:.0%} | {scores} | {costs} |"
        f" {seconds:.0f} s, {work:.0f} s of work | {peak:.0f} MiB |",
        flush=True,
    )
    for saving in savings(result.graph, load_target(target)):
        if saving.note:
            print(f"note: {saving.note}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", choices=[task.name for task in TASKS])
    parser.add_argument("--prune", metavar="PATTERN:SHARE")
    parser.add_argument("--steps", type=int, default=FitOptions().max_steps)
    parser.add_argument("--macs", type=int, default=FitOptions().num_macs)
    parser.add_argument("--no-fit", action="store_true")
    parser.add_argument("--target", default="x86-64-v3")
    arguments = parser.parse_args()
    rows = [
        (model, text)
        for model, text in _ROWS
        if arguments.model in (None, model) and arguments.prune in (None, text)
    ]
    if not rows and arguments.model and arguments.prune:
        rows = [(arguments.model, arguments.prune)]
    longest = replace(FitOptions(), max_steps=arguments.steps, num_macs=arguments.macs)
    fit = None if arguments.no_fit else longest
    print("| model | pattern | zeros | score | arena, flash, us | time | memory |")
    print("|---|---|---|---|---|---|---|")
    for model, text in rows:
        (task,) = (task for task in TASKS if task.name == model)
        measure(task, read_options(text, fit), arguments.target)


if __name__ == "__main__":
    main()
