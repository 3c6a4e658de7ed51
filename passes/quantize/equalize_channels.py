"""Equal ranges of a channel's weights in the layer that makes it and in that which reads it.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019, section
4.1: relu(x s) = relu(x) s for s > 0, so that the outputs of a layer may be divided by s and the
weights that read them multiplied with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.manager import Pass

_NUM_SWEEPS = 20


@dataclass(frozen=True, slots=True)
class EqualizeChannels(Pass):
    """Scales channels between convolutions or products that only relus and pools stand between.

    Accepts and leaves a float graph with constant weights. Factors are powers of two, so that the
    float results stay the same but for underflow.
    """

    NAME: ClassVar[str] = "equalize-channels"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        arrays = {
            op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
        }
        pairs = _pairs(graph, arrays)
        new = dict(arrays)
        changed: set[tuple[Value, Value]] = set()
        for _ in range(_NUM_SWEEPS):
            moved = False
            for first, second in pairs:
                factors = _factors(first, second, new)
                if np.all(factors == 1):
                    continue
                moved = True
                changed.add((first.result, second.result))
                for value in first.inputs[1:]:
                    new[value] = new[value] / factors
                new[second.inputs[1]] = _rows_scaled(second, new[second.inputs[1]], factors)
            if not moved:
                break
        statistics.count("equalize two layers", len(changed))
        return graph.with_ops(tuple(_with_content(op, new) for op in graph.ops))


def _with_content(op: Op, arrays: dict[Value, Array]) -> Op:
    if not isinstance(op.kind, Constant) or arrays[op.result] is op.kind.value.array:
        return op
    content = arrays[op.result].astype(op.kind.value.array.dtype)
    return replace(op, kind=replace(op.kind, value=Tensor(content)))


def _pairs(graph: Graph, arrays: dict[Value, Array]) -> Sequence[tuple[Op, Op]]:
    """Layers, the second alone reading the first; both with weights that nothing else reads."""
    uses = graph.uses()
    outputs = frozenset(graph.outputs)

    def owns_weights(op: Op) -> bool:
        return all(
            v in arrays and len(uses[v]) == 1 and np.all(np.isfinite(arrays[v]))
            for v in op.inputs[1:]
        )

    def is_layer(op: Op) -> bool:
        if not isinstance(op.kind, Conv | MatMul) or not owns_weights(op):
            return False
        return isinstance(op.kind, Conv) or op.inputs[1].type.rank == 2

    found: list[tuple[Op, Op]] = []
    for op in graph.ops:
        if not is_layer(op):
            continue
        value = op.result
        while value not in outputs and len(uses.get(value, ())) == 1:
            (reader,) = uses[value]
            if is_layer(reader) and reader.inputs[0] == value:
                found.append((op, reader))
                break
            relu = isinstance(reader.kind, Clamp) and reader.kind == Clamp(0.0, math.inf)
            if not relu and not isinstance(reader.kind, MaxPool | AveragePool):
                break
            value = reader.result
    return found


def _row_ranges(op: Op, weights: Array) -> Array:
    """The largest magnitude of the weights that each input channel is multiplied with."""
    groups = op.kind.groups if isinstance(op.kind, Conv) else 1
    rows, outputs = weights.shape[-2:]
    by_group = np.abs(weights).reshape(-1, rows, groups, outputs // groups)
    return np.asarray(by_group.max(axis=(0, 3)).T.reshape(-1))


def _rows_scaled(op: Op, weights: Array, factors: Array) -> Array:
    groups = op.kind.groups if isinstance(op.kind, Conv) else 1
    rows, outputs = weights.shape[-2:]
    by_weight = np.repeat(factors.reshape(groups, rows), outputs // groups, axis=0).T
    return np.asarray(weights * by_weight)


def _factors(first: Op, second: Op, arrays: dict[Value, Array]) -> Array:
    """What the first layer's channels are divided by: sqrt(r1 / r2), to the nearest power of 2."""
    weights = arrays[first.inputs[1]]
    made = np.abs(weights).reshape(-1, weights.shape[-1]).max(axis=0)
    read = _row_ranges(second, arrays[second.inputs[1]])
    alive = (made > 0) & (read > 0)
    ratio = np.where(alive, made, 1.0) / np.where(alive, read, 1.0)
    return np.asarray(np.exp2(np.rint(np.log2(ratio) / 2)))
