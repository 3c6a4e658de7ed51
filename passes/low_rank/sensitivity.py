"""What an error in one layer does to the outputs of the graph: tried out, on a few samples."""

from collections.abc import Mapping, Sequence

import numpy as np

from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.final_softmax import before_softmax
from lepton_cc.passes.prune.contraction_weights import with_constants

# A layer that seems to matter to nothing still counts for this share of the mean.
_LEAST = 1e-2


def sensitivities(
    graph: Graph,
    trials: Mapping[str, Mapping[Value, Array]],
    samples: Sequence[Mapping[str, Array]],
) -> Mapping[str, float]:
    """The share of the outputs' power that each trial, by name, misses: not zero.

    A trial is a layer with other weights, of the types that they have. A final softmax is left out:
    what it saturates would seem not to matter.
    """
    bare = before_softmax(graph)
    wanted = [interpret(bare, sample) for sample in samples]
    centers = {name: np.mean([one[name] for one in wanted], axis=0) for name in bare.output_names}
    power = sum(_squares(one, centers) for one in wanted)
    found = {}
    for name, arrays in trials.items():
        changed = with_constants(bare, arrays)
        outputs = (interpret(changed, sample) for sample in samples)
        missed = sum(_squares(got, one) for got, one in zip(outputs, wanted, strict=True))
        found[name] = missed / power if power > 0 else 0.0
    floor = _LEAST * sum(found.values()) / max(len(found), 1)
    return {name: max(value, floor) or 1.0 for name, value in found.items()}


def _squares(outputs: Mapping[str, Array], others: Mapping[str, Array]) -> float:
    return sum(
        float(np.sum((outputs[name].astype(np.float64) - others[name]) ** 2)) for name in outputs
    )
