"""Removal of whole channels with data: the next layer makes up for those that are gone.

Channels are scored by what the layers that read them lose without them, after their remaining
weights were solved for again (least squares on the samples).
"""

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.passes.prune.channel_groups import ChannelGroup, channel_groups
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.remove_channels import (
    chosen_channels,
    removed_inputs,
    without_channels,
)
from lepton_cc.pruning.options import PrunedLayer, PruneResult


def prune_channels(
    prepared: Graph, data: CalibrationData, share: float, keep: tuple[str, ...]
) -> PruneResult:
    """Removes a share of the channels of every group that may lose some.

    Raises:
        Refused: all channels are bound to the interface or to ops that cannot lose them.
    """
    groups = [group for group in channel_groups(prepared) if not set(group.layers) & set(keep)]
    if not groups:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "no channels of the model can be removed",
            hint="prune single weights or blocks of them",
        )
    graph = prepared
    for number in range(len(groups)):
        graph = _smaller(prepared, graph, groups[number], data, share)
    before = {layer.name: layer for layer in prunable_layers(prepared)}
    figures = tuple(
        PrunedLayer(
            layer.name,
            layer.weights.size,
            0,
            0.0,
            (int(before[layer.name].weights.shape[-1]), int(layer.weights.shape[-1])),
        )
        for layer in prunable_layers(graph)
    )
    return PruneResult(prepared, graph, figures)


def _smaller(
    prepared: Graph, graph: Graph, group: ChannelGroup, data: CalibrationData, share: float
) -> Graph:
    """The graph without some channels of a group, its readers solved for again."""
    layers = {layer.name: layer for layer in prunable_layers(graph)}
    readers = [layers[name] for name in group.readers]
    moments = {layer.name: LayerMoments(layer) for layer in readers}
    sources = [layer.op.inputs[0] for layer in readers]
    run = inner_run(graph, sources)
    for sample in data.samples():
        values = run(sample)
        for layer in readers:
            x = values[layer.op.inputs[0].name]
            moments[layer.name].observe(x, x)
    kept = chosen_channels(group, readers, moments, share)
    arrays = {}
    for layer in readers:
        arrays.update(removed_inputs(layer, moments[layer.name], group, kept))
    return without_channels(with_constants(graph, arrays), group, kept)
