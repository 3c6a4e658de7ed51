"""Runs a float graph on samples and gives the values inside of it.

The graph becomes machine code with every wanted value as an output: code for the oldest x86-64
target, because its sums and so all ranges are then the same on every x86-64 machine. Elsewhere the
NumPy interpreter runs it.
"""

from collections.abc import Callable, Mapping, Sequence

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.executable import Executable
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager

InnerRun = Callable[[Mapping[str, Array]], Mapping[str, Array]]

_PORTABLE_TARGET = "x86-64"


def inner_run(graph: Graph, values: Sequence[Value]) -> InnerRun:
    """A function from inputs by ONNX name to `values` by their names; graph inputs among them."""
    inputs = frozenset(graph.inputs)
    inner = tuple(value for value in dict.fromkeys(values) if value not in inputs)
    names = tuple(value.name for value in inner)
    passed = tuple(value.name for value in dict.fromkeys(values) if value in inputs)
    probed = Graph(graph.name, graph.inputs, inner, names, graph.ops)
    compute = _computation(probed) if inner else _nothing

    def run(samples: Mapping[str, Array]) -> Mapping[str, Array]:
        return {**{name: samples[name] for name in passed}, **compute(samples)}

    return run


def _nothing(samples: Mapping[str, Array]) -> Mapping[str, Array]:
    return {}


def _computation(graph: Graph) -> InnerRun:
    target = load_target(_PORTABLE_TARGET)
    if not runs_on_this_machine(target):
        return lambda samples: interpret(graph, samples)
    level = LEVELS[OptLevel.O2]
    lowered = PassManager(level.pipeline(target)).run(graph)
    program = assemble(lowered, "calibration", target, level.schedule, reorder=False)
    return Executable(program, level.llvm_level).run
