"""One pruned layer as a graph of its own, as a target computes it: what savings are measured on."""

import numpy as np

from lepton_cc.codegen.assemble import assemble
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import Compilation, CompileOptions
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.integer import Range, Requantize
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.levels import LEVELS
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prune.contraction_weights import PrunableLayer

_LARGEST = 127
# Any that is neither so large nor so small that results are all the same.
_SCALE = 2.0**-12


def one_layer(layer: PrunableLayer, weights: Array, dtype: DType) -> Graph:
    """A float layer with other weights; with `dtype` i8 as integers, inputs and results too."""
    kind, dims = layer.op.kind, layer.op.inputs[0].type.dims
    builder = GraphBuilder("layer")
    x = builder.input("x", TensorType(dtype, dims))
    columns = weights.shape[-1]
    if dtype is not DType.I8:
        bias = builder.constant(np.ones(columns, np.float32))
        return builder.finish([builder.emit(kind, x, builder.constant(weights), bias)], ["y"])
    bias = builder.constant(np.ones(columns, np.int32))
    sums = builder.emit(kind, x, builder.constant(_integers(weights)), bias)
    scale = builder.constant(np.full(columns, _SCALE, np.float32))
    result = builder.emit(Requantize(Range.whole(DType.I8, 0)), sums, scale)
    return builder.finish([result], ["y"])


def _integers(weights: Array) -> Array:
    """Integers that are zero where the weights are, and only there."""
    scaled = np.rint(weights / np.abs(weights).max(initial=1e-30) * _LARGEST)
    return np.where(weights == 0, 0, np.where(scaled == 0, 1, scaled)).astype(np.int8)


def compiled_layer(graph: Graph, target: Target) -> CompiledModel:
    """A graph compiled for a target; there is no model file."""
    options = CompileOptions(target)
    level = LEVELS[options.level]
    manager = PassManager(level.pipeline(target))
    after = manager.run(graph)
    program = assemble(after, "layer", target, level.schedule, reorder=level.reorder)
    return CompiledModel(Compilation(options, graph, after, manager.records, program, (), ()), "")
