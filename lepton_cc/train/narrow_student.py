"""A student with fewer channels than the original: which go, for how many multiply-adds.

Channels inside of residual blocks, which one layer makes, go first: the trunk keeps its width, so
that the student can be taught what the original has there, and not only what it answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lepton_cc.calibration.data import CalibrationData, calibration_data
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.codegen.costs import num_macs
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.channel_groups import ChannelGroup, channel_groups
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.remove_channels import (
    kept_channels,
    removal_order,
    removed_inputs,
    removed_outputs,
    without_units,
)
from lepton_cc.reconstruction.layers import reconstruct_layers

_NUM_SHARES = 32
# Of a group's channels, as long as there are others.
_MOST_INSIDE = 0.75


@dataclass(frozen=True, slots=True)
class Student:
    """A graph, and by the names of values that are narrower in it their channels of before."""

    graph: Graph
    channels: Mapping[str, Array] = field(default_factory=dict)


def total_macs(graph: Graph) -> int:
    """Multiply-adds of one run."""
    return sum(map(num_macs, graph.ops))


def narrow_student(graph: Graph, samples: Mapping[str, Array], share: float) -> Student:
    """The graph with at most `share` of its multiply-adds, what reads fewer channels solved for.

    Every group that may lose channels loses the same share of them: first those that one layer
    makes, then, if that is not enough, all.

    Raises:
        Refused: so many channels cannot go.
    """
    groups = channel_groups(graph)
    inside = tuple(group for group in groups if len(group.layers) == 1)
    most = share * total_macs(graph)
    for chosen, largest in ((inside, _MOST_INSIDE), (groups, 1.0)):
        for number in range(1, _NUM_SHARES):
            gone = number / _NUM_SHARES
            if not chosen or gone > largest:
                break
            counts = [min(round(gone * len(g.units)), len(g.units) - 1) for g in chosen]
            # Its size is the same, whichever channels go.
            removals = [(g, range(n)) for g, n in zip(chosen, counts, strict=True)]
            smaller = without_units(graph, removals)
            if total_macs(smaller) <= most:
                return _narrowed(graph, calibration_data(graph, samples), chosen, counts)
    raise refuse(
        Code.UNSUPPORTED_FORM,
        f"no removal of channels leaves {share:.0%} of the multiply-adds",
        hint="ask for a larger share, or give a student as an ONNX file",
    )


def _narrowed(
    graph: Graph, data: CalibrationData, groups: Sequence[ChannelGroup], counts: Sequence[int]
) -> Student:
    """The graph without so many channels of each group, those that are missed least."""
    layers = {layer.name: layer for layer in prunable_layers(graph)}
    readers = {name: layers[name] for group in groups for name in group.readers}
    moments = {name: LayerMoments(layer) for name, layer in readers.items()}
    run = inner_run(graph, [layer.op.inputs[0] for layer in readers.values()])
    for sample in data.samples():
        values = run(sample)
        for name, layer in readers.items():
            x = values[layer.op.inputs[0].name]
            moments[name].observe(x, x)
    narrowed = graph
    gone = []
    for group, count in zip(groups, counts, strict=True):
        order = removal_order(group, [readers[name] for name in group.readers], moments)
        gone.append(order[:count])
        narrowed = _zeroed(narrowed, group, gone[-1], moments)
    narrowed = reconstruct_layers(graph, narrowed, data).graph
    removals = list(zip(groups, gone, strict=True))
    return Student(without_units(narrowed, removals), kept_channels(removals))


def _zeroed(
    graph: Graph, group: ChannelGroup, gone: Sequence[int], moments: Mapping[str, LayerMoments]
) -> Graph:
    """The graph with zeros for some units of a group, their readers solved for."""
    arrays: dict[Value, Array] = {}
    for layer in prunable_layers(graph):
        if layer.name in group.readers:
            hessian = moments[layer.name].hessian
            arrays.update(removed_inputs(layer, hessian, group, gone))
    graph = with_constants(graph, arrays)
    arrays.clear()
    for layer in prunable_layers(graph):
        if layer.name in group.layers:
            arrays.update(removed_outputs(layer, group, gone))
    return with_constants(graph, arrays)
