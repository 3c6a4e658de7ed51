"""ONNX Runtime as the reference for a model's outputs, in each of its modes."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence

from lepton_cc.frontend.model_source import ModelSource, loadable
from lepton_cc.frontend.quantized_form import Form, QuantizedForm
from lepton_cc.ir.diagnostics import Code, ToolchainError, refuse
from lepton_cc.ir.tensor import Array
from lepton_cc.verify.difference import Difference, difference, merged

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Mode(enum.Enum):
    """A way in which ONNX Runtime runs a model; quantized models differ from one to the next."""

    PLAIN = "unoptimized"
    OPERATORS = "QLinear operators"
    QDQ_FUSED = "QDQ fused"
    QDQ_DEFAULT = "QDQ default"
    QDQ_UNFUSED = "QDQ unfused"

    @property
    def description(self) -> str:
        """The setting behind the name."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Mode.PLAIN: "graph optimization disabled",
    Mode.OPERATORS: "the model's own quantized operators, graph optimization disabled",
    Mode.QDQ_FUSED: "session.qdqisint8allowed=1",
    Mode.QDQ_DEFAULT: "as ONNX Runtime comes",
    Mode.QDQ_UNFUSED: "graph optimization disabled",
}
_OPTIMIZED = frozenset({Mode.QDQ_FUSED, Mode.QDQ_DEFAULT})


def modes_of(form: QuantizedForm) -> tuple[Mode, ...]:
    """The modes in which a model can be run that differ from each other."""
    modes = []
    if Form.OPERATORS in form.forms:
        modes.append(Mode.OPERATORS)
    if Form.QDQ in form.forms:
        modes += [Mode.QDQ_FUSED, Mode.QDQ_DEFAULT, Mode.QDQ_UNFUSED]
    return tuple(modes) or (Mode.PLAIN,)


def onnxruntime_run(model: ModelSource | bytes, mode: Mode = Mode.PLAIN) -> Run:
    """The model as ONNX Runtime runs it on one thread, unoptimized unless the mode says more.

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
    if mode is Mode.QDQ_FUSED:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    if mode not in _OPTIMIZED:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, bytes) else loadable(model)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
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
