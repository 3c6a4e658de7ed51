"""Models of the user's as graphs to be trained: ONNX files, and PyTorch modules through ONNX."""

import io
import warnings
from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import nn

from lepton_cc.frontend.importer import import_model
from lepton_cc.frontend.model_source import ModelSource
from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.graph import Graph
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.insert_quantization import refuse_quantized

_OPSET = 17


def trainable_graph(source: ModelSource, dims: Mapping[str, int] | None = None) -> Graph:
    """The graph of an ONNX model in the form that is trained: norms folded, layout settled.

    Raises:
        Refused: the model cannot be read, or is quantized already.
    """
    imported = import_model(source, dims=dims)
    refuse_quantized(imported)
    return PassManager(BEFORE_QUANTIZATION).run(imported)


def exported_module(module: nn.Module, example_inputs: Sequence[torch.Tensor]) -> onnx.ModelProto:
    """A PyTorch module in its evaluation mode as an ONNX model of batch 1.

    `example_inputs`: batches of which the first samples are looked at. Inputs are called `input`
    (`input0`, ... if they are several), outputs likewise.

    Raises:
        Refused: PyTorch has no ONNX form for what the module does.
    """
    samples = tuple(one[:1] for one in example_inputs)
    was_training = module.training
    module.eval()
    with torch.no_grad():
        result = module(*samples)
    num_outputs = len(result) if isinstance(result, tuple | list) else 1
    content = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # It says that it is the exporter without further dependencies, which is why it is here.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                samples,
                content,
                input_names=_names("input", len(samples)),
                output_names=_names("output", num_outputs),
                opset_version=_OPSET,
                dynamo=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise refuse(
            Code.UNSUPPORTED_OPERATOR,
            f"PyTorch cannot write the module as ONNX: {error}",
            hint="export it yourself and give the ONNX file",
        ) from error
    finally:
        module.train(was_training)
    return onnx.load_model_from_string(content.getvalue())


def _names(stem: str, count: int) -> list[str]:
    return [stem] if count == 1 else [f"{stem}{number}" for number in range(count)]
