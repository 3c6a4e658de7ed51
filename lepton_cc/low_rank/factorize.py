"""`factorize`: a float graph, samples and a budget in; a graph with thinner layers out.

First every layer is measured as it is and the budget divided; then layers are split in order of
depth, each fitted to the original's outputs on what the layers before it became.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.calibration.data import CalibrationData, CalibrationSource, calibration_data
from lepton_cc.calibration.float_run import InnerRun, inner_run
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.low_rank.options import LowRankLayer, LowRankOptions, LowRankResult
from lepton_cc.passes.low_rank.allocate import Choices, allocate
from lepton_cc.passes.low_rank.candidates import Candidate, candidates, has_paying_plan
from lepton_cc.passes.low_rank.fit import FactorFit, judged_fit
from lepton_cc.passes.low_rank.form import Cost, Plan, composed, cost, possible_forms
from lepton_cc.passes.low_rank.sensitivity import sensitivities
from lepton_cc.passes.low_rank.split import split
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prune.contraction_weights import constant_arrays, with_constants
from lepton_cc.passes.quantize.insert_quantization import refuse_quantized
from lepton_cc.passes.quantize.layer_moments import has_rows
from lepton_cc.passes.reconstruct.depth import by_depth
from lepton_cc.passes.reconstruct.least_squares import fit_layer
from lepton_cc.passes.reconstruct.output_moments import (
    FitMoments,
    OutputMoments,
    from_matrices,
    matrices,
    num_moments,
)
from lepton_cc.reconstruction.layers import MAX_MOMENTS
from lepton_cc.reconstruction.outputs import fit_outputs
from lepton_cc.reconstruction.thinned import thinned

# Sweeps over the factors of a plan that was chosen.
_SWEEPS = 4
# Samples of which second moments are taken; a fit of the whole model sees all of them.
_NUM_SAMPLES = 2048
# What an error of a layer does to the outputs is tried out with about this error, on so many
# samples at most.
_TRIED_ERROR, _NUM_TRIED = 0.05, 24


def factorize(
    imported: Graph, calibration: CalibrationSource, options: LowRankOptions
) -> LowRankResult:
    """Factorizes a float graph with samples of its inputs: an `.npz`, or arrays by input name.

    Raises:
        UsageError: an option makes no sense.
        Refused: the model is quantized, has no layer that could be split, or the data do not fit.
    """
    refuse_quantized(imported)
    prepared = PassManager(BEFORE_QUANTIZATION).run(imported)
    return factorize_prepared(prepared, prepared, calibration_data(prepared, calibration), options)


def factorize_prepared(
    graph: Graph, original: Graph, data: CalibrationData, options: LowRankOptions
) -> LowRankResult:
    """Like `factorize`, of a prepared graph that is to give what `original` gives.

    Both are one, or a layer of `graph` whose value `original` has in another shape, or not at all,
    is fitted to what it gives itself.

    Raises:
        UsageError: an option makes no sense.
        Refused: no layer could be split.
    """
    if not 0 < options.share < 1 or not 0 < options.max_error <= 1:
        raise UsageError(
            f"low rank: share={options.share} and max_error={options.max_error} must be between "
            "0 and 1"
        )
    layers = _layers(graph, options.keep)
    if all(layer.reason for layer in layers):
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "no layer of the model can be factorized: " + "; ".join(_reasons(layers)),
            hint="prune or quantize it instead",
        )
    some = thinned(data, _NUM_SAMPLES)
    choices = _choices(graph, [one for one in layers if not one.reason], some, options)
    whole = sum((one.cost for one in layers), Cost(0, 0))
    wanted = round(options.share * options.budget.of(whole))
    chosen = allocate(choices, wanted, options.budget)
    known = {one.name: one for one in choices}
    result = _Factorization(graph, original, some, options, layers, known, chosen).run()
    if options.fit is None:
        return result
    fit = fit_outputs(original, result.graph, data, options.fit)
    return replace(result, graph=fit.graph, fit=fit)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A contraction; `reason` says why it cannot be split."""

    op: Op
    reason: str

    @property
    def name(self) -> str:
        return self.op.result.name

    @property
    def cost(self) -> Cost:
        return cost(self.op, None)


def _layers(graph: Graph, keep: tuple[str, ...]) -> list[_Layer]:
    """All convolutions, and products with a constant."""
    arrays = constant_arrays(graph)
    found = []
    for op in graph.ops:
        if isinstance(op.kind, Conv | MatMul) and op.inputs[1] in arrays:
            reads = [arrays.get(value) for value in op.inputs[1:]]
            found.append(_Layer(op, _reason(op, reads, keep)))
    return found


def _reason(op: Op, constants: Sequence[Array | None], keep: tuple[str, ...]) -> str:
    """Why a layer cannot be split; empty if it can."""
    if op.result.name in keep:
        return "it is to be kept"
    if not possible_forms(op):
        return "a depthwise window has no channels to share"
    if any(one is None or one.dtype != np.float32 for one in constants):
        return "its weights or its bias are not f32 constants"
    if not has_rows(op):
        return "its weights are a batch of matrices"
    if not all(one is not None and np.all(np.isfinite(one)) for one in constants):
        return "its weights are not finite"
    if num_moments(op) > MAX_MOMENTS:
        return "its second moments would take too much memory"
    if not has_paying_plan(op):
        return "too small: factors of any rank cost as much"
    return ""


def _reasons(layers: Sequence[_Layer]) -> list[str]:
    return sorted({layer.reason for layer in layers})


def _choices(
    graph: Graph, layers: Sequence[_Layer], data: CalibrationData, options: LowRankOptions
) -> list[Choices]:
    """What each layer alone could become, the others being whole, and what its error counts."""
    arrays = constant_arrays(graph)
    found: dict[str, tuple[Candidate, ...]] = {}
    tried: dict[str, Candidate] = {}
    trials: dict[str, Mapping[Value, Array]] = {}
    # Depth does not matter yet: as few runs of the samples as memory allows.
    for stage in by_depth(graph, [layer.op for layer in layers], max_stages=1):
        run = inner_run(graph, [value for op in stage for value in (op.inputs[0], op.result)])
        for op, halves in _observed(stage, run, run, data).items():
            name = op.result.name
            fit = judged_fit(op, matrices(op, arrays[op.inputs[1]]), halves)
            found[name] = candidates(op, fit, options.max_error)
            plans = [one for one in found[name] if one.plan is not None and one.error > 0]
            if plans:
                tried[name] = min(plans, key=lambda one: abs(one.error - _TRIED_ERROR))
                trials[name] = _trial(op, fit, tried[name])
    every = -(-data.num_samples // _NUM_TRIED)
    few = [sample for number, sample in enumerate(data.samples()) if number % every == 0]
    missed = sensitivities(graph, trials, few)
    # Measured: in full, small errors' effects mislead about large ones; without, about shares.
    weights = {name: math.sqrt(missed[name] / tried[name].error) for name in tried}
    return [Choices(name, known, weights.get(name, 1.0)) for name, known in found.items()]


def _trial(op: Op, fit: FactorFit, candidate: Candidate) -> dict[Value, Array]:
    """A layer's constants, full in size, as a candidate would have them."""
    assert candidate.plan is not None
    full = composed(op, candidate.plan, fit.factors(candidate.plan, 1))
    arrays = {op.inputs[1]: from_matrices(op, full)}
    if len(op.inputs) > 2:
        arrays[op.inputs[2]] = fit.moments.best_bias(full).astype(np.float32)
    return arrays


def _wanted(original: Graph, given: Graph, names: Sequence[str]) -> InnerRun:
    """What layers should give: the original's values, or those of the graph that was given."""
    known = {value.name: value for op in original.ops for value in op.results}
    own = {value.name: value for op in given.ops for value in op.results}
    alike = [name for name in names if name in known and known[name].type == own[name].type]
    others = [name for name in names if name not in alike]
    first = inner_run(original, [known[name] for name in alike])
    second = inner_run(given, [own[name] for name in others])
    return lambda sample: {**first(sample), **second(sample)}


def _observed(
    ops: Sequence[Op], given: InnerRun, wanted: InnerRun, data: CalibrationData
) -> Mapping[Op, tuple[FitMoments, FitMoments]]:
    """Moments, in two halves, of what ops read and should give, in one run of the samples."""
    sums = {op: OutputMoments(op, data.num_samples) for op in ops}
    for sample in data.samples():
        values, goals = given(sample), wanted(sample)
        for op, one in sums.items():
            one.observe(values[op.inputs[0].name], goals[op.result.name])
    return {op: one.halves() for op, one in sums.items()}


class _Factorization:
    """The state of one walk through the layers, by depth."""

    def __init__(
        self,
        graph: Graph,
        original: Graph,
        data: CalibrationData,
        options: LowRankOptions,
        layers: Sequence[_Layer],
        choices: Mapping[str, Choices],
        chosen: Mapping[str, Candidate],
    ) -> None:
        self._prepared, self._graph = graph, graph
        self._wanted = _wanted(original, graph, [layer.name for layer in layers])
        self._data, self._options, self._layers = data, options, layers
        self._choices, self._chosen = choices, chosen
        self._errors: dict[str, float] = {}

    def run(self) -> LowRankResult:
        """Splits what was chosen, and fits what follows to it."""
        for stage in by_depth(self._prepared, [layer.op for layer in self._layers]):
            names = [op.result.name for op in stage if self._is_touched(op)]
            producers = {v.name: op for op in self._graph.ops for v in op.results}
            ops = [producers[name] for name in names]
            if not ops:
                continue
            run = inner_run(self._graph, [op.inputs[0] for op in ops])
            for op, halves in _observed(ops, run, self._wanted, self._data).items():
                self._solve(op, halves)
        records = tuple(self._record(layer) for layer in self._layers)
        return LowRankResult(self._prepared, self._graph, records)

    def _is_touched(self, op: Op) -> bool:
        """Whether a layer is to be split, or to make up for one that was."""
        if self._plan(op.result.name) is not None:
            return True
        uses = self._prepared.uses()
        is_own = all(len(uses[value]) == 1 for value in op.inputs[1:])
        is_small = has_rows(op) and num_moments(op) <= MAX_MOMENTS
        has_changed = self._graph is not self._prepared
        is_kept = op.result.name in self._options.keep
        return self._options.refit and has_changed and is_own and is_small and not is_kept

    def _plan(self, name: str) -> Plan | None:
        candidate = self._chosen.get(name)
        return None if candidate is None else candidate.plan

    def _solve(self, op: Op, halves: tuple[FitMoments, FitMoments]) -> None:
        arrays = constant_arrays(self._graph)
        weights = matrices(op, arrays[op.inputs[1]])
        plan = self._plan(op.result.name)
        if plan is None:
            bias = arrays[op.inputs[2]] if len(op.inputs) > 2 else None
            solved = fit_layer(weights, bias, halves)
            changed = {op.inputs[1]: from_matrices(op, solved.weights)}
            if solved.bias is not None:
                changed[op.inputs[2]] = solved.bias.astype(np.float32)
            self._graph = with_constants(self._graph, changed)
            self._errors[op.result.name] = solved.error
            return
        fit = judged_fit(op, weights, halves)
        made = fit.factors(plan, _SWEEPS)
        full = composed(op, plan, made)
        self._graph = split(self._graph, op, plan, made, fit.moments.best_bias(full))
        self._errors[op.result.name] = fit.moments.relative_error(full)

    def _record(self, layer: _Layer) -> LowRankLayer:
        plan = self._plan(layer.name)
        reason = layer.reason
        if plan is None and not reason:
            reason = f"no rank that pays keeps its error below {self._options.max_error:g}"
            if len(self._choices[layer.name].candidates) > 1:
                reason = "others save as much for less error"
        return LowRankLayer(
            layer.name,
            layer.op.location.nodes,
            plan,
            layer.cost,
            cost(layer.op, plan),
            self._errors.get(layer.name),
            reason,
        )
