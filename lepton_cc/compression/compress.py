"""`lepton compress`: a float model and samples in; an IR file, an ONNX file and a report out.

Nothing is trained. What comes out is written whatever it is worth; the report says what was done to
each layer, so that a model can be judged (`lepton eval`) and made again otherwise.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from lepton_cc.calibration.data import CalibrationSource, calibration_data, watched
from lepton_cc.calibration.quantize import continued
from lepton_cc.compression.result import CompletedStage, Compression
from lepton_cc.compression.stage import Stage, StageContext
from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.frontend.model_source import ModelSource, model_sha256
from lepton_cc.ir.diagnostics import Diagnostic, Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import Observer, PassManager
from lepton_cc.passes.quantize.insert_quantization import refuse_quantized


def compress(
    source: ModelSource,
    data: CalibrationSource,
    stages: Sequence[Stage],
    *,
    dims: Mapping[str, int] | None = None,
    observers: tuple[Observer, ...] = (),
    progress: Callable[[str], None] = lambda words: None,
) -> Compression:
    """Runs the stages on a float model and writes what they leave as ONNX.

    Without stages the float model itself is written, its batch normalizations folded.

    Raises:
        Refused: the model cannot be read or is quantized already, the data do not fit, or a stage
            finds nothing to do.
    """
    imported = import_model(source, dims=dict(dims or {}))
    refuse_quantized(imported)
    samples = calibration_data(imported, data)
    original = PassManager(BEFORE_QUANTIZATION, observers).run(imported)
    context = StageContext(original, samples, continued(observers))
    graph = original
    completed: list[CompletedStage] = []
    for stage in stages:
        progress(stage.name)
        start = time.perf_counter()
        seen = watched(samples, partial(_tell, progress, stage.name))
        result = stage.run(graph, replace(context, data=seen))
        completed.append(CompletedStage(stage.name, result, time.perf_counter() - start))
        graph = result.graph
        if result.original is not None:
            context = replace(context, original=result.original)
    content, problems = _exported(graph)
    return Compression(
        original,
        graph,
        model_sha256(source),
        samples.sha256,
        samples.num_samples,
        tuple(completed),
        content,
        problems,
    )


def _tell(progress: Callable[[str], None], stage: str, words: str) -> None:
    progress(f"{stage}: {words}")


def _exported(graph: Graph) -> tuple[bytes | None, tuple[Diagnostic, ...]]:
    try:
        return onnx_model(graph).SerializeToString(deterministic=True), ()
    except Refused as refusal:
        return None, tuple(refusal.diagnostics)
