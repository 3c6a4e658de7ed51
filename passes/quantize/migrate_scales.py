"""Scales of channels moved from what products read into their weights: SmoothQuant, and like AWQ.

Xiao et al., SmoothQuant, 2023, and Lin et al., AWQ, 2024: (x / s)(s W) = x W for a factor s of each
channel of x. A norm's scale, or a product whose result is x or a factor of it, takes up 1 / s, so
that nothing is computed for it. Their rules for s are candidates here; of them, and of leaving all
as it is, the noise of rounding that each would make decides.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.prune.contraction_weights import with_constants
from lepton_cc.passes.quantize.weight_rounding import (
    WeightScheme,
    fitting_block,
    quantize_blocks,
    quantize_weights,
)

_EXPONENTS = (0.25, 0.5, 0.75, 1.0)
# The noise is that of independent errors: a small gain may be none.
_WORTH = 0.9
_SMALLEST = 1e-30


@dataclass(frozen=True, slots=True)
class ChannelSizes:
    """The largest magnitude and the mean square of each channel of a value, f64[C]."""

    largest: Array
    squares: Array


@dataclass(frozen=True, slots=True)
class ScaledGroup:
    """Products that read one value, and the constants [..., C] that its channels are scaled by."""

    value: Value
    products: tuple[Op, ...]
    scaled: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class MigrateScales(Pass):
    """Divides channels before matrix products and multiplies the weights that read them.

    Accepts and leaves a float graph with recognized norms. `sizes` are those of the values that
    `scaled_groups` names; `scheme` and `block` are what the graph will be quantized to. Factors are
    powers of two, so that the float results stay the same but for underflow.
    """

    NAME: ClassVar[str] = "migrate-scales"
    sizes: Mapping[str, ChannelSizes] = field(default_factory=dict)
    scheme: WeightScheme = WeightScheme.W8A8
    block: int = 0

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        arrays = {
            op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
        }
        for group in scaled_groups(graph):
            if group.value.name not in self.sizes:
                continue
            sizes = self.sizes[group.value.name]
            weights = np.concatenate(
                [arrays[op.inputs[1]].astype(np.float64) for op in group.products], axis=1
            )
            factors = self._factors(sizes, weights)
            if np.all(factors == 1):
                continue
            statistics.count("scale the channels of products")
            for value in group.scaled:
                arrays[value] = (arrays[value] / factors).astype(np.float32)
            for op in group.products:
                scaled = arrays[op.inputs[1]] * factors[:, None]
                arrays[op.inputs[1]] = scaled.astype(np.float32)
        return with_constants(graph, arrays)

    def _factors(self, sizes: ChannelSizes, weights: Array) -> Array:
        """The candidate that makes the least noise, if it is worth it; else 1."""
        candidates = [np.ones(len(weights)), *_candidates(sizes, weights)]
        noises = [self._noise(sizes, weights, one) for one in candidates]
        best = int(np.argmin(noises))
        return candidates[best if noises[best] < _WORTH * noises[0] else 0]

    def _noise(self, sizes: ChannelSizes, weights: Array, factors: Array) -> float:
        """Mean squares of what rounding adds to the results: of what is read, and of weights."""
        scaled = weights * factors[:, None]
        read = 0.0
        if not self.block:
            levels = (1 << self.scheme.activations.bits) - 1
            step = 2 * float((sizes.largest / factors).max()) / levels
            read = step * step / 12 * float(np.sum(scaled * scaled))
        powers = np.maximum(sizes.squares / factors**2, _SMALLEST)[:, None]
        dtype = self.scheme.dtype(weights.size)
        if self.block:
            block = fitting_block(len(weights), self.block)
            rounded = quantize_blocks(scaled, dtype, block, powers)
        else:
            rounded = quantize_weights(scaled, dtype, np.zeros(scaled.shape[1]), powers)
        errors = rounded.reals.reshape(scaled.shape) - scaled
        return read + float(np.sum(powers * errors * errors))


def _candidates(sizes: ChannelSizes, weights: Array) -> Iterator[Array]:
    """s = a^e / w^(1 - e) with a the largest, or the mean, magnitude of x and w that of weights."""
    magnitudes = np.abs(weights).max(axis=1)
    for read in (sizes.largest, np.sqrt(sizes.squares)):
        alive = (read > 0) & (magnitudes > 0)
        if not alive.any():
            continue
        of_x, of_w = (np.log2(np.where(alive, one, 1.0)) for one in (read, magnitudes))
        for exponent in _EXPONENTS:
            for logarithms in (exponent * of_x - (1 - exponent) * of_w, exponent * of_x):
                centered = logarithms - logarithms[alive].mean()
                yield np.exp2(np.rint(np.where(alive, centered, 0.0)))


def scaled_groups(graph: Graph) -> Sequence[ScaledGroup]:
    """Values that only products with constants read and whose makers can take up factors."""
    uses, producers = graph.uses(), graph.producers()
    outputs = frozenset(graph.outputs)
    constants = {op.result for op in graph.ops if isinstance(op.kind, Constant)}

    def owned(value: Value) -> bool:
        is_own = value in constants and len(uses[value]) == 1
        return is_own and value.type.dtype is DType.F32

    def is_product(op: Op) -> bool:
        if not isinstance(op.kind, MatMul) or op.inputs[1].type.rank != 2:
            return False
        return all(owned(value) for value in op.inputs[1:])

    def scaled_by(value: Value) -> tuple[Value, ...]:
        op = producers.get(value)
        if op is None:
            return ()
        if isinstance(op.kind, LayerNorm | RmsNorm):
            parameters = op.inputs[1:]
            fits = all(owned(one) and one.type.dims == value.type.dims[-1:] for one in parameters)
            is_scaled = len(op.operands) > 1 and op.operands[1] is not None
            return tuple(parameters) if fits and is_scaled else ()
        if is_product(op):
            return tuple(op.inputs[1:])
        if op.kind != Binary(BinaryFunction.MUL):
            return ()
        for factor in op.inputs:
            maker = producers.get(factor)
            alone = len(uses.get(factor, ())) == 1 and factor not in outputs
            if alone and maker is not None and is_product(maker):
                fits = math.prod(factor.type.dims) == math.prod(value.type.dims)
                return tuple(maker.inputs[1:]) if fits else ()
        return ()

    found = []
    for value, readers in uses.items():
        products = tuple(dict.fromkeys(readers))
        if value in outputs or value in constants or not all(is_product(op) for op in products):
            continue
        if any(op.inputs[0] != value or value in op.inputs[1:] for op in products):
            continue
        if scaled := scaled_by(value):
            found.append(ScaledGroup(value, products, scaled))
    return found
