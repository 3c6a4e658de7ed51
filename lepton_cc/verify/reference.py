"""ONNX Runtime as the reference for a model's outputs; the only file that imports it."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from lepton_cc.frontend.model_source import ModelSource, loadable
from lepton_cc.ir.diagnostics import Code, ToolchainError, refuse
from lepton_cc.ir.tensor import Array
from lepton_cc.verify.difference import Difference, difference, merged

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def onnxruntime_run(model: ModelSource) -> Run:
    """The model as ONNX Runtime runs it, unoptimized, on one thread.

    Raises:
        ToolchainError: ONNX Runtime is not installed.
        Refused: it does not load the model.
    """
    try:
        import onnxruntime  # noqa: PLC0415  # an optional library
    except ImportError as error:
        raise ToolchainError(
            f"onnxruntime is not installed: {error}", "pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            loadable(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base of their own
        raise refuse(Code.TOOL_FAILED, f"ONNX Runtime does not load the model: {error}") from error
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            raise refuse(Code.TOOL_FAILED, f"ONNX Runtime failed: {error}") from error

    return run


def output_differences(
    run: Run, reference: Run, samples: Iterable[Mapping[str, Array]], names: Sequence[str]
) -> tuple[Difference, ...]:
    """Each output of `run` against the reference, over all samples."""
    found: dict[str, Difference] = {}
    for inputs in samples:
        got, expected = run(inputs), reference(inputs)
        for name in names:
            one = difference(name, got[name], expected[name])
            found[name] = merged(found[name], one) if name in found else one
    return tuple(found[name] for name in names)
