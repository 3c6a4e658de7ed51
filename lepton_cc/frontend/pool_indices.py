"""The second output of ONNX MaxPool: where the maxima are, by an argmax over gathered windows."""

import math

import numpy as np

from lepton_cc.frontend.indexing import grid_offsets
from lepton_cc.frontend.layout import image_positions
from lepton_cc.frontend.node import NodeView
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import lowest
from lepton_cc.ir.ops.reduce import ArgFunction, ArgReduce
from lepton_cc.ir.ops.window import Window


def max_pool_indices(node: NodeView, x: Value, window: Window, *, column_major: bool) -> Value:
    """Linear indices (i64) into x [N, C, *S] of each window's first maximum, [N, C, *out].

    With `column_major` the spatial dimensions count in reverse order (ONNX MaxPool-22,
    storage_order 1).
    """
    if x.type.dtype is DType.BOOL or x.type.num_elements == 0:
        node.refuse(f"maxima of {x.type} have no place", code=Code.MODEL_MALFORMED)
    batch, channels, *spatial = x.type.dims
    out = window.output_dims(tuple(spatial))
    num_taps, num_windows = math.prod(window.size), math.prod(out)
    table = image_positions(window, spatial).reshape(num_taps, num_windows).T
    size = math.prod(spatial)
    planes = node.reshape(x, (batch, channels, size))
    windows = node.emit(Gather(2), planes, node.constant_value(np.maximum(table, 0)))
    dtype = x.type.dtype
    if np.any(table < 0):
        inside = node.constant_value(table >= 0)
        windows = node.select(inside, windows, node.scalar(lowest(dtype), dtype))
    tap = node.emit(ArgReduce(ArgFunction.ARGMAX, 3, keep_dims=False), windows)
    # Which entry of the table the tap is, and what stands there.
    first = node.constant_value(np.arange(num_windows, dtype=np.int64) * num_taps)
    entry = node.binary(BinaryFunction.ADD, tap, first)
    numbers = table.astype(np.int64)
    if column_major:
        places = np.unravel_index(np.maximum(table, 0), spatial)
        numbers = np.ravel_multi_index(places[::-1], spatial[::-1]).astype(np.int64)
    position = node.emit(Gather(0), node.constant_value(numbers.reshape(-1)), entry)
    base = grid_offsets((batch, channels, num_windows), (channels * size, size, 0))
    total = node.binary(BinaryFunction.ADD, position, node.constant_value(base))
    return node.reshape(total, (batch, channels, *out))
