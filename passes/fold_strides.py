"""Folding strides: a long window over a sequence becomes a short one over wider positions.

Spectrograms are convolutions of hundreds of taps; the engine has kernels of up to 255 a side.
"""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.movement import Reshape, Slice
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Replacement, Rewriter, Statistics, rewrite, rule
from lepton_cc.passes.manager import Pass

_LONGEST = 255


@rule("conv(x, w) of stride s = conv(fold(x), fold(w)), s positions being one of s C", Conv)
def fold_stride(op: Op, rewriter: Rewriter) -> Replacement:
    """For integers, whose sums have no order, without padding, s dividing the window."""
    kind = op.kind
    assert isinstance(kind, Conv)
    weights = rewriter.constant_array(op.inputs[1])
    window, x = kind.window, op.inputs[0]
    if window.rank != 1 or window.size[0] <= _LONGEST or kind.groups != 1 or weights is None:
        return None
    plain = window.dilations == (1,) and window.low == window.high == (0,)
    (taps,), (stride,) = window.size, window.strides
    if not plain or taps % stride or not x.type.dtype.is_integer or not x.type.is_static:
        return None
    batch, length, channels = x.type.dims
    read = (op.result.type.dims[1] - 1) * stride + taps
    if read != length:
        x = rewriter.emit(Slice((0, 0, 0), (batch, read, channels), (1, 1, 1)), x)
    folded = rewriter.emit(Reshape((batch, read // stride, stride * channels)), x)
    wide = weights.reshape(taps // stride, stride * channels, -1)
    short = Window((taps // stride,), (1,), (1,), (0,), (0,))
    operands = (folded, rewriter.constant(wide, name="folded"), *op.operands[2:])
    return (rewriter.emit(Conv(short, 1, kind.zero_point), *operands, name=op.result.name),)


@dataclass(frozen=True, slots=True)
class FoldStrides(Pass):
    """Turns convolutions over sequences by windows of more than 255 taps into shorter ones.

    Accepts a graph of integer convolutions with constant weights; others stay.
    """

    NAME: ClassVar[str] = "fold-strides"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        return rewrite(graph, (fold_stride,), statistics)
