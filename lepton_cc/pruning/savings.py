"""What the zeros of a pruned graph are worth on a target: bytes and time, or a note that says none.

Estimates are those by which code generation itself decides between dense and sparse code. Counts
compile each layer alone, as it is and without zeros; cycles are counted where the target is
emulated.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.lower.block_sparse import BlockForm
from lepton_cc.codegen.lower.constant_code import ConstantForm
from lepton_cc.codegen.lower.conv_shape import conv_shape
from lepton_cc.codegen.lower.sparse_form import SparseChoice, sparse_choice
from lepton_cc.codegen.lower.sparse_layer import SparseLayer, conv_layer, matmul_layer
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.target import DotProduct, Execution, Target
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prepare_dot_products import PrepareDotProducts
from lepton_cc.passes.prune.contraction_weights import (
    PrunableLayer,
    constant_arrays,
    prunable_layers,
)
from lepton_cc.pruning.one_layer import compiled_layer, one_layer

# Layers with fewer zeros were not pruned.
_PRUNED = 0.01
_DENSE = "dense"


@dataclass(frozen=True, slots=True)
class LayerSaving:
    """A pruned layer on a target: how it is stored, and its bytes with and without its zeros.

    time_share: the estimated part of the dense time. Counted: the bytes are code and constants of
    the layer alone; the cycles are instructions, or those of the engine, or 0 if nothing counts
    them.
    """

    name: str
    sparsity: float
    form: str
    time_share: float
    dense_bytes: int
    stored_bytes: int
    dense_cycles: int = 0
    cycles: int = 0

    @property
    def is_sparse(self) -> bool:
        """Whether code generation leaves zeros out."""
        return self.form != _DENSE

    @property
    def note(self) -> str:
        """What to tell the user if the zeros save no time; else empty."""
        if self.dense_cycles > self.cycles or (self.is_sparse and not self.dense_cycles):
            return ""
        return f"pruning {self.name} to {self.sparsity:.0%} saves 0 cycles on this target"


def savings(
    graph: Graph, target: Target, weights: DType = DType.F32, *, count: bool = False
) -> tuple[LayerSaving, ...]:
    """The pruned layers of a float graph, with weights stored as f32 or, quantized, as i8.

    `count`: compile each of them, which takes seconds, instead of estimating its bytes.
    """
    found = []
    for layer in prunable_layers(graph):
        share = float((layer.weights == 0).mean())
        if share >= _PRUNED:
            found.append(_saving(layer, share, target, weights, count=count))
    return tuple(found)


def _saving(
    layer: PrunableLayer, share: float, target: Target, dtype: DType, *, count: bool
) -> LayerSaving:
    lone = one_layer(layer, layer.weights, dtype)
    choice, dense_bytes = _choice(lone, target)
    form, time, stored = _DENSE, 1.0, dense_bytes
    if choice is not None:
        form, time = _named(choice), choice.cost.cycles / choice.dense.cycles
        stored = choice.cost.weight_bytes
    if not count:
        return LayerSaving(layer.name, share, form, time, dense_bytes, stored)
    full = np.where(layer.weights == 0, np.abs(layer.weights).max(), layer.weights)
    models = [compiled_layer(g, target) for g in (one_layer(layer, full, dtype), lone)]
    (dense_bytes, stored), (dense_cycles, cycles) = zip(*map(_counted, models), strict=True)
    return LayerSaving(layer.name, share, form, time, dense_bytes, stored, dense_cycles, cycles)


def _named(choice: SparseChoice) -> str:
    form = choice.form
    if isinstance(form, BlockForm):
        return f"blocks of {form.rows} x {form.columns}"
    return "constant code" if isinstance(form, ConstantForm) else f"{form.kept}:4"


def _counted(model: CompiledModel) -> tuple[int, int]:
    """Bytes in flash, and cycles of one run if they are counted."""
    target = model.compilation.options.target
    cycles = 0
    if target.execution is Execution.CONTROL_CORE:
        (port,) = model.inputs
        model.run({port.name: np.zeros(port.type.dims, port.type.dtype.numpy)})
        cycles = model.last_engine_cycles or model.last_instructions
    return model.memory.code_bytes + model.memory.constants_bytes, cycles


def _choice(graph: Graph, target: Target) -> tuple[SparseChoice | None, int]:
    """What code generation makes of the only contraction of a graph, and its weights' bytes."""
    schedule, steps = LEVELS[OptLevel.O3].schedule, (PrepareDotProducts(target.dot_product),)
    after = PassManager(steps).run(graph) if target.engine is None else graph
    constants = constant_arrays(after)
    (op,) = (op for op in after.ops if isinstance(op.kind, Conv | MatMul))
    weights = constants[op.inputs[1]]
    if target.engine is not None or (isinstance(op.kind, Conv) and op.kind.groups > 1):
        return None, weights.nbytes
    layer = _layer(op, weights, target)
    return sparse_choice(layer, target, schedule), layer.weights.nbytes


def _layer(op: Op, weights: Array, target: Target) -> SparseLayer:
    """The contraction as code generation sees it."""
    x, kind = op.inputs[0].type, op.kind
    dot = target.dot_product if x.dtype not in (DType.I8, DType.F32) else DotProduct.NONE
    if isinstance(kind, Conv):
        shape = conv_shape(kind, x.dims, op.result.type.dims)
        return conv_layer(weights.reshape(-1, shape.channels, shape.filters), shape, dot)
    return matmul_layer(weights, math.prod(x.dims[:-1]), dot)
