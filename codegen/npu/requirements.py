"""Requirements: what an op must be so that the engine executes it, and the reasons why it is not.

`select` asks them op by op; each that is not met names its reason.
"""

import enum

import numpy as np

from lepton_cc.codegen.npu.layers import MapWindow, map_shape
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

MAX_SIZE = (1 << 16) - 1
MAX_KERNEL = 255
MAX_TAPS = 4096
MAX_UPSAMPLE = 4
MAX_DEPTH = 33000
# Bytes up to which a constant is repeated in flash to have the shape that it is added to.
MAX_REPEATED = 1 << 16
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


class Reason(enum.Enum):
    """Why an op runs on the control core."""

    FLOAT = "it computes with floats; the engine has integers only"
    NO_INSTRUCTION = "the engine has no instruction for it"
    DTYPE = "its operands or results are no 8-bit integers"
    NOT_REQUANTIZED = "its 32-bit sums are read by something else than one requantization to 8 bits"
    SHAPE = f"a dimension is larger than {MAX_SIZE}, or the tensor is empty"
    BATCH = "windows need batch 1"
    WINDOW = f"its window has three dimensions, a side above {MAX_KERNEL} or an unusual form"
    WEIGHTS = "its weights are not constants of 4 or 8 bits without zero point"
    SCALE = "a scale varies along another dimension than the channels, or is subnormal"
    BROADCAST = "it broadcasts in a way that strides do not express"
    ON_THE_WAY = "it moves data where the control core reads or writes it"
    TOO_LITTLE = (
        "it stands between ops of the control core, with no product to make up for transfers"
    )


class UnmetError(Exception):
    """An op does not meet a requirement."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


def require(condition: bool, reason: Reason) -> None:
    """Refuses the op at hand unless the condition holds.

    Raises:
        UnmetError: it does not.
    """
    if not condition:
        raise UnmetError(reason)


def require_map(type_: TensorType) -> None:
    """A map has rows, columns and channels that fit the fields of packets, and is not empty."""
    shape = map_shape(type_)
    sizes = (shape.height, shape.width, shape.channels)
    require(min(sizes) > 0 and max(sizes) <= MAX_SIZE, Reason.SHAPE)


def normal_scale(scale: Array) -> float:
    """The one scale of a tensor, a normal number."""
    value = float(scale.reshape(-1)[0])
    require(value >= SMALLEST_NORMAL, Reason.SCALE)
    return value


def map_window(window: Window, type_: TensorType) -> MapWindow:
    """The window of rows and columns; a one-dimensional one slides over rows."""
    require(type_.dims[0] == 1, Reason.BATCH)
    require(window.rank in (1, 2), Reason.WINDOW)
    fields = (window.size, window.strides, window.dilations)
    require(max(max(field) for field in fields) <= MAX_KERNEL, Reason.WINDOW)
    pairs = [(field[0], field[1] if window.rank == 2 else 1) for field in fields]
    require(pairs[0][0] * pairs[0][1] <= MAX_TAPS, Reason.WINDOW)
    pad = (window.low[0], window.low[1] if window.rank == 2 else 0)
    kernel, stride, dilation = pairs
    return MapWindow(kernel, stride, dilation, pad)


def repeats(type_: TensorType, result: TensorType) -> bool:
    """Whether strides of 0 spread the map over the result's: each dimension is equal or 1."""
    given, wanted = map_shape(type_), map_shape(result)
    sizes = zip(
        (given.height, given.width, given.channels),
        (wanted.height, wanted.width, wanted.channels),
        strict=True,
    )
    if type_.rank == 3 and type_.dims[0] != result.dims[0] and type_.dims[1] > 1:
        return False  # its rows are the other's columns: see `map_shape`
    return all(size in (1, want) for size, want in sizes) and type_.rank in (0, 1, result.rank)
