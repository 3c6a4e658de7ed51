"""Layer-wise reconstruction: each layer of a compressed graph is fitted to the original's outputs.

Nothing is labelled and no gradient is taken: a layer's best weights have a closed form. Layers come
in order of depth, each reading what those before it became, so that it makes up for them too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.passes.prune.contraction_weights import (
    PrunableLayer,
    prunable_layers,
    with_constants,
)
from lepton_cc.passes.reconstruct.depth import by_depth
from lepton_cc.passes.reconstruct.least_squares import fit_layer
from lepton_cc.passes.reconstruct.output_moments import (
    FitMoments,
    OutputMoments,
    from_matrices,
    matrices,
    num_moments,
)

# Elements of a layer's second moments: 32 MiB.
MAX_MOMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class FittedLayer:
    """What fitting did to a layer: the shares of its outputs' power that were missed, and are.

    Both are None, and `reason` says why, if the layer stayed as it was.
    """

    name: str
    error_before: float | None
    error: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The compressed graph with other constants, and what happened to its layers or blocks."""

    graph: Graph
    layers: tuple[FittedLayer, ...]


def targets(original: Graph, compressed: Graph) -> Mapping[str, Value]:
    """The values of the original that the compressed graph computes too, by name."""
    known = {value.name: value for op in original.ops for value in op.results}
    return {
        value.name: known[value.name]
        for op in compressed.ops
        for value in op.results
        if value.name in known and known[value.name].type == value.type
    }


def reconstruct_layers(
    original: Graph, compressed: Graph, data: CalibrationData, keep: tuple[str, ...] = ()
) -> Reconstruction:
    """Fits the weights and biases of all convolutions and products with constant weights.

    Both graphs are prepared float graphs; a layer's target is the value of the same name and type
    in the original. Weights that are zero stay zero. `keep` are names of layers to leave alone.
    """
    wanted = targets(original, compressed)
    records = {
        layer.name: FittedLayer(layer.name, None, None, _reason(layer, wanted, keep))
        for layer in prunable_layers(compressed)
    }
    ops = [one.op for one in prunable_layers(compressed) if not records[one.name].reason]
    float_run = inner_run(original, [wanted[op.result.name] for op in ops])
    graph = compressed
    for stage in by_depth(compressed, ops):
        names = {op.result.name for op in stage}
        layers = [layer for layer in prunable_layers(graph) if layer.name in names]
        sums = {layer.name: OutputMoments(layer.op, data.num_samples) for layer in layers}
        run = inner_run(graph, [layer.op.inputs[0] for layer in layers])
        for sample in data.samples():
            given, goals = run(sample), float_run(sample)
            for layer in layers:
                sums[layer.name].observe(given[layer.op.inputs[0].name], goals[layer.name])
        for layer in layers:
            graph, records[layer.name] = _fitted(graph, layer, sums[layer.name].halves())
    return Reconstruction(graph, tuple(records.values()))


def _fitted(
    graph: Graph, layer: PrunableLayer, halves: tuple[FitMoments, FitMoments]
) -> tuple[Graph, FittedLayer]:
    fit = fit_layer(matrices(layer.op, layer.weights), layer.bias, halves)
    arrays = {layer.op.inputs[1]: from_matrices(layer.op, fit.weights)}
    if fit.bias is not None:
        arrays[layer.op.inputs[2]] = fit.bias.astype("float32")
    record = FittedLayer(layer.name, fit.error_before, fit.error)
    return with_constants(graph, arrays), record


def _reason(layer: PrunableLayer, wanted: Mapping[str, Value], keep: tuple[str, ...]) -> str:
    """Why a layer stays as it is; empty if it is fitted."""
    if layer.name in keep:
        return "it is to be kept"
    if layer.name not in wanted:
        return "the original has no value of its name and shape"
    if num_moments(layer.op) > MAX_MOMENTS:
        return "its second moments would take too much memory"
    return ""
