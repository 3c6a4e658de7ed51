"""What may mend a layer: options of `lepton compress`, proposed by the cause of its noise."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lepton_cc.attribution.causes import Cause, LayerNoise
from lepton_cc.attribution.layers import QuantizedLayer
from lepton_cc.calibration.layer_schemes import LayerScheme, scheme_layers
from lepton_cc.calibration.method import Method
from lepton_cc.calibration.quantize import DEFAULT_METHOD, QuantizationOptions
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

_WITH_WIDE_ACTIVATIONS = {
    WeightScheme.W8A8: WeightScheme.W8A16,
    WeightScheme.W4A8: WeightScheme.W4A16,
}
# What most often helps comes first: it is what is advised if nothing can be tried.
_METHODS: Mapping[Cause, tuple[Method, ...]] = {
    Cause.SATURATION: (Method.MIN_MAX, Method.PERCENTILE, Method.MSE, Method.ENTROPY),
    Cause.RANGE_OUTLIER: (Method.MSE, Method.PERCENTILE, Method.ENTROPY, Method.MIN_MAX),
}
_ANY_METHOD = (Method.MSE, Method.MIN_MAX, Method.PERCENTILE, Method.ENTROPY)


@dataclass(frozen=True, slots=True)
class Cure:
    """Options of `lepton compress` that differ from how a model was quantized."""

    scheme: WeightScheme | None = None
    method: Method | None = None
    rounding: Rounding | None = None
    equalize: bool = False
    layers: tuple[LayerScheme, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words of the command line, not quoted for a shell."""
        found: list[str] = []
        if self.scheme is not None:
            found += ["--quantize", self.scheme.value]
        if self.rounding is not None:
            found += ["--method", self.rounding.value]
        if self.method is not None:
            found += ["--calibration-method", self.method.value]
        if self.equalize:
            found.append("--equalize")
        for layer in self.layers:
            found += ["--layer-scheme", f"{layer.pattern}={layer.scheme.value}"]
        return tuple(found)

    @property
    def text(self) -> str:
        """The same, to paste into a shell."""
        return shlex.join(self.arguments)

    def price(self, options: QuantizationOptions) -> int:
        """What it costs where the model runs: 0 nothing, 1 wider layers, 2 all of them wider."""
        return 2 if self.scheme not in (None, options.scheme) else int(bool(self.layers))

    def applied(self, options: QuantizationOptions) -> QuantizationOptions:
        """How the model is quantized with it."""
        return replace(
            options,
            scheme=self.scheme or options.scheme,
            method=self.method or options.method,
            rounding=self.rounding or options.rounding,
            equalize=self.equalize or options.equalize,
            layers=(*options.layers, *self.layers),
        )


def joined(cures: Iterable[Cure]) -> Cure:
    """Those of them that only give layers other bits, all at once."""
    layers = [layer for cure in cures if cure == Cure(layers=cure.layers) for layer in cure.layers]
    return Cure(layers=tuple(dict.fromkeys(layers)))


def stated(options: QuantizationOptions) -> Cure:
    """All that `lepton compress` must be told to quantize so."""
    schemes = (options.scheme, *(layer.scheme for layer in options.layers))
    # Its own default is another one where weights have 4 bits.
    is_default = not any(scheme.has_narrow_weights for scheme in schemes)
    return Cure(
        options.scheme,
        None if options.method is DEFAULT_METHOD else options.method,
        None if is_default and options.rounding is Rounding.PLAIN else options.rounding,
        options.equalize,
        options.layers,
    )


@dataclass(frozen=True, slots=True)
class Proposer:
    """Proposes cures of a model that is quantized by `options`.

    `names` of layers that may have a scheme of their own, by that of their result; `is_given`: the
    model was quantized elsewhere, so that to do it here is the first of all cures.
    """

    options: QuantizationOptions
    names: Mapping[str, str]
    is_given: bool = False

    def cures(self, layer: QuantizedLayer, noise: LayerNoise, graph: Graph) -> tuple[Cure, ...]:
        """What may help a layer of the quantized graph, the most likely first."""
        found = tuple(dict.fromkeys(self._cures(layer, noise, graph)))
        if not self.is_given:
            return found
        scheme = self.options.scheme
        wide = scheme.with_wide_weights
        here = [replace(cure, scheme=scheme) for cure in found if not cure.price(self.options)]
        return tuple(dict.fromkeys([Cure(scheme), *here, Cure(wide)]))

    def _cures(self, layer: QuantizedLayer, noise: LayerNoise, graph: Graph) -> Iterable[Cure]:
        scheme = self.options.scheme
        if noise.in_weights or noise.cause is Cause.BIAS_SHIFT:
            if scheme.has_narrow_weights:
                yield from self._of_layers(_results(layer), scheme.with_wide_weights)
                yield Cure(rounding=Rounding.GPTQ)
                return
            # The largest part cannot be had smaller, but another one can.
            yield Cure(equalize=True)
            yield from self._methods(noise.cause)
        elif layer.anchor is None:
            # The range of an input is what the samples say, whatever the method.
            if scheme in _WITH_WIDE_ACTIVATIONS:
                yield Cure(scheme=_WITH_WIDE_ACTIVATIONS[scheme])
        elif noise.cause is Cause.CANCELLATION:
            yield from self._wider(self._operands(layer.anchor, graph))
            yield from self._methods(noise.cause)
        else:
            yield from self._methods(noise.cause)
            yield from self._wider(_results(layer))
            if noise.cause is Cause.RANGE_OUTLIER:
                yield Cure(equalize=True)

    def _methods(self, cause: Cause) -> Iterable[Cure]:
        for method in _METHODS.get(cause, _ANY_METHOD):
            if method is not self.options.method:
                yield Cure(method=method)

    def _wider(self, results: Iterable[Value]) -> Iterable[Cure]:
        scheme = self.options.scheme
        if scheme in _WITH_WIDE_ACTIVATIONS:
            yield from self._of_layers(results, _WITH_WIDE_ACTIVATIONS[scheme])

    def _of_layers(self, results: Iterable[Value], scheme: WeightScheme) -> tuple[Cure, ...]:
        """One cure with all of those wider that can be named, if any."""
        names = [self.names[value.name] for value in results if value.name in self.names]
        return (Cure(layers=tuple(LayerScheme(name, scheme) for name in names)),) if names else ()

    def _operands(self, op: Op, graph: Graph) -> Iterable[Value]:
        """Results of the layers that a sum adds up: when they cancel, their steps are left."""
        producers = graph.producers()
        for value in op.inputs:
            made = producers.get(value)
            while made is not None and made.inputs and _is_passing(made):
                made = producers.get(made.inputs[0])
            if made is not None:
                yield made.results[0]


def _results(layer: QuantizedLayer) -> tuple[Value, ...]:
    return () if layer.anchor is None else layer.anchor.results[:1]


def _is_passing(op: Op) -> bool:
    return isinstance(op.kind, Quantize | Dequantize | Clamp) or Trait.MOVEMENT in op.kind.traits


def layer_names(prepared: Graph) -> Mapping[str, str]:
    """What `--layer-scheme` calls each layer, by the name of its result: its ONNX node, if one."""
    layers = scheme_layers(prepared)
    found: dict[str, str] = {}
    for layer in layers:
        result = layer.results[0].name
        for name in (*layer.location.nodes, result):
            meant = LayerScheme(name, WeightScheme.W8A8)
            if [other for other in layers if meant.fits(other)] == [layer]:
                found[result] = name
                break
    return found
