"""Second moments of what layers read, by which weights and channels are chosen to go."""

from collections.abc import Sequence

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.ir.graph import Graph
from lepton_cc.passes.prune.channel_groups import ChannelGroup
from lepton_cc.passes.prune.contraction_weights import PrunableLayer, prunable_layers
from lepton_cc.passes.prune.layer_moments import LayerMoments


def read_moments(
    graph: Graph, layers: Sequence[PrunableLayer], data: CalibrationData
) -> dict[str, LayerMoments]:
    """Of what each layer reads, by its name."""
    moments = {layer.name: LayerMoments(layer) for layer in layers}
    run = inner_run(graph, [layer.op.inputs[0] for layer in layers])
    for sample in data.samples():
        values = run(sample)
        for layer in layers:
            x = values[layer.op.inputs[0].name]
            moments[layer.name].observe(x, x)
    return moments


def reader_moments(
    graph: Graph, groups: Sequence[ChannelGroup], data: CalibrationData
) -> dict[str, LayerMoments]:
    """Of all layers that read channels of a group, by name."""
    names = {name for group in groups for name in group.readers}
    readers = [layer for layer in prunable_layers(graph) if layer.name in names]
    return read_moments(graph, readers, data)
