"""The order in which layers are solved for: by depth, those together that do not see each other."""

from collections.abc import Sequence

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.passes.reconstruct.output_moments import num_moments

# Of the layers that are looked at in one run of the samples: 32 MiB of f64.
_MAX_MOMENTS = 1 << 22
# Every stage compiles the model again and runs all samples.
_MAX_STAGES = 40


def by_depth(graph: Graph, layers: Sequence[Op], max_stages: int = _MAX_STAGES) -> list[list[Op]]:
    """Layers in stages; one of a stage reads none of the others, if `max_stages` allows.

    A stage's second moments are bounded, however many layers there are.
    """
    wanted = set(layers)
    depths: dict[Value, int] = {}
    found: dict[int, list[Op]] = {}
    for op in graph.ops:
        depth = max((depths.get(value, 0) for value in op.inputs), default=0)
        if op in wanted:
            found.setdefault(depth, []).append(op)
            depth += 1
        depths.update(dict.fromkeys(op.results, depth))
    ordered = [found[depth] for depth in sorted(found)]
    at_once = max(1, -(-len(ordered) // max_stages))
    return [
        stage
        for start in range(0, len(ordered), at_once)
        for stage in _bounded([op for one in ordered[start : start + at_once] for op in one])
    ]


def _bounded(layers: Sequence[Op]) -> list[list[Op]]:
    stages: list[list[Op]] = []
    total = 0
    for op in layers:
        if not stages or total + num_moments(op) > _MAX_MOMENTS:
            stages.append([])
            total = 0
        stages[-1].append(op)
        total += num_moments(op)
    return stages
