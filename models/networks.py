"""The networks that train_digits.py trains: small, and between them most of what edge models use.

Each takes images `[n, 1, 8, 8]`, float32 in 0..1, and gives logits `[n, 10]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

IMAGE_SIDE = 8
NUM_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Network:
    """A network by name; `softmax` says whether its ONNX file ends in probabilities."""

    name: str
    build: Callable[[], nn.Module]
    softmax: bool = False


class Residual(nn.Module):
    """`relu(x + body(x))`."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to `[n, c, h, w]`."""
        return torch.relu(x + self.body(x))


class RowsAsSteps(nn.Module):
    """A recurrent layer that reads an image's 8 rows as 8 steps and gives its last state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Give `[n, hidden]` for `[n, 1, 8, 8]`."""
        steps = image.reshape(-1, IMAGE_SIDE, IMAGE_SIDE).transpose(0, 1)
        outputs, _ = self.cell(steps)
        return outputs[-1]


def digits_cnn() -> nn.Module:
    """Two convolutions with batch normalization and max pooling, one dense layer."""
    return nn.Sequential(
        *_conv(1, 16, kernel=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *_conv(16, 32, kernel=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, NUM_CLASSES),
    )


def digits_dscnn() -> nn.Module:
    """Depthwise separable convolutions, two of them in residual blocks, and a global average."""
    return nn.Sequential(
        *_conv(1, 24, kernel=3),
        nn.ReLU(),
        Residual(nn.Sequential(*_separable(24, 24))),
        *_separable(24, 48, stride=2),
        nn.ReLU(),
        Residual(nn.Sequential(*_separable(48, 48))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, NUM_CLASSES),
    )


def digits_gru() -> nn.Module:
    """A gated recurrent unit over the rows, one dense layer."""
    return nn.Sequential(RowsAsSteps(nn.GRU(IMAGE_SIDE, 48)), nn.Linear(48, NUM_CLASSES))


def digits_lstm() -> nn.Module:
    """A long short-term memory over the rows, one dense layer."""
    return nn.Sequential(RowsAsSteps(nn.LSTM(IMAGE_SIDE, 40)), nn.Linear(40, NUM_CLASSES))


def _conv(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> list[Any]:
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
    )
    return [conv, nn.BatchNorm2d(out_channels)]


def _separable(in_channels: int, out_channels: int, *, stride: int = 1) -> list[Any]:
    depthwise = _conv(in_channels, in_channels, kernel=3, stride=stride, groups=in_channels)
    return [*depthwise, nn.ReLU(), *_conv(in_channels, out_channels, kernel=1)]


NETWORKS = (
    Network("digits_cnn", digits_cnn),
    Network("digits_dscnn", digits_dscnn, softmax=True),
    Network("digits_gru", digits_gru),
    Network("digits_lstm", digits_lstm),
)
