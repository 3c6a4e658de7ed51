"""`prune`: a float graph, samples and options in; a graph with zeros, or fewer channels, out.

Layers are pruned in order. Each is solved for on what the layers before it became, so that it makes
up for their errors too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lepton_cc.calibration.data import CalibrationData, CalibrationSource, calibration_data
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prune.allocate import Sensitivity, allocate
from lepton_cc.passes.prune.contraction_weights import (
    PrunableLayer,
    prunable_layers,
    with_constants,
)
from lepton_cc.passes.prune.layer_moments import LayerMoments
from lepton_cc.passes.prune.pattern import Pattern, PatternKind
from lepton_cc.passes.prune.second_order import relative_error
from lepton_cc.passes.quantize.insert_quantization import refuse_quantized
from lepton_cc.pruning.options import PrunedLayer, PruneOptions, PruneResult
from lepton_cc.pruning.order_for_pattern import ordered_for_pattern
from lepton_cc.pruning.prune_channels import prune_channels, prune_heads
from lepton_cc.pruning.sensitivity import measured_sensitivities, solved_matrices
from lepton_cc.reconstruction.outputs import fit_outputs
from lepton_cc.reconstruction.thinned import thinned

# Matrices with fewer rows lose more than their few bytes are worth: depthwise windows.
_FEWEST_ROWS = 16
# Samples of which second moments are taken; the fit of the whole model sees all of them.
_NUM_SAMPLES = 512


def prune(imported: Graph, calibration: CalibrationSource, options: PruneOptions) -> PruneResult:
    """Prunes a float graph with samples of its inputs: an `.npz`, or arrays by input name.

    Raises:
        UsageError: an option makes no sense.
        Refused: the model is quantized, nothing in it can be pruned so, or the data do not fit.
    """
    refuse_quantized(imported)
    prepared = PassManager(BEFORE_QUANTIZATION).run(imported)
    return prune_prepared(prepared, prepared, calibration_data(prepared, calibration), options)


def prune_prepared(
    original: Graph, prepared: Graph, data: CalibrationData, options: PruneOptions
) -> PruneResult:
    """Prunes a float graph whose batch normalizations are folded.

    original: what its outputs are fitted to, if that is asked for: itself, or what it was before
    another stage made it smaller.

    Raises:
        UsageError: an option makes no sense.
        Refused: nothing in the graph can be pruned so.
    """
    if not 0 < options.sparsity < 1:
        raise UsageError(f"sparsity={options.sparsity} is not between 0 and 1")
    some = thinned(data, _NUM_SAMPLES)
    if options.channels:
        result = prune_channels(prepared, some, options.sparsity, options.keep, arena=options.arena)
    elif options.heads:
        result = prune_heads(prepared, some, options.sparsity, options.keep)
    else:
        result = _with_zeros(prepared, some, options, reorder=original is prepared)
    if options.fit is None:
        return result
    fit = fit_outputs(original, result.graph, data, options.fit, result.kept)
    return replace(result, graph=fit.graph, fit=fit)


def _with_zeros(
    prepared: Graph, data: CalibrationData, options: PruneOptions, *, reorder: bool
) -> PruneResult:
    """reorder: whether channels may change places; an original that is another one knows nothing of
    it.
    """
    layers = [layer for layer in prunable_layers(prepared) if _is_wanted(layer, options)]
    if not layers:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            f"no layer of the model has weights that {options.pattern.name} zeros fit",
            hint="prune it unstructured, or not at all",
        )
    kept: Mapping[str, Array] = {}
    if reorder and options.pattern.kind is PatternKind.N_OF_M:
        prepared, kept = ordered_for_pattern(prepared, layers, data, options.pattern, options.keep)
        layers = [layer for layer in prunable_layers(prepared) if _is_wanted(layer, options)]
    sensitivities: tuple[Sensitivity, ...] = ()
    shares: Mapping[str, float] = {layer.name: options.pattern.share or 0.0 for layer in layers}
    if options.pattern.share is None:
        sensitivities = measured_sensitivities(prepared, layers, data, options.pattern)
        shares = allocate(sensitivities, options.sparsity)
    every = [layer for layer in prunable_layers(prepared) if layer.name not in options.keep]
    graph, changed = _pruned(prepared, every, data, options.pattern, shares)
    return PruneResult(prepared, graph, changed, sensitivities, kept)


def _is_wanted(layer: PrunableLayer, options: PruneOptions) -> bool:
    _, rows, columns = layer.matrices.shape
    fits = options.pattern.fits(layer.channels, columns)
    return fits and rows >= _FEWEST_ROWS and layer.name not in options.keep


def _pruned(
    prepared: Graph,
    layers: Sequence[PrunableLayer],
    data: CalibrationData,
    pattern: Pattern,
    shares: Mapping[str, float],
) -> tuple[Graph, tuple[PrunedLayer, ...]]:
    """Prunes the layers that have a share; those after them make up for it with all weights."""
    graph = prepared
    changed: list[PrunedLayer] = []
    original = inner_run(prepared, [layer.op.inputs[0] for layer in layers])
    for layer in layers:
        share = shares.get(layer.name, 0.0)
        if share == 0 and graph is prepared:
            changed.append(_figures(layer, layer.weights, 0.0))
            continue
        moments = LayerMoments(layer)
        source = layer.op.inputs[0]
        run = inner_run(graph, [source])
        for sample in data.samples():
            moments.observe(run(sample)[source.name], original(sample)[source.name])
        target, hessian = moments.best_dense(), moments.hessian
        solved = solved_matrices(layer, target, hessian, pattern, share)
        arrays = layer.from_matrices(solved)
        graph = with_constants(graph, arrays)
        error = relative_error(target, solved, hessian, has_bias=layer.bias is not None)
        changed.append(_figures(layer, arrays[layer.op.inputs[1]], error))
    return graph, tuple(changed)


def _figures(layer: PrunableLayer, weights: Array, error: float) -> PrunedLayer:
    zeros = int(weights.size - np.count_nonzero(weights))
    channels = int(weights.shape[-1])
    nodes = layer.op.location.nodes
    return PrunedLayer(layer.name, nodes, weights.size, zeros, error, (channels, channels))
