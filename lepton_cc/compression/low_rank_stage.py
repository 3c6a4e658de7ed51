"""The stage that replaces layers by thinner ones: singular values of outputs, ranks by a budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from lepton_cc.compression.stage import StageContext, StageResult, StageTable
from lepton_cc.ir.diagnostics import Code, Diagnostic
from lepton_cc.ir.graph import Graph
from lepton_cc.low_rank.factorize import factorize_prepared
from lepton_cc.low_rank.options import LowRankLayer, LowRankOptions, LowRankResult

_HEADINGS = ("layer", "ONNX nodes", "form", "rank", "MACs", "bytes", "error", "note")
# The last layers' steps are coarse: a budget that is missed by less is met.
_NEARLY = 0.98


@dataclass(frozen=True, slots=True)
class LowRankStage:
    """Low-rank factorization; it comes after pruning of channels and before rounding."""

    name: ClassVar[str] = "low-rank"
    options: LowRankOptions = field(default_factory=LowRankOptions)

    def run(self, graph: Graph, context: StageContext) -> StageResult:
        result = factorize_prepared(graph, context.original, context.data, self.options)
        return StageResult(
            result.graph,
            _report(self.options, result),
            _notes(self.options, result),
            _table(result),
        )


def _saved(options: LowRankOptions, result: LowRankResult) -> float:
    return 1 - options.budget.of(result.after) / options.budget.of(result.before)


def _notes(options: LowRankOptions, result: LowRankResult) -> tuple[Diagnostic, ...]:
    found = []
    saved = _saved(options, result)
    if saved < _NEARLY * options.share:
        message = (
            f"low rank saves {saved:.0%} of the {options.budget.value}, not {options.share:.0%}: "
            f"no other layer pays with an error below {options.max_error:g}"
        )
        found.append(Diagnostic(Code.CHECK_FAILED, message, hint="allow more error, or prune"))
    if result.fit is not None and result.fit.reason:
        message = f"the factorized model was not fitted as a whole: {result.fit.reason}"
        found.append(Diagnostic(Code.CHECK_FAILED, message))
    return tuple(found)


def _report(options: LowRankOptions, result: LowRankResult) -> Mapping[str, object]:
    report: dict[str, object] = {
        "share": options.share,
        "budget": options.budget.value,
        "max_error": options.max_error,
        "num_macs": [result.before.num_macs, result.after.num_macs],
        "size_bytes": [result.before.size_bytes, result.after.size_bytes],
        "layers": [_layer_fields(layer) for layer in result.layers],
    }
    if result.fit is not None:
        report["fit"] = result.fit.report
    return report


def _layer_fields(layer: LowRankLayer) -> Mapping[str, object]:
    fields: dict[str, object] = {
        "name": layer.name,
        "nodes": list(layer.nodes),
        "num_macs": [layer.before.num_macs, layer.after.num_macs],
        "size_bytes": [layer.before.size_bytes, layer.after.size_bytes],
    }
    if layer.plan is not None:
        fields["form"] = layer.plan.form.value
        fields["ranks"] = list(layer.plan.ranks)
    if layer.error is not None:
        fields["error"] = layer.error
    if layer.reason:
        fields["reason"] = layer.reason
    return fields


def _table(result: LowRankResult) -> StageTable:
    rows = tuple(_row(layer) for layer in result.layers)
    before, after = result.before, result.after
    title = (
        f"low rank: MACs {before.num_macs} to {after.num_macs}, "
        f"bytes of weights {before.size_bytes} to {after.size_bytes}"
    )
    if result.fit is not None:
        title += result.fit.words
    return StageTable(title, _HEADINGS, rows)


def _row(layer: LowRankLayer) -> tuple[str, ...]:
    plan = layer.plan
    return (
        layer.name,
        "+".join(layer.nodes),
        "-" if plan is None else plan.form.value,
        "-" if plan is None else "x".join(map(str, plan.ranks)),
        _change(layer.before.num_macs, layer.after.num_macs),
        _change(layer.before.size_bytes, layer.after.size_bytes),
        "-" if layer.error is None else f"{layer.error:.2%}",
        layer.reason,
    )


def _change(before: int, after: int) -> str:
    return str(before) if before == after else f"{before} to {after}"
