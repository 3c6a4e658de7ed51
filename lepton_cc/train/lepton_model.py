"""`LeptonModel`: a model as a PyTorch module that can be compressed while it is trained.

model = LeptonModel("model.onnx")            # or LeptonModel(module, (example,))
optimizer = LeptonOptimizer(model.parameters(), torch.optim.Adam(model.parameters(), lr=1e-3))
optimizer.set_quantization(weight_bits=4, activation_bits=8)
optimizer.set_compression(ratio=0.8, steps=1000)
for x, y in batches:
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
model.export("compressed.onnx")
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from lepton_cc.export.onnx_model import onnx_model
from lepton_cc.frontend.model_source import AnyModel, ModelSource, model_source
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.lir_file import write_atomically
from lepton_cc.train.graph_module import GraphModule, ModelParameters
from lepton_cc.train.torch_import import exported_module, trainable_graph


class LeptonModel(nn.Module):
    """Wraps an ONNX model, or a PyTorch module with examples of its inputs.

    Batch normalizations are folded: the wrapped model is trained on from where it stands. Of a
    module the weights are copied; it stays as it is.

    Raises:
        Refused: the model cannot be read, is quantized already, or has ops that are not trained;
            with all of them.
        UsageError: a module without example inputs, or a file with some.
    """

    def __init__(
        self,
        model: AnyModel | nn.Module,
        example_inputs: Sequence[torch.Tensor] | None = None,
        *,
        dims: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model, nn.Module):
            if example_inputs is None:
                raise UsageError("a PyTorch module needs example_inputs, a tuple of tensors")
            source: ModelSource = exported_module(model, example_inputs)
        else:
            if example_inputs is not None:
                raise UsageError("example_inputs are for PyTorch modules")
            source = model_source(model)
        self.computation = GraphModule(trainable_graph(source, dims))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The outputs, [n, *rest], of inputs [n, *rest]: a tensor, or a tuple if they are many."""
        outputs = self.computation(*inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def parameters(self, recurse: bool = True) -> ModelParameters:
        """The weights and biases; what `LeptonOptimizer` takes."""
        return ModelParameters(self.computation, super().parameters(recurse))

    @property
    def sparsity(self) -> float:
        """The share of zeros in the weights that can be pruned."""
        weights = self.computation.prunable_weights()
        total = sum(one.numel() for one in weights)
        return sum(int((one == 0).sum()) for one in weights) / total if total else 0.0

    def graph(self) -> Graph:
        """The graph as it was trained so far, with integers if it is quantized."""
        return self.computation.quantized_graph()

    def export(self, path: str | os.PathLike[str]) -> None:
        """Writes an ONNX file for lepton-cc and ONNX Runtime: a QDQ model if it is quantized.

        Raises:
            Refused: ONNX has no form for an op, or a quantized model has not computed anything yet.
        """
        content = onnx_model(self.graph()).SerializeToString(deterministic=True)
        write_atomically(content, Path(path))
