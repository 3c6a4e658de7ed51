"""Rounds the layers of a model one depth after the other, each knowing what those before it do.

For each depth, the samples run through the float model and through the model with the integers that
are decided so far; second moments of what the layers read are all that is kept of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lepton_cc.calibration.data import Samples
from lepton_cc.calibration.float_run import InnerRun, inner_run
from lepton_cc.calibration.judged_values import judged
from lepton_cc.calibration.staged_run import StagedRun
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.channel_moments import importance, mean_shift
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.layer_moments import MomentSums, has_rows
from lepton_cc.passes.quantize.layer_rounding import (
    LayerError,
    LayerProblem,
    Rounding,
    round_layer,
)
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.weight_rounding import RoundedLayer, quantize_weights

# Elements of a layer's second moments: 16 MiB each of its two matrices.
MAX_MOMENTS = 1 << 21
# Of the layers that are looked at in one run of the samples.
_MAX_MOMENTS_OF_STAGE = 1 << 22
# Every stage runs all samples.
MAX_STAGES = 40


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What was done to a layer.

    `error` is None if it was rounded to nearest; `reason` says why, if a method was asked for.
    `sensitivity`: the model's outputs' error if this layer alone has 4 bits, where it was measured.
    """

    name: str
    nodes: tuple[str, ...]
    num_weights: int
    bits: int
    error: LayerError | None
    reason: str = ""
    sensitivity: float | None = None


@dataclass(frozen=True, slots=True)
class RoundedLayers:
    """Weights by the name of the layer's result, a record of each layer, the damping of all."""

    layers: Mapping[str, RoundedLayer] = field(default_factory=dict)
    records: tuple[LayerRecord, ...] = ()
    damping: float | None = None


@dataclass(frozen=True, slots=True)
class ReferenceRuns:
    """The float graph, compiled once for all that is compared with it.

    By stage what its layers read; `outputs` gives the judged values.
    """

    stages: tuple[InnerRun, ...]
    outputs: InnerRun


def reference_runs(graph: Graph, insertion: InsertQuantization) -> ReferenceRuns:
    """Runs of a prepared float graph that stop where each stage reads."""
    staged = StagedRun(is_float=True)
    stages = tuple(
        staged.extend(graph, [op.inputs[0] for op in stage], ())
        for stage in _stages(graph, _solvable_layers(graph, insertion))
    )
    return ReferenceRuns(stages, staged.extend(graph, [one.value for one in judged(graph)], ()))


def round_layers(
    graph: Graph,
    data: Samples,
    insertion: InsertQuantization,
    method: Rounding,
    reference: ReferenceRuns,
    integer_run: StagedRun,
    *,
    correct_bias: bool,
    damping: float,
) -> RoundedLayers:
    """Rounds all contractions of a prepared float graph that are matrix products of windows.

    reference: of the same graph and insertion. integer_run: a new `staged_run` of the insertion,
    extended by each stage.
    """
    arrays = _arrays(graph)
    contractions = _contractions(graph, insertion)
    solvable = _solvable_layers(graph, insertion)
    layers: dict[str, RoundedLayer] = {}
    errors: dict[str, LayerError] = {}
    for stage, float_run in zip(_stages(graph, solvable), reference.stages, strict=True):
        current = replace(insertion, rounded=dict(layers)).run(graph, Statistics())
        sources = _sources(current, stage, is_float=bool(insertion.block))
        undecided = {op.result for op in solvable if op.result.name not in layers}
        rounded_run = integer_run.extend(current, [x for x, _ in sources.values()], undecided)
        sums = {op: MomentSums(op, data.num_samples) for op in stage if op in sources}
        for sample in data.samples():
            rounded, reals = rounded_run(sample), float_run(sample)
            for op, one in sums.items():
                one.observe(rounded[sources[op][0].name], reals[op.inputs[0].name])
        for op, one in sums.items():
            weights = arrays[op.inputs[1]]
            problem = LayerProblem(
                op,
                weights,
                arrays[op.inputs[2]] if len(op.inputs) > 2 else None,
                sources[op][1],
                insertion.weights_dtype(op, weights.size),
                one.moments(),
                damping,
                insertion.block_of(op),
            )
            name = op.result.name
            # In floats, only what has a bias can make up for means.
            corrects = correct_bias and (not insertion.block or problem.bias is not None)
            layers[name], errors[name] = round_layer(problem, method, correct_bias=corrects)
    records = tuple(_record(op, insertion, errors, _reason(op, arrays)) for op in contractions)
    return RoundedLayers(layers, records, damping)


def _solvable_layers(graph: Graph, insertion: InsertQuantization) -> tuple[Op, ...]:
    """The contractions of a prepared float graph that are rounded for the least error."""
    arrays = _arrays(graph)
    return tuple(op for op in _contractions(graph, insertion) if not _reason(op, arrays))


def staged_run(insertion: InsertQuantization) -> StagedRun:
    """What runs the graphs of an insertion while their layers are decided."""
    return StagedRun(is_float=bool(insertion.block))


def _arrays(graph: Graph) -> Mapping[Value, Array]:
    return {op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)}


def _contractions(graph: Graph, insertion: InsertQuantization) -> tuple[Op, ...]:
    found = quantization_points(graph).contractions
    return tuple(op for op in found if not insertion.block or insertion.block_of(op))


def layers_alone(
    graph: Graph,
    data: Samples,
    insertion: InsertQuantization,
    method: Rounding,
    layers: Sequence[Op],
) -> Mapping[str, RoundedLayer]:
    """Layers rounded as if each were the only one: they read what they read in the float graph.

    By the name of the result; without those whose weights are not finite.
    """
    arrays = _arrays(graph)
    solvable = [op for op in layers if method is not Rounding.PLAIN and not _reason(op, arrays)]
    found: dict[str, RoundedLayer] = {}
    for op in layers:
        if op not in solvable and all(np.all(np.isfinite(arrays[v])) for v in op.inputs[1:]):
            found[op.result.name] = _nearest(op, arrays[op.inputs[1]], insertion)
    for stage in _stages(graph, solvable):
        run = inner_run(graph, [op.inputs[0] for op in stage])
        sums = {op: MomentSums(op, data.num_samples) for op in stage}
        for sample in data.samples():
            reals = run(sample)
            for op, one in sums.items():
                one.observe(reals[op.inputs[0].name], reals[op.inputs[0].name])
        for op, one in sums.items():
            weights = arrays[op.inputs[1]]
            dtype = insertion.weights_dtype(op, weights.size)
            problem = LayerProblem(op, weights, None, np.float32(1), dtype, one.moments())
            found[op.result.name], _ = round_layer(problem, Rounding.GPTQ, correct_bias=True)
    return found


def _nearest(op: Op, weights: Array, insertion: InsertQuantization) -> RoundedLayer:
    moments = insertion.moments.get(op.inputs[0].name)
    weighed_by = None if moments is None else importance(op, moments)
    dtype = insertion.weights_dtype(op, weights.size)
    quantized = quantize_weights(weights, dtype, np.zeros(weights.shape[-1]), weighed_by)
    shift = None if moments is None else mean_shift(op, moments, weights - quantized.reals)
    return RoundedLayer(quantized, shift)


def nearest_layers(graph: Graph, insertion: InsertQuantization) -> RoundedLayers:
    """All contractions as they are without a method: rounded to nearest, nothing to be said."""
    contractions = quantization_points(graph).contractions
    return RoundedLayers({}, tuple(_record(op, insertion, {}, "") for op in contractions))


def _record(
    op: Op, insertion: InsertQuantization, errors: Mapping[str, LayerError], reason: str
) -> LayerRecord:
    num_weights = op.inputs[1].type.num_elements
    return LayerRecord(
        op.result.name,
        op.location.nodes,
        num_weights,
        insertion.weights_dtype(op, num_weights).bits,
        errors.get(op.result.name),
        reason,
    )


def _reason(op: Op, arrays: Mapping[Value, Array]) -> str:
    """Why a layer is rounded to nearest; empty if it need not be."""
    if not has_rows(op):
        return f"{op.kind.mnemonic} is no matrix product of its windows"
    if _num_moments(op) > MAX_MOMENTS:
        return "its second moments would take too much memory"
    if not all(np.all(np.isfinite(arrays[value])) for value in op.inputs[1:]):
        return "its weights are not finite"
    return ""


def _num_moments(op: Op) -> int:
    weights = op.inputs[1].type.dims
    depth = int(np.prod(weights[:-1]))
    return depth * depth * (op.kind.groups if isinstance(op.kind, Conv) else 1)


def _stages(graph: Graph, layers: Sequence[Op]) -> list[list[Op]]:
    """Layers by depth, joined where there are many."""
    wanted = set(layers)
    depths: dict[Value, int] = {}
    by_depth: dict[int, list[Op]] = {}
    for op in graph.ops:
        depth = max((depths.get(value, 0) for value in op.inputs), default=0)
        if op in wanted:
            by_depth.setdefault(depth, []).append(op)
            depth += 1
        depths.update(dict.fromkeys(op.results, depth))
    ordered = [by_depth[depth] for depth in sorted(by_depth)]
    at_once = -(-len(ordered) // MAX_STAGES)
    stages: list[list[Op]] = []
    for start in range(0, len(ordered), max(at_once, 1)):
        total = 0
        stages.append([])
        for op in (op for one in ordered[start : start + at_once] for op in one):
            if stages[-1] and total + _num_moments(op) > _MAX_MOMENTS_OF_STAGE:
                total = 0
                stages.append([])
            stages[-1].append(op)
            total += _num_moments(op)
    return stages


def _sources(
    graph: Graph, stage: Sequence[Op], *, is_float: bool
) -> dict[Op, tuple[Value, np.float32]]:
    """What each layer reads in the quantized graph, and its step; without those that stay float.

    is_float: they all read floats, which have no step; it counts as 1.
    """
    producers = graph.producers()
    arrays = _arrays(graph)
    found: dict[Op, tuple[Value, np.float32]] = {}
    for op in stage:
        x = producers[op.result].inputs[0]
        if is_float:
            found[op] = x, np.float32(1)
            continue
        behind = producers.get(x)
        while behind is not None and not isinstance(behind.kind, Dequantize):
            moves = Trait.MOVEMENT in behind.kind.traits or "pool" in behind.kind.mnemonic
            behind = producers.get(behind.inputs[0]) if moves and behind.inputs else None
        if behind is not None:
            found[op] = x, np.float32(arrays[behind.inputs[1]].reshape(-1)[0])
    return found
