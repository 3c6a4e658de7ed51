"""From ONNX's strides, dilations, pads, auto_pad and ceil_mode to explicit windows."""

from collections.abc import Sequence

from lepton_cc.frontend.node import NodeView
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.window import Window


def spatial_dims(node: NodeView, x: Value) -> tuple[int, ...]:
    """The dimensions of [N, C, *S] after the channels."""
    if x.type.rank < 3:
        node.refuse(f"{x.type} has no spatial dimensions", code=Code.TYPE_MISMATCH)
    return x.type.dims[2:]


def spatial_ints(node: NodeView, name: str, count: int, default: int) -> tuple[int, ...]:
    """An attribute with one integer for each of `count` spatial dimensions."""
    values = node.ints(name, (default,) * count)
    if len(values) != count:
        message = f"{name} has {len(values)} entries for {count} spatial dimensions"
        node.refuse(message, code=Code.MODEL_MALFORMED)
    return values


def explicit_pads(node: NodeView, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pads attribute as low and high amounts."""
    pads = node.ints("pads", (0,) * (2 * rank))
    if len(pads) != 2 * rank:
        message = f"pads has {len(pads)} entries for {rank} spatial dimensions"
        node.refuse(message, code=Code.MODEL_MALFORMED)
    return pads[:rank], pads[rank:]


def auto_pad(node: NodeView) -> str:
    """The auto_pad attribute, which must be one of ONNX's four."""
    mode = node.string("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        node.refuse(f"auto_pad is {mode!r}", code=Code.MODEL_MALFORMED)
    return mode


def window_of(
    node: NodeView, dims: Sequence[int], size: Sequence[int], *, ceil: bool = False
) -> tuple[Window, tuple[int, ...]]:
    """The window over spatial `dims`, and the high padding that only a ceiling mode added.

    A ceiling mode rounds the output size up, except that a window never starts in the padding
    after the input (ONNX MaxPool-22).
    """
    rank = len(dims)
    if len(size) != rank:
        node.refuse(f"a window {list(size)} over {rank} dimensions", code=Code.MODEL_MALFORMED)
    strides = spatial_ints(node, "strides", rank, 1)
    dilations = spatial_ints(node, "dilations", rank, 1)
    if min((*size, *strides, *dilations)) < 1:
        node.refuse("sizes, strides and dilations must be positive", code=Code.MODEL_MALFORMED)
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    mode = auto_pad(node)
    extra = [0] * rank
    if mode.startswith("SAME"):
        low, high = _same_pads(dims, spans, strides, upper=mode == "SAME_UPPER")
    elif mode == "VALID":
        low, high = (0,) * rank, (0,) * rank
    else:
        low, high = explicit_pads(node, rank)
        if ceil:
            parts = zip(dims, spans, strides, low, high, strict=True)
            extra = [_ceiling_padding(*part) for part in parts]
    ends = tuple(pad + more for pad, more in zip(high, extra, strict=True))
    return Window(tuple(size), strides, dilations, low, ends), tuple(extra)


def _same_pads(
    dims: Sequence[int], spans: Sequence[int], strides: Sequence[int], *, upper: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    totals = [
        max(0, (-(-dim // stride) - 1) * stride + span - dim)
        for dim, span, stride in zip(dims, spans, strides, strict=True)
    ]
    smaller = tuple(total // 2 for total in totals)
    larger = tuple(total - total // 2 for total in totals)
    return (smaller, larger) if upper else (larger, smaller)


def _ceiling_padding(dim: int, span: int, stride: int, low: int, high: int) -> int:
    out = -((span - dim - low - high) // stride) + 1
    if (out - 1) * stride >= dim + low:
        out -= 1
    return max(0, (out - 1) * stride + span - dim - low - high)
