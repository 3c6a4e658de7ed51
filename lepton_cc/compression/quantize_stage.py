"""The stage that makes integers of a float graph: scales from samples, weights rounded by layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from lepton_cc.calibration.quantize import (
    QuantizationOptions,
    QuantizedModel,
    quantize_prepared,
)
from lepton_cc.calibration.rounded_layers import LayerRecord
from lepton_cc.compression.stage import StageContext, StageResult, StageTable
from lepton_cc.ir.graph import Graph
from lepton_cc.passes.quantize.equalize_channels import EqualizeChannels
from lepton_cc.passes.quantize.migrate_scales import MigrateScales

_HEADINGS = ("layer", "ONNX nodes", "weights", "bits", "dB to nearest", "dB", "outputs' dB", "note")


@dataclass(frozen=True, slots=True)
class QuantizeStage:
    """Post-training quantization; the data are those of the context, not of the options."""

    name: ClassVar[str] = "quantize"
    options: QuantizationOptions = field(default_factory=QuantizationOptions)

    def run(self, graph: Graph, context: StageContext) -> StageResult:
        options = replace(self.options, source=None, optional=False)
        quantized = quantize_prepared(graph, context.data, options, context.observers)
        assert quantized is not None  # only of optional quantization nothing may come
        return StageResult(
            quantized.graph, _report(options, quantized), table=_table(options, quantized)
        )


def decibels(error: float) -> float | None:
    """A share of squared error as a signal to noise ratio in dB; None for no error at all."""
    return -10 * math.log10(error) if error > 0 else None


def _report(options: QuantizationOptions, quantized: QuantizedModel) -> Mapping[str, object]:
    record = quantized.record
    counts = {
        name: sum(count for r in quantized.passes if r.name == name for _, count in r.rewrites)
        for name in (EqualizeChannels.NAME, MigrateScales.NAME)
    }
    return {
        "scheme": record.scheme.value,
        "method": options.rounding.value,
        "block": options.block,
        "calibration_method": record.method.value,
        "damping": quantized.rounding.damping,
        "bias_correction": options.corrects_bias,
        "equalized_pairs": counts[EqualizeChannels.NAME],
        "smoothed_values": counts[MigrateScales.NAME],
        "num_activations": record.num_activations,
        "num_weights": record.num_weights,
        "output_scales": dict(record.output_scales),
        "layers": [_layer_fields(one) for one in quantized.rounding.records],
    }


def _layer_fields(record: LayerRecord) -> Mapping[str, object]:
    fields: dict[str, object] = {
        "name": record.name,
        "nodes": list(record.nodes),
        "num_weights": record.num_weights,
        "bits": record.bits,
    }
    if record.error is not None:
        fields["error_to_nearest"] = record.error.to_nearest
        fields["error"] = record.error.solved
    if record.sensitivity is not None:
        fields["output_error_at_4_bits"] = record.sensitivity
    if record.reason:
        fields["reason"] = record.reason
    return fields


def _table(options: QuantizationOptions, quantized: QuantizedModel) -> StageTable:
    rows = tuple(
        (
            one.name,
            "+".join(one.nodes),
            one.num_weights,
            one.bits,
            _shown(one.error.to_nearest if one.error else None),
            _shown(one.error.solved if one.error else None),
            _shown(one.sensitivity),
            one.reason,
        )
        for one in quantized.rounding.records
    )
    return StageTable(f"{options.scheme.value} by {options.rounding.value}", _HEADINGS, rows)


def _shown(error: float | None) -> str:
    ratio = None if error is None else decibels(error)
    return "-" if ratio is None else f"{ratio:.1f}"
