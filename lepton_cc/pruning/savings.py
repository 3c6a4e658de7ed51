"""What the zeros of a pruned graph are worth on a target: bytes and time, or a note that says none.

The figures are those by which code generation itself decides between lists and dense code.
"""

import math
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.lower.sparse_matmul import sparse_form
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.target import Target
from lepton_cc.passes.prune.contraction_weights import prunable_layers

# Layers with fewer zeros were not pruned.
_PRUNED = 0.01


@dataclass(frozen=True, slots=True)
class LayerSaving:
    """A pruned layer on a target: is it stored as lists, and its bytes as dense and as stored."""

    name: str
    sparsity: float
    is_sparse: bool
    dense_bytes: int
    stored_bytes: int

    @property
    def note(self) -> str:
        """What to tell the user if the zeros save nothing; else empty."""
        if self.is_sparse:
            return ""
        return f"pruning {self.name} to {self.sparsity:.0%} saves 0 cycles on this target"


def savings(graph: Graph, target: Target, weights: DType = DType.F32) -> tuple[LayerSaving, ...]:
    """The pruned layers of a float graph, with weights stored as f32 or, quantized, as i8."""
    found = []
    for layer in prunable_layers(graph):
        zeros = layer.weights == 0
        share = float(zeros.mean())
        if share < _PRUNED:
            continue
        # Only where the zeros are decides; quantization keeps them.
        matrix = np.where(zeros, 0, 1).astype(weights.numpy).reshape(-1, layer.weights.shape[-1])
        form = None
        if isinstance(layer.op.kind, MatMul):
            rows = math.prod(layer.op.inputs[0].type.dims[:-1])
            form = sparse_form(matrix, target, target.lanes(4), rows)
        stored = matrix.nbytes
        if form is not None:
            index = 1 if matrix.shape[0] // form.rows <= 256 else 2
            stored = form.size_bytes(index, weights.size_bytes)
        found.append(LayerSaving(layer.name, share, form is not None, matrix.nbytes, stored))
    return tuple(found)
