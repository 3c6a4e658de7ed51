"""A student with fewer channels than the original: which go, for how many multiply-adds.

Channels inside of residual blocks, which one layer makes, go first: the trunk keeps its width, so
that the student can be taught what the original has there, and not only what it answers.
"""

from collections.abc import Mapping, Sequence

from lepton_cc.codegen.costs import num_macs
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.channel_groups import ChannelGroup, channel_groups
from lepton_cc.passes.prune.remove_channels import without_channels
from lepton_cc.pruning.options import PruneOptions
from lepton_cc.pruning.prune import prune

_NUM_SHARES = 32
# Of a group's channels, as long as there are others.
_MOST_INSIDE = 0.75


def total_macs(graph: Graph) -> int:
    """Multiply-adds of one run."""
    return sum(map(num_macs, graph.ops))


def narrow_student(graph: Graph, samples: Mapping[str, Array], share: float) -> Graph:
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
            if total_macs(_without_share(graph, chosen, gone)) <= most:
                names = {layer for group in chosen for layer in group.layers}
                kept = tuple(op.results[0].name for op in graph.ops if op.results)
                keep = tuple(name for name in kept if name not in names)
                return prune(graph, samples, PruneOptions(gone, channels=True, keep=keep)).graph
    raise refuse(
        Code.UNSUPPORTED_FORM,
        f"no removal of channels leaves {share:.0%} of the multiply-adds",
        hint="ask for a larger share, or give a student as an ONNX file",
    )


def _without_share(graph: Graph, groups: Sequence[ChannelGroup], gone: float) -> Graph:
    """The graph without any channels of so many: its size is the same, whichever they are."""
    for group in groups:
        count = len(group.units)
        graph = without_channels(graph, group, range(count - min(round(gone * count), count - 1)))
    return graph
