"""The stage that removes weights or channels, and says what that saves on a target."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from lepton_cc.codegen.costs import num_macs
from lepton_cc.compression.stage import StageContext, StageResult, StageTable
from lepton_cc.ir.diagnostics import Code, Diagnostic
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.target import Target
from lepton_cc.passes.prune.contraction_weights import prunable_layers
from lepton_cc.pruning.options import PrunedLayer, PruneOptions, PruneResult
from lepton_cc.pruning.prune import prune_prepared
from lepton_cc.pruning.savings import LayerSaving, savings

_HEADINGS = (
    "layer",
    "ONNX nodes",
    "weights",
    "zeros",
    "channels",
    "error",
    "stored as",
    "bytes: dense, stored",
    "time",
)


@dataclass(frozen=True, slots=True)
class PruneStage:
    """Pruning with data; it comes before factorization and rounding.

    target: what savings are stated for; None: they are not. weights: how later stages store them.
    """

    name: ClassVar[str] = "prune"
    options: PruneOptions = field(default_factory=PruneOptions)
    target: Target | None = None
    weights: DType = DType.F32

    def run(self, graph: Graph, context: StageContext) -> StageResult:
        result = prune_prepared(context.original, graph, context.data, self.options)
        found: Mapping[str, LayerSaving] = {}
        if self.target is not None:
            kept = savings(result.graph, self.target, self.weights)
            found = {saving.name: saving for saving in kept}
        return StageResult(
            result.graph,
            self._report(result, found),
            tuple(self._notes(result, found)),
            StageTable(self._title(result), _HEADINGS, _rows(result, found)),
            result.prepared if graph is context.original else None,
        )

    def _title(self, result: PruneResult) -> str:
        (weights, macs), (fewer, less) = _totals(result.prepared), _totals(result.graph)
        title = f"{self.options.title}, {result.sparsity:.0%} zeros"
        if fewer < weights:
            title += f", weights {weights} to {fewer}, MACs {macs} to {less}"
        if result.fit is not None:
            title += result.fit.words
        return title if self.target is None else f"{title}, on {self.target.name}"

    def _notes(self, result: PruneResult, found: Mapping[str, LayerSaving]) -> list[Diagnostic]:
        notes = [Diagnostic(Code.CHECK_FAILED, one.note) for one in found.values() if one.note]
        if result.note:
            notes.append(Diagnostic(Code.CHECK_FAILED, result.note))
        if result.fit is not None and result.fit.reason:
            message = f"the pruned model was not fitted as a whole: {result.fit.reason}"
            notes.append(Diagnostic(Code.CHECK_FAILED, message))
        return notes

    def _report(
        self, result: PruneResult, found: Mapping[str, LayerSaving]
    ) -> Mapping[str, object]:
        before, after = _totals(result.prepared), _totals(result.graph)
        report: dict[str, object] = {
            "pattern": self.options.title,
            "sparsity": result.sparsity,
            "num_weights": [before[0], after[0]],
            "num_macs": [before[1], after[1]],
            "layers": [_fields(layer, found.get(layer.name)) for layer in result.layers],
        }
        if self.target is not None:
            report["target"] = self.target.name
        if result.fit is not None:
            report["fit"] = result.fit.report
        return report


def _totals(graph: Graph) -> tuple[int, int]:
    """Weights of the layers, and all multiply-accumulates as dense ones."""
    layers = prunable_layers(graph)
    return sum(layer.weights.size for layer in layers), sum(map(num_macs, graph.ops))


def _fields(layer: PrunedLayer, saving: LayerSaving | None) -> Mapping[str, object]:
    fields: dict[str, object] = {
        "name": layer.name,
        "nodes": list(layer.nodes),
        "num_weights": layer.num_weights,
        "num_zeros": layer.num_zeros,
        "channels": list(layer.channels),
        "error": layer.error,
    }
    if saving is not None:
        fields["stored_as"] = saving.form
        fields["size_bytes"] = [saving.dense_bytes, saving.stored_bytes]
        fields["time_share"] = saving.time_share
    return fields


def _rows(
    result: PruneResult, found: Mapping[str, LayerSaving]
) -> tuple[tuple[str | int | float, ...], ...]:
    rows = []
    for layer in result.layers:
        before, after = layer.channels
        saving = found.get(layer.name)
        rows.append(
            (
                layer.name,
                "+".join(layer.nodes),
                layer.num_weights,
                layer.num_zeros,
                str(after) if before == after else f"{before} to {after}",
                f"{layer.error:.2%}",
                "-" if saving is None else saving.form,
                "-" if saving is None else f"{saving.dense_bytes}, {saving.stored_bytes}",
                "-" if saving is None else f"{saving.time_share:.0%}",
            )
        )
    return tuple(rows)
