"""A graph as a PyTorch module: its weights and biases are the parameters, and go back into it.

With a quantization plan, what the quantizer will round is rounded while training.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.prune.contraction_weights import (
    constant_arrays,
    prunable_layers,
    with_constants,
)
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.weight_rounding import RoundedLayer, WeightScheme
from lepton_cc.train.batch_axes import batch_axis, input_axis
from lepton_cc.train.fake_quantization import (
    ActivationQuantizer,
    WeightQuantizer,
    fake_quantized,
    fake_quantized_constant,
    least_scales,
    rounded_bias,
)
from lepton_cc.train.quantization_plan import QuantizationPlan, quantization_plan
from lepton_cc.train.torch_ops import rule

# Layers with fewer products an output lose more than their few bytes are worth: depthwise windows.
FEWEST_ROWS = 16


def _key(name: str) -> str:
    """A value's name as PyTorch takes it: without dots, and unlike any attribute."""
    return f"%{name.replace('.', '-')}"


class ModelParameters(Iterator[nn.Parameter]):
    """Parameters that know what they are of: what `LeptonOptimizer` takes."""

    def __init__(self, module: "GraphModule", parameters: Iterator[nn.Parameter]) -> None:
        self.module = module
        self._parameters = parameters

    def __next__(self) -> nn.Parameter:
        return next(self._parameters)


class GraphModule(nn.Module):
    """Computes a prepared float graph of batch 1 on batches of any size.

    Parameters are the constants that contractions and norms read, in the graph's layout.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._axes = _checked_axes(graph)
        self._plan: QuantizationPlan | None = None
        arrays = constant_arrays(graph)
        trained = _trained_constants(graph)
        self.trained = nn.ParameterDict(
            {_key(v.name): nn.Parameter(torch.from_numpy(arrays[v].copy())) for v in trained}
        )
        self._trained = frozenset(trained)
        for value, array in arrays.items():
            if value not in self._trained:
                self.register_buffer(_key(value.name), torch.from_numpy(array.copy()))
        self._constants = frozenset(arrays)
        self._uses_left = {
            value: number for number, op in enumerate(graph.ops) for value in op.inputs
        }
        self.activations = nn.ModuleDict()
        self.weights = nn.ModuleDict()

    def parameters(self, recurse: bool = True) -> ModelParameters:
        """The weights and biases, and learned scales."""
        return ModelParameters(self, super().parameters(recurse))

    @property
    def plan(self) -> QuantizationPlan | None:
        """What is rounded; None while everything is float."""
        return self._plan

    def quantize(self, scheme: WeightScheme) -> list[nn.Parameter]:
        """Rounds from now on what the quantizer will; gives the parameters that this adds.

        Raises:
            Refused: nothing of the graph could compute with integers.
        """
        self._plan = plan = quantization_plan(self._graph, scheme)
        self.activations = nn.ModuleDict(
            {
                _key(name): ActivationQuantizer(dtype, whole=name in plan.interface)
                for name, dtype in plan.measured.items()
            }
        )
        self.weights = nn.ModuleDict(
            {
                _key(op.result.name): WeightQuantizer(
                    self.array(op.inputs[1]), plan.contractions[op.result.name][0]
                )
                for op in self._graph.ops
                if op.results[0].name in plan.contractions
            }
        )
        return list(self.weights.parameters())

    def prunable_weights(self) -> list[nn.Parameter]:
        """The weights of layers with products enough that some can go, in the graph's order."""
        layers = prunable_layers(self._graph)
        wide = (layer.op.inputs[1] for layer in layers if layer.num_rows >= FEWEST_ROWS)
        return [self.trained[_key(value.name)] for value in wide]

    def parameter(self, value: Value) -> nn.Parameter | None:
        """The parameter that a constant has become; None if it is not trained."""
        return self.trained[_key(value.name)] if value in self._trained else None

    def array(self, value: Value) -> Array:
        """A constant as it is now."""
        found: Array = self._tensor(value).detach().numpy().copy()
        return found

    def _tensor(self, value: Value) -> torch.Tensor:
        key = _key(value.name)
        return self.trained[key] if value in self._trained else self._buffers[key]

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The graph's outputs of a batch of its inputs, [n, *rest] each."""
        return self.evaluate(inputs, self._graph.outputs)

    def evaluate(
        self, inputs: Sequence[torch.Tensor], wanted: Sequence[Value]
    ) -> tuple[torch.Tensor, ...]:
        """Any values inside, rounded if the plan says so."""
        batch = len(inputs[0])
        found: dict[Value, torch.Tensor] = {}
        for value, tensor in zip(self._graph.inputs, inputs, strict=True):
            found[value] = self._rounded(value, tensor)
        kept, left = frozenset(wanted), set(wanted) - set(found)
        for number, op in enumerate(self._graph.ops):
            if not left:
                break
            if op.results[0] not in self._constants:
                operands = self._operands(op, found)
                y = rule(op.kind)(op.kind, operands, (self._axes[op.result], batch))
                found[op.result] = self._rounded(op.result, y)
            left.difference_update(op.results)
            for value in op.inputs:
                if self._uses_left[value] == number and value not in kept:
                    found.pop(value, None)
        return tuple(found[v] if v in found else self._tensor(v) for v in wanted)

    def _rounded(self, value: Value, x: torch.Tensor) -> torch.Tensor:
        if self._plan is None:
            return x
        if value.name in self._plan.fixed:
            return fake_quantized(x, self._plan.fixed[value.name])
        quantizer = _key(value.name)
        return self.activations[quantizer](x) if quantizer in self.activations else x

    def _operands(self, op: Op, found: dict[Value, torch.Tensor]) -> list[torch.Tensor]:
        given = [found[v] if v in found else self._tensor(v) for v in op.inputs]
        if self._plan is None:
            return given
        if op.result.name in self._plan.contractions:
            quantizer, scales, x_scale = self._scales(op)
            given[1] = quantizer(given[1], scales)
            if len(given) > 2:
                given[2] = rounded_bias(given[2], x_scale, scales)
            return given
        for number in range(len(op.operands)):
            dtype = self._plan.constants.get((op.result.name, number))
            if dtype is not None:
                given[number] = fake_quantized_constant(given[number], dtype)
        return given

    def _scales(self, op: Op) -> tuple[WeightQuantizer, torch.Tensor, np.float32]:
        """The quantizer of a contraction, the scales of its columns, the step of what it reads."""
        assert self._plan is not None
        quantizer = self.weights[_key(op.result.name)]
        _, source = self._plan.contractions[op.result.name]
        if source in self._plan.fixed:
            by = self._plan.fixed[source]
        else:
            by = self.activations[_key(source)].parameters_now()
        bias = self._tensor(op.inputs[2]) if len(op.inputs) > 2 else None
        weights = self._tensor(op.inputs[1])
        least = least_scales(bias, by.scale, weights.shape[-1])
        return quantizer, quantizer.scales(weights, least), by.scale

    def float_graph(self) -> Graph:
        """The graph with what its constants have become."""
        arrays = {value: self.array(value) for value in self._trained}
        return with_constants(self._graph, arrays)

    def quantized_graph(self) -> Graph:
        """The float graph with integers for all that is rounded; itself without a plan.

        Raises:
            Refused: a range was never seen, because nothing has been computed yet.
        """
        if self._plan is None:
            return self.float_graph()
        unseen = [name for name in self._plan.measured if not self._quantizer(name).is_known]
        if unseen:
            raise Refused(
                Diagnostic(
                    Code.BAD_CALIBRATION_DATA,
                    f"the range of %{name} is not known",
                    hint="run the model on a batch before it is exported",
                )
                for name in unseen
            )
        rounded = {}
        for op in self._graph.ops:
            if op.results[0].name in self._plan.contractions:
                quantizer, scales, _ = self._scales(op)
                integers = quantizer.integers(self._tensor(op.inputs[1]), scales)
                rounded[op.result.name] = RoundedLayer(integers, None)
        ranges = {name: self._quantizer(name).interval for name in self._plan.measured}
        insertion = InsertQuantization(self._plan.scheme, ranges, rounded=rounded)
        return insertion.run(self.float_graph(), Statistics())

    def _quantizer(self, name: str) -> ActivationQuantizer:
        found: ActivationQuantizer = self.activations[_key(name)]
        return found


def _trained_constants(graph: Graph) -> tuple[Value, ...]:
    """The f32 constants that contractions and norms read, in order."""
    arrays = constant_arrays(graph)
    read = (
        value
        for op in graph.ops
        if isinstance(op.kind, Conv | MatMul | LayerNorm | RmsNorm)
        for value in op.inputs[1:]
    )
    found = (v for v in read if v in arrays and v.type.dtype is DType.F32)
    return tuple(dict.fromkeys(found))


def _checked_axes(graph: Graph) -> dict[Value, int | None]:
    """The batch axis of every value.

    Raises:
        Refused: ops that cannot be trained, all of them.
    """
    problems: list[Diagnostic] = []
    axes: dict[Value, int | None] = {}
    for value in graph.inputs:
        try:
            axes[value] = input_axis(value)
        except ValueError as error:
            problems.append(Diagnostic(Code.UNSUPPORTED_FORM, f"training: {error}"))
    for op in graph.ops:
        known = all(value in axes for value in op.inputs)
        try:
            if not isinstance(op.kind, Constant):
                _check(op)
            if known:
                axis = batch_axis(op, [axes[value] for value in op.inputs])
                axes.update(dict.fromkeys(op.results, axis))
        except ValueError as error:
            problems.append(
                Diagnostic(
                    Code.UNSUPPORTED_OPERATOR,
                    f"{op.kind.mnemonic} cannot be trained: {error}",
                    node=str(op.location),
                )
            )
    if problems:
        raise Refused(problems)
    return axes


def _check(op: Op) -> None:
    rule(op.kind)
    absent = [operand is None for operand in op.operands]
    if absent != sorted(absent):
        raise ValueError("an operand of it is left out")
    if len(op.results) > 1:
        raise ValueError("it has several results")
    if not any(v.type.dtype.is_float for v in op.inputs):
        raise ValueError("it is not of floats")
