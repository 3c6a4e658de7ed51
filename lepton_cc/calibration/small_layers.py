"""Layers that keep 8-bit weights where the rest has 4, because 4 bits would save next to nothing.

A few weights for many results, as around the bottleneck of an autoencoder, have no others that
could make up for their rounding, and all that passes goes through them.
"""

from collections.abc import Mapping

from lepton_cc.ir.graph import Graph
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

# Of all weights, those that such layers may have together: half of it is what they cost in bytes.
_SHARE = 1 / 64


def small_layers(graph: Graph, scheme: WeightScheme) -> Mapping[str, WeightScheme]:
    """Wider schemes for contractions by the name of their result.

    They are the layers with the fewest weights; layers of one size all are, or none.
    """
    if not scheme.has_narrow_weights:
        return {}
    sizes = {
        op.result.name: op.inputs[1].type.num_elements
        for op in quantization_points(graph).contractions
    }
    narrow = {name: size for name, size in sizes.items() if scheme.dtype(size).bits < 8}
    left = _SHARE * sum(sizes.values())
    found: dict[str, WeightScheme] = {}
    for size in sorted(set(narrow.values())):
        names = [name for name, own in narrow.items() if own == size]
        left -= size * len(names)
        if left < 0:
            break
        found.update(dict.fromkeys(names, scheme.with_wide_weights))
    return found
