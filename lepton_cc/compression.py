"""`lepton compress`: a float model and samples in; an IR file, an ONNX file and a report out.

Nothing is trained. What comes out is written whatever it is worth; the report says what was done to
each layer, so that a model can be judged (`lepton eval`) and made again otherwise.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lepton_cc.calibration.quantize import QuantizationOptions, QuantizedModel, quantize
from lepton_cc.calibration.rounded_layers import LayerRecord
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.frontend.model_source import ModelSource, model_sha256
from lepton_cc.ir.diagnostics import Diagnostic, Refused
from lepton_cc.ir.lir_file import write_atomically, write_lir
from lepton_cc.passes.manager import Observer
from lepton_cc.passes.quantize.equalize_channels import EqualizeChannels
from lepton_cc.version import __version__

REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressed model; `model`, the ONNX file, is None if ONNX has no form: see `problems`."""

    options: QuantizationOptions
    model_sha256: str
    quantized: QuantizedModel
    model: bytes | None
    problems: tuple[Diagnostic, ...]

    def report(self) -> Mapping[str, object]:
        """What was done, as JSON has it."""
        record = self.quantized.record
        equalized = [r for r in self.quantized.passes if r.name == EqualizeChannels.NAME]
        return {
            "lepton_cc": __version__,
            "model_sha256": self.model_sha256,
            "data_sha256": record.data_sha256,
            "num_samples": record.num_samples,
            "scheme": record.scheme.value,
            "method": self.options.rounding.value,
            "calibration_method": record.method.value,
            "bias_correction": self.options.corrects_bias,
            "equalized_pairs": sum(count for r in equalized for _, count in r.rewrites),
            "num_activations": record.num_activations,
            "num_weights": record.num_weights,
            "output_scales": dict(record.output_scales),
            "problems": [str(problem) for problem in self.problems],
            "layers": [_layer_fields(one) for one in self.quantized.rounding.records],
        }

    def save(self, folder: Path, name: str) -> tuple[Path, ...]:
        """Writes NAME.lir with its constants, NAME.onnx, and the report last; gives their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        graph_path, model_path = folder / f"{name}.lir", folder / f"{name}.onnx"
        report_path = folder / REPORT
        write_lir(self.quantized.graph, graph_path)
        written = [graph_path]
        if self.model is None:
            model_path.unlink(missing_ok=True)
        else:
            write_atomically(self.model, model_path)
            written.append(model_path)
        text = json.dumps(self.report(), indent=2, ensure_ascii=False)
        write_atomically(f"{text}\n".encode(), report_path)
        return (*written, report_path)


def decibels(error: float) -> float | None:
    """A share of squared error as a signal to noise ratio in dB; None for no error at all."""
    return -10 * math.log10(error) if error > 0 else None


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
    if record.reason:
        fields["reason"] = record.reason
    return fields


def compress(
    source: ModelSource,
    options: QuantizationOptions,
    *,
    dims: Mapping[str, int] | None = None,
    observers: tuple[Observer, ...] = (),
) -> Compression:
    """Quantizes a float model with the data of `options` and writes it as ONNX.

    Raises:
        Refused: the model cannot be read or is quantized already, or the data do not fit.
    """
    imported = import_model(source, dims=dict(dims or {}))
    quantized = quantize(imported, replace(options, optional=False), observers)
    assert quantized is not None  # only of optional quantization nothing may come
    digest = model_sha256(source)
    try:
        content = onnx_model(quantized.graph).SerializeToString(deterministic=True)
    except Refused as refusal:
        return Compression(options, digest, quantized, None, tuple(refusal.diagnostics))
    return Compression(options, digest, quantized, content, ())
