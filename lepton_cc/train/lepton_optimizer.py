"""`LeptonOptimizer`: an optimizer of PyTorch that also quantizes and prunes what it steps."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.passes.quantize.weight_rounding import WeightScheme
from lepton_cc.train.graph_module import GraphModule, ModelParameters
from lepton_cc.train.magnitude_masks import is_update, masks, share_after

DEFAULT_STEPS = 1000


class LeptonOptimizer:
    """Wraps `optimizer`, which was made of the same parameters: those of a `LeptonModel`.

    Learning-rate schedules are of the wrapped optimizer; make them after `set_quantization`, which
    adds the scales of narrow weights to it as a group.

    Raises:
        UsageError: the parameters are not those of a `LeptonModel`.
    """

    def __init__(self, params: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        if not isinstance(params, ModelParameters):
            raise UsageError("params are none of a LeptonModel: give model.parameters() itself")
        self.optimizer = optimizer
        self._module: GraphModule = params.module
        self._ratio, self._steps, self._step = 0.0, 0, 0
        self._masks: list[torch.Tensor] = []

    def set_quantization(self, weight_bits: int = 8, activation_bits: int = 8) -> None:
        """Rounds from now on as the exported model will.

        weight_bits: 4 or 8; activation_bits: 8 or 16. Ranges of activations follow the batches,
        scales of 4-bit weights are learned.

        Raises:
            UsageError: there are no such integers, or the model is quantized already.
            Refused: nothing of the model could compute with integers.
        """
        try:
            scheme = WeightScheme(f"w{weight_bits}a{activation_bits}")
        except ValueError:
            known = ", ".join(one.value for one in WeightScheme)
            asked = f"w{weight_bits}a{activation_bits}"
            raise UsageError(f"{asked} is none of {known}") from None
        self.quantize(scheme)

    def quantize(self, scheme: WeightScheme, scale_rate: float | None = None) -> None:
        """The same by the scheme; `scale_rate` is the learning rate of scales, if it is another.

        Raises:
            UsageError: the model is quantized already.
            Refused: nothing of the model could compute with integers.
        """
        if self._module.plan is not None:
            raise UsageError("the model is quantized already")
        added = self._module.quantize(scheme)
        if added:
            rate = {} if scale_rate is None else {"lr": scale_rate}
            self.optimizer.add_param_group({"params": added, "weight_decay": 0.0, **rate})

    def set_compression(self, ratio: float, steps: int = DEFAULT_STEPS) -> None:
        """Prunes gradually: after `steps` further steps a share `ratio` of the weights is zero.

        Weights of layers with fewer than 16 products an output are left alone, as are biases.

        Raises:
            UsageError: the ratio is not between 0 and 1, or there are no steps, or no weights.
        """
        if not 0 < ratio < 1 or steps < 1:
            raise UsageError(
                f"ratio={ratio}, steps={steps}: the ratio is between 0 and 1, steps are at least 1"
            )
        if not self._module.prunable_weights():
            raise UsageError("the model has no weights that can be pruned")
        self._ratio, self._steps, self._step = ratio, steps, 0

    def keep_zeros(self) -> None:
        """Weights that are zero now stay so; no others are pruned."""
        weights = self._module.prunable_weights()
        self._masks = [(one != 0).to(torch.float32) for one in weights]
        self._steps = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the wrapped optimizer's."""
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """A step of the wrapped optimizer; what is pruned stays zero."""
        loss: float | None = self.optimizer.step(closure)
        if self._steps:
            self._step += 1
        self._prune()
        return loss

    def _prune(self) -> None:
        weights = self._module.prunable_weights()
        if self._steps and is_update(self._step, self._steps):
            share = share_after(self._step, self._steps, self._ratio)
            self._masks = masks(weights, share)
        if self._masks:
            with torch.no_grad():
                for weight, mask in zip(weights, self._masks, strict=True):
                    weight.mul_(mask)
