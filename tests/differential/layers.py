"""Every layer of a compilation as an output of its program, beside what the interpreter says.

The graph is the one after all passes: what its fused kernels write is what the code writes. Only
the values inside of fused kernels cannot be seen.
"""

from dataclasses import replace

from lepton_cc.codegen.assemble import assemble
from lepton_cc.compiler import Compilation
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.levels import LEVELS
from tests.real_models import Arrays


def showing_layers(compilation: Compilation) -> Compilation:
    """The same compilation with each result of each op as an output, under its value's name."""
    graph = compilation.graph
    results = [
        result
        for op in graph.ops
        if not isinstance(op.kind, Constant)
        for result in op.results
        if result.type.num_elements
    ]
    shown = Graph(
        graph.name,
        graph.inputs,
        tuple(results),
        tuple(result.name for result in results),
        graph.ops,
    )
    level = LEVELS[compilation.options.level]
    name, target = compilation.program.name, compilation.program.target
    program = assemble(shown, name, target, level.schedule, reorder=level.reorder)
    return replace(compilation, graph=shown, program=program)


def assert_same_bytes(got: Arrays, expected: Arrays) -> None:
    """Fails with the outputs that differ, and in how many elements."""
    assert list(got) == list(expected)
    differing = {
        name: f"{(got[name] != want).sum()} of {want.size}"
        for name, want in expected.items()
        if got[name].tobytes() != want.tobytes() or got[name].dtype != want.dtype
    }
    assert not differing
