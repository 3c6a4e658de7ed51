"""Contractions with constant weights, as storing them without zeros sees them: rows and places.

Made of a matrix product or a convolution, for code generation and for reports alike.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.codegen.lower.conv_shape import ConvShape, inner_columns
from lepton_cc.codegen.lower.dot import weight_words
from lepton_cc.ir.target import DotProduct
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True, eq=False)
class SparseLayer:
    """Weights [segments, depth, width] and the pixels that meet them.

    places: for each row of a segment, the input element that it multiplies, from the segment's
    first. With dot products a row is one of words. is_padded: pixels may miss segments; borders:
    those at the begin and at the end of a line that do so along it.
    """

    weights: Array
    places: Array
    dot: DotProduct
    lines: int
    pixels: int
    is_padded: bool = False
    borders: tuple[int, int] = (0, 0)


def matmul_layer(weights: Array, rows: int, dot: DotProduct) -> SparseLayer:
    """A product of `rows` rows by weights [depth, width]."""
    return _layer(weights[np.newaxis], np.arange(len(weights)), dot, 1, rows)


def conv_layer(weights: Array, shape: ConvShape, dot: DotProduct) -> SparseLayer:
    """A convolution of one group with weights [taps, channels, filters]."""
    window, channels = shape.window, np.arange(shape.channels)
    lines, pixels = shape.batch * math.prod(shape.outputs[:-1]), shape.outputs[-1]
    if any(window.low) or any(window.high):
        first, last = inner_columns(shape)
        layer = _layer(weights, channels, dot, lines, pixels)
        return replace(layer, is_padded=True, borders=(first, pixels - last))
    places = (_tap_places(shape)[:, np.newaxis] + channels).reshape(-1)
    return _layer(weights.reshape(1, -1, shape.filters), places, dot, lines, pixels)


def _tap_places(shape: ConvShape) -> Array:
    """The input element of each tap's first channel, from the first tap's."""
    window, places = shape.window, np.zeros(1, np.int64)
    for axis in range(window.rank):
        distance = math.prod(shape.dims[axis + 1 :]) * shape.channels * window.dilations[axis]
        places = (places[:, np.newaxis] + np.arange(window.size[axis]) * distance).reshape(-1)
    return places


def _layer(weights: Array, places: Array, dot: DotProduct, lines: int, pixels: int) -> SparseLayer:
    if dot is not DotProduct.NONE:
        weights = np.stack([weight_words(segment, dot) for segment in weights])
        places = places[:: dot.width]
    return SparseLayer(weights, places, dot, lines, pixels)
