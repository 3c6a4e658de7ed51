"""Accuracy, bytes and time of pruned models in generated code: the rows of docs/pruning.md.

    python -m benchmarks.measure_pruning MODEL PATTERN SPARSITY [TARGET]

PATTERN is unstructured, 2:4, channels, or blocks of so many ROWSxCOLUMNS. Reads ../shared.
"""

import argparse

import numpy as np

from benchmarks.measure_quantization import TASKS, Array, Task
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.graph import Graph
from lepton_cc.passes.prune.pattern import UNSTRUCTURED, Pattern, PatternKind
from lepton_cc.pruning.options import PruneOptions
from lepton_cc.pruning.prune import prune
from lepton_cc.pruning.savings import savings

_ROUNDS = 15


def _options(pattern: str, sparsity: float) -> PruneOptions:
    if pattern == "channels":
        return PruneOptions(sparsity, channels=True)
    if "x" in pattern:
        rows, columns = map(int, pattern.split("x"))
        return PruneOptions(sparsity, Pattern(PatternKind.BLOCKS, rows, columns))
    kind = PatternKind(pattern)
    return PruneOptions(sparsity, UNSTRUCTURED if kind is UNSTRUCTURED.kind else Pattern(kind))


def _compiled(task: Task, graph: Graph, target: str) -> CompiledModel:
    options = CompileOptions(load_target(target))
    return CompiledModel(compile_model(task.path, options, graph=graph), "")


def _score(task: Task, model: CompiledModel, seen: Array, labels: Array) -> float:
    (port,) = model.inputs
    outputs = [next(iter(model.run({port.name: x}).values())) for x in seen]
    np.concatenate(outputs)
    return task.score(seen.reshape(len(seen), -1), np.concatenate(outputs), labels)


def measure(task: Task, options: PruneOptions, target: str) -> None:
    """Prints a row for the dense model and one for the pruned."""
    graph = import_model(task.path)
    (port,) = graph.inputs
    known, seen, labels = task.samples()
    known, seen = (x.reshape(-1, *port.type.dims) for x in (known, seen))
    result = prune(graph, {port.name: known}, options)
    models = [_compiled(task, one, target) for one in (result.prepared, result.graph)]
    seconds = [float("inf")] * len(models)
    for _ in range(_ROUNDS):
        seconds = [min(s, m.bench(50)) for s, m in zip(seconds, models, strict=True)]
    for form, model, best in zip(("dense", "pruned"), models, seconds, strict=True):
        score, memory = _score(task, model, seen, labels), model.memory
        print(
            f"| {task.name} | {form} | {score:.2f} | {memory.arena_bytes} |"
            f" {memory.flash_bytes} | {best * 1e6:.1f} |"
        )
    for saving in savings(result.graph, load_target(target)):
        if saving.note:
            print(f"note: {saving.note}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("model", choices=[task.name for task in TASKS])
    parser.add_argument("pattern")
    parser.add_argument("sparsity", type=float)
    parser.add_argument("target", nargs="?", default="x86-64-v3")
    arguments = parser.parse_args()
    (task,) = (task for task in TASKS if task.name == arguments.model)
    measure(task, _options(arguments.pattern, arguments.sparsity), arguments.target)


if __name__ == "__main__":
    main()
