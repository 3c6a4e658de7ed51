"""Layers that have other widths than the rest of the model, by the names that users know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.graph import Graph, Op
from lepton_cc.passes.quantize.integer_forms import Form, integer_forms
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

_MOST_LISTED = 12


@dataclass(frozen=True, slots=True)
class LayerScheme:
    """A scheme for layers by name: of an ONNX node or of the result, `*` for any characters."""

    pattern: str
    scheme: WeightScheme

    def fits(self, layer: Op) -> bool:
        """Whether it means this layer."""
        names = (layer.results[0].name, *layer.location.nodes)
        return any(name == self.pattern or fnmatchcase(name, self.pattern) for name in names)


def scheme_layers(graph: Graph) -> tuple[Op, ...]:
    """What may have a scheme of its own: layers with weights, and sums, products, means and pools.

    The latter have no weights, so that only the bits of their result are theirs.
    """
    points, forms = quantization_points(graph), integer_forms(graph)
    weighted = {*points.contractions, *points.layers}
    return tuple(
        op
        for op in graph.ops
        if op in weighted or (forms.of(op) is Form.COMPUTED and op.result not in points.fixed)
    )


def named_layers(graph: Graph, schemes: Sequence[LayerScheme]) -> Mapping[str, WeightScheme]:
    """Schemes by the name of a layer's result; the last of those that fit a layer counts.

    Raises:
        UsageError: no layer of the graph has such a name.
    """
    layers = scheme_layers(graph)
    for one in schemes:
        if not any(one.fits(layer) for layer in layers):
            names = ["+".join(layer.location.nodes) or layer.results[0].name for layer in layers]
            more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
            listed = ", ".join(names[:_MOST_LISTED])
            raise UsageError(f"no layer is called {one.pattern!r}; there are {listed}{more}")
    return {
        layer.results[0].name: one.scheme for layer in layers for one in schemes if one.fits(layer)
    }
