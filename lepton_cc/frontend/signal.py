"""ONNX signal operators: Fourier transforms as constant matrices, windows, mel weights."""

import math
from collections.abc import Sequence

import numpy as np

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Importer, Operator
from lepton_cc.frontend.tensors import element_type
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.tensor import Array


def fourier_matrix(rows: int, length: int, bins: int, *, components: int, inverse: bool) -> Array:
    """The matrix [rows * components, bins * 2] of a discrete Fourier transform of `length`.

    Row n (or rows 2 n and 2 n + 1: real and imaginary part) is sample n, columns 2 k and 2 k + 1
    are the real and imaginary part of bin k: exp(-2 pi i n k / length), conjugate and divided by
    `length` for the inverse. Computed in binary64, with the angle reduced exactly.
    """
    turns = np.outer(np.arange(rows), np.arange(bins)) % length
    angle = (2 if inverse else -2) * np.pi * turns / length
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros((rows, components, bins, 2))
    matrix[:, 0, :, 0], matrix[:, 0, :, 1] = cos, sin
    if components == 2:
        matrix[:, 1, :, 0], matrix[:, 1, :, 1] = -sin, cos
    scale = 1 / length if inverse else 1
    return (matrix * scale).reshape(rows * components, bins * 2)


def real_inverse_matrix(bins: int, length: int) -> Array:
    """The matrix [bins * 2, length] that takes one half of a real signal's spectrum back to it."""
    turns = np.outer(np.arange(bins), np.arange(length)) % length
    angle = 2 * np.pi * turns / length
    # A bin stands for its mirror image too, unless it is its own.
    mirrored = [1 if k == 0 or 2 * k == length else 2 for k in range(bins)]
    weight = np.asarray(mirrored).reshape(-1, 1) / length
    matrix = np.stack((weight * np.cos(angle), -weight * np.sin(angle)), axis=1)
    return matrix.reshape(bins * 2, length)


def _transform(node: NodeView, x: Value, length: int, *, inverse: bool, onesided: bool) -> Value:
    """The transform of x [..., samples, 1 or 2] along the samples."""
    *outer, samples, components = x.type.dims
    if components not in (1, 2) or length < 1:
        node.refuse(f"input {x.type} is neither real nor complex", code=Code.MODEL_MALFORMED)
    node.check_table(samples * components, length, 2)
    if inverse and onesided:
        rows = min(samples, length // 2 + 1)
        matrix, last = real_inverse_matrix(rows, length), 1
        if components == 1:
            matrix = matrix.reshape(rows, 2, length)[:, 0]
        out = length
    else:
        rows = min(samples, length)
        out, last = (length // 2 + 1 if onesided else length), 2
        matrix = fourier_matrix(rows, length, out, components=components, inverse=inverse)
    full = np.zeros((samples * components, matrix.shape[1]))
    full[: matrix.shape[0]] = matrix
    weights = node.constant_value(full.astype(x.type.dtype.numpy))
    flat = node.reshape(x, (math.prod(outer), samples * components))
    return node.reshape(node.emit(MatMul(), flat, weights), (*outer, out, last))


def _dft(node: NodeView, axis: int) -> Sequence[Value | None]:
    x = node.operand(0)
    rank = x.type.rank
    axis = node.axis(axis, rank)
    if rank < 2 or axis == rank - 1:
        node.refuse(f"axis {axis} is the axis of the complex parts", code=Code.MODEL_MALFORMED)
    order = [*(i for i in range(rank - 1) if i != axis), axis, rank - 1]
    moved = node.transpose(x, order)
    inverse, onesided = node.flag("inverse"), node.flag("onesided")
    default = 2 * (x.type.dims[axis] - 1) if inverse and onesided else x.type.dims[axis]
    length = default if node.optional(1) is None else node.constant_int(1)
    y = _transform(node, moved, length, inverse=inverse, onesided=onesided)
    return (node.transpose(y, [order.index(i) for i in range(rank)]),)


def import_dft_17(node: NodeView) -> Sequence[Value | None]:
    """DFT with a length that is known at compile time, as a matmul."""
    return _dft(node, node.int("axis", 1))


def import_dft_20(node: NodeView) -> Sequence[Value | None]:
    """DFT with a length and an axis that are known at compile time, as a matmul."""
    return _dft(node, -2 if node.optional(2) is None else node.constant_int(2))


def import_stft(node: NodeView) -> Sequence[Value | None]:
    """STFT with a step and a length that are known at compile time: a gather and a matmul."""
    signal, window = node.operand(0), node.optional(2)
    step = node.constant_int(1)
    if signal.type.rank == 2:
        signal = node.reshape(signal, (*signal.type.dims, 1))
    node.check_rank(signal, 3, 3)
    _, samples, components = signal.type.dims
    if node.optional(3) is not None:
        length = node.constant_int(3)
    elif window is not None:
        length = window.type.num_elements
    else:
        node.refuse("neither a window nor a frame length is given", code=Code.MODEL_MALFORMED)
    if not (0 < length <= samples and step > 0):
        node.refuse(f"frames of {length} every {step} of {samples}", code=Code.MODEL_MALFORMED)
    frames = (samples - length) // step + 1
    node.check_table(frames, length)
    table = np.arange(frames)[:, None] * step + np.arange(length)
    framed = node.emit(Gather(1), signal, node.constant_value(table.astype(np.int64)))
    if window is not None:
        framed = node.binary(BinaryFunction.MUL, framed, node.reshape(window, (length, 1)))
    onesided = node.flag("onesided", default=True)
    y = _transform(node, framed, length, inverse=False, onesided=onesided and components == 1)
    return (y,)


def _cosine_window(*coefficients: float) -> Importer:
    """A window sum over j of (-1)^j coefficients[j] cos(2 pi j n / N)."""

    def import_window(node: NodeView) -> Sequence[Value | None]:
        """Of a size that is known at compile time."""
        size = node.constant_int(0)
        node.check_table(size)
        dtype = element_type(node.int("output_datatype", 1))
        period = size if node.flag("periodic", default=True) else size - 1
        angle = 2 * np.pi * np.arange(size) / max(period, 1)
        terms = (
            (-1) ** order * factor * np.cos(order * angle)
            for order, factor in enumerate(coefficients)
        )
        return (node.constant_value(sum(terms, np.zeros(size)).astype(dtype.numpy)),)

    return import_window


def mel_weights(bins: int, length: int, rate: int, low: float, high: float) -> Array:
    """Triangular filters [length // 2 + 1, bins] with edges evenly spaced on the mel scale.

    Edges fall on whole bins of the spectrum: floor((length + 1) * hertz / rate). ONNX
    MelWeightMatrix-17.
    """
    mels = 2595 * np.log10(1 + np.array([low, high]) / 700)
    steps = mels[0] + np.arange(bins + 2) * ((mels[1] - mels[0]) / (bins + 2))
    edges = ((length + 1) * (700 * (10 ** (steps / 2595) - 1)) // rate).astype(np.int64)
    rows = np.arange(length // 2 + 1)[:, None]
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (rows - left) / np.maximum(center - left, 1)
    falling = (right - rows) / np.maximum(right - center, 1)
    slopes = np.where(rows < center, rising, falling)
    weights = np.where((rows > left) & (rows < right), slopes, 0)
    return np.where(rows == center, 1, weights)


def import_mel_weight_matrix(node: NodeView) -> Sequence[Value | None]:
    """MelWeightMatrix of parameters that are known at compile time."""
    bins, length, rate = (node.constant_int(index) for index in range(3))
    low, high = (node.constant_float(index) for index in (3, 4))
    dtype = element_type(node.int("output_datatype", 1))
    edges_known = rate > 0 and length >= 0 and all(map(math.isfinite, (low, high)))
    if not edges_known or min(low, high) < 0:
        node.refuse(f"no mel scale from {low} to {high} at {rate}", code=Code.MODEL_MALFORMED)
    node.check_table(length // 2 + 1, bins + 2)
    return (node.constant_value(mel_weights(bins, length, rate, low, high).astype(dtype.numpy)),)


_ALPHA = 25 / 46

OPERATORS = (
    Operator("", "DFT", 17, import_dft_17),
    Operator("", "DFT", 20, import_dft_20),
    Operator("", "STFT", 17, import_stft),
    Operator("", "HannWindow", 17, _cosine_window(0.5, 0.5)),
    Operator("", "HammingWindow", 17, _cosine_window(_ALPHA, 1 - _ALPHA)),
    Operator("", "BlackmanWindow", 17, _cosine_window(0.42, 0.5, 0.08)),
    Operator("", "MelWeightMatrix", 17, import_mel_weight_matrix),
)
