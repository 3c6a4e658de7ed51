"""Rounding while training: forward what the integers will do, backward as if nothing was rounded.

Gradients pass where nothing is cut off (straight-through, Bengio et al., 2013). Ranges of
activations follow the batches' smallest and largest elements; scales of narrow weights are learned
(LSQ, Esser et al., 2020), by their logarithm (Jain et al., 2020), those of 8 bits follow from the
largest magnitude, as `quantize_weights` has it.
"""

import math

import numpy as np
import torch
from torch import nn

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.activation_parameters import (
    ActivationParameters,
    Interval,
    activation_parameters,
)
from lepton_cc.passes.quantize.weight_rounding import QuantizedWeights, quantize_weights

# The share of the old range that a batch leaves.
MOMENTUM = 0.95
_LARGEST_BIAS = float(1 << 30)


def _rounded(steps: torch.Tensor, zero_point: int, dtype: DType, low: int | None) -> torch.Tensor:
    """Steps as the nearest whole ones within the type, half to even."""
    lowest, highest = integer_bounds(dtype)
    low = lowest if low is None else low
    return torch.fake_quantize_per_tensor_affine(steps, 1.0, zero_point, low, highest)


def fake_quantized(x: torch.Tensor, by: ActivationParameters) -> torch.Tensor:
    """What Quantize and Dequantize with these parameters make of reals."""
    scale = float(by.scale)
    return _rounded(x / scale, by.zero_point, by.dtype, None) * scale


def fake_quantized_constant(array: torch.Tensor, dtype: DType) -> torch.Tensor:
    """A constant operand in steps of one scale, whose range is its own."""
    seen = array.detach()
    return fake_quantized(
        array, activation_parameters(Interval(float(seen.min()), float(seen.max())), dtype)
    )


class ActivationQuantizer(nn.Module):
    """The range of one value while it is trained; `whole`: all that was ever seen."""

    def __init__(self, dtype: DType, *, whole: bool) -> None:
        super().__init__()
        self.dtype, self.whole = dtype, whole
        # Low, high; the first is above the second as long as nothing was seen.
        self.register_buffer("bounds", torch.tensor([math.inf, -math.inf], dtype=torch.float64))

    @property
    def is_known(self) -> bool:
        """False as long as nothing was seen."""
        return bool(self.bounds[0] <= self.bounds[1])

    @property
    def interval(self) -> Interval:
        """The range; [0, 0] if nothing was seen."""
        if not self.is_known:
            return Interval(0.0, 0.0)
        low, high = self.bounds.tolist()
        return Interval(low, high)

    def observe(self, x: torch.Tensor) -> None:
        """Moves the range toward a batch's smallest and largest element."""
        seen = torch.stack(torch.aminmax(x.detach())).to(torch.float64)
        if not self.is_known:
            self.bounds.copy_(seen)
        elif self.whole:
            low, high = torch.minimum(self.bounds, seen)[0], torch.maximum(self.bounds, seen)[1]
            self.bounds.copy_(torch.stack([low, high]))
        else:
            self.bounds.mul_(MOMENTUM).add_(seen, alpha=1 - MOMENTUM)

    def parameters_now(self) -> ActivationParameters:
        """Scale and zero point of the range as it is."""
        return activation_parameters(self.interval, self.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rounded reals; a range that was never seen is taken from these."""
        if self.training or not self.is_known:
            self.observe(x)
        return fake_quantized(x, self.parameters_now())


class WeightQuantizer(nn.Module):
    """The scales of one layer's weights [..., C]: learned if they are narrow."""

    def __init__(self, weights: Array, dtype: DType) -> None:
        super().__init__()
        self.dtype = dtype
        lowest, highest = integer_bounds(dtype)
        self.log_scales: nn.Parameter | None = None
        self.low = -highest
        if dtype.bits < 8:
            begun = quantize_weights(weights, dtype, np.zeros(weights.shape[-1]))
            self.low = lowest
            self.log_scales = nn.Parameter(torch.log(torch.from_numpy(begun.scales)))
            elements = weights.size / weights.shape[-1]
            # LSQ's factor, with which scales move as fast as weights.
            self.gradient_share = 1.0 / math.sqrt(elements * highest)

    def scales(self, weights: torch.Tensor, least: torch.Tensor | None) -> torch.Tensor:
        """The step of each column; at least `least`, with which the bias fits."""
        if self.log_scales is not None:
            share = self.gradient_share
            logs = self.log_scales * share + self.log_scales.detach() * (1 - share)
            found = torch.exp(logs)
        else:
            largest = weights.detach().abs().reshape(-1, weights.shape[-1]).amax(0)
            found = largest.to(torch.float64) / integer_bounds(self.dtype)[1]
            found = torch.where(largest > 0, found, 1.0).to(torch.float32)
        return found if least is None else torch.maximum(found, least)

    def forward(self, weights: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Rounded reals."""
        return _rounded(weights / scales, 0, self.dtype, self.low) * scales

    def integers(self, weights: torch.Tensor, scales: torch.Tensor) -> QuantizedWeights:
        """What the rounded reals are steps of."""
        with torch.no_grad():
            steps = _rounded(weights / scales, 0, self.dtype, self.low).numpy()
        typed = steps.astype(np.int8).astype(self.dtype.numpy)
        return QuantizedWeights(typed, scales.detach().numpy().astype(np.float32))


def least_scales(
    bias: torch.Tensor | None, x_scale: np.float32, columns: int
) -> torch.Tensor | None:
    """The weight scales [C] under which a bias would not fit into an i32."""
    if bias is None:
        return None
    steps = bias.detach().abs().reshape(-1, columns).amax(0) / (float(x_scale) * _LARGEST_BIAS)
    return steps.to(torch.float32)


def rounded_bias(
    bias: torch.Tensor, x_scale: np.float32, weight_scales: torch.Tensor
) -> torch.Tensor:
    """A bias in whole steps of x_scale * w_scale[c]; its gradient is that of the bias."""
    steps = float(x_scale) * weight_scales.detach().to(torch.float64)
    wide = bias.detach().to(torch.float64)
    whole = torch.round(wide / steps) * steps
    return bias + (whole - wide).to(torch.float32)
