"""Weights that can be pruned, as matrices: the form in which all of pruning works on them.

Every convolution and product with constant weights is a set of least-squares problems: rows of
what a window sees, times a matrix of weights, for each group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array, Tensor


@dataclass(frozen=True, slots=True)
class PrunableLayer:
    """A contraction with constant f32 weights that nothing else reads.

    `name` is that of its result. `groups` divide the channels. `bias` is that of a layer that has a
    constant one of its own: it is solved for with the weights, as the last row of the matrices.
    """

    op: Op
    weights: Array
    groups: int
    bias: Array | None = None

    @property
    def name(self) -> str:
        """The name of the result."""
        return self.op.result.name

    @property
    def matrices(self) -> Array:
        """The weights as f64[groups, rows, columns]: by tap, then by channel; then the bias."""
        groups, columns = self.groups, self.weights.shape[-1] // self.groups
        flat = self.weights.astype(np.float64).reshape(-1, groups, columns)
        if self.bias is not None:
            flat = np.concatenate([flat, self.bias.astype(np.float64).reshape(1, groups, columns)])
        return np.ascontiguousarray(flat.transpose(1, 0, 2))

    @property
    def num_rows(self) -> int:
        """Rows of weights: those of the matrices without the bias."""
        return int(self.weights.size // self.weights.shape[-1])

    @property
    def channels(self) -> int:
        """Neighbouring rows that belong to one tap."""
        return int(self.weights.shape[-2])

    def from_matrices(self, matrices: Array) -> dict[Value, Array]:
        """What the constants of the op become, f32, for [groups, rows, columns]."""
        weights, bias = matrices[:, : self.num_rows], matrices[:, self.num_rows :]
        flat = weights.transpose(1, 0, 2).reshape(self.weights.shape)
        found = {self.op.inputs[1]: np.ascontiguousarray(flat.astype(np.float32))}
        if self.bias is not None:
            found[self.op.inputs[2]] = bias.astype(np.float32).reshape(self.bias.shape)
        return found

    def input_rows(self, x: Array) -> Array:
        """What the matrices are multiplied with, f32[groups, positions, rows], of one input."""
        if isinstance(self.op.kind, Conv):
            taps = [view for _, view in self.op.kind.window.taps(x, 0.0)]
            stacked = np.stack([t.reshape(-1, self.groups, self.channels) for t in taps], axis=1)
            by_group = np.ascontiguousarray(stacked.transpose(2, 0, 1, 3))
            rows = by_group.reshape(self.groups, len(stacked), -1)
        else:
            rows = x.reshape(1, -1, x.shape[-1])
        if self.bias is None:
            return rows
        ones = np.ones((*rows.shape[:2], 1), rows.dtype)
        return np.concatenate([rows, ones], axis=2)


def prunable_layers(graph: Graph) -> tuple[PrunableLayer, ...]:
    """The layers whose weights may change, in the graph's order.

    Weights that several ops share stay as they are.
    """
    constants = constant_arrays(graph)
    uses = graph.uses()
    found: list[PrunableLayer] = []
    for op in graph.ops:
        if not isinstance(op.kind, Conv | MatMul):
            continue
        own = [constants.get(value) if len(uses[value]) == 1 else None for value in op.inputs[1:]]
        weights, bias = own[0], own[1] if len(own) > 1 else None
        if weights is None or weights.dtype != np.float32 or not np.all(np.isfinite(weights)):
            continue
        if isinstance(op.kind, Conv):
            found.append(PrunableLayer(op, weights, op.kind.groups, bias))
        elif weights.ndim == 2:
            found.append(PrunableLayer(op, weights, 1, bias))
    return tuple(found)


def constant_arrays(graph: Graph) -> Mapping[Value, Array]:
    """The content of every constant."""
    return {op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)}


def with_constants(graph: Graph, arrays: Mapping[Value, Array]) -> Graph:
    """The graph with other content, of the same types, in these constants."""
    ops = tuple(
        Op(Constant(Tensor(arrays[op.result])), (), op.results, op.location)
        if op.results[0] in arrays
        else op
        for op in graph.ops
    )
    return graph.with_ops(ops)
