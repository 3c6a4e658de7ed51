"""Cascades: runs of layers computed stripe by stripe, so that no map between them exists whole.

Each intermediate map lives in a ring of rows. For every stripe of the last layer's rows, each
layer computes the rows that are new; no row is computed twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.convolution_packet import needed_rows
from lepton_cc.codegen.npu.layers import (
    ConvLayer,
    ElementwiseLayer,
    Layer,
    PoolLayer,
    TableLayer,
    map_shape,
)
from lepton_cc.codegen.npu.tasks import Rows
from lepton_cc.ir.graph import Value


@dataclass(frozen=True, slots=True)
class Cascade:
    """Layers [first, last] of a segment, in stripes of `rows` rows of the last one's result.

    `streams_input`: the first layer's input is loaded from outside row by row too.
    """

    first: int
    last: int
    rows: int
    streams_input: bool


@dataclass(frozen=True, slots=True)
class Stripe:
    """Rows to load of the input, and to compute of each layer; None: nothing new."""

    loaded: Rows | None
    computed: tuple[Rows | None, ...]


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """All stripes, and how many rows each ring holds (of the input, then of each layer's result).

    The last layer's result is no ring; its entry is 0, as is the input's if it is not streamed.
    """

    stripes: tuple[Stripe, ...]
    ring_rows: tuple[int, ...]


def chained_input(layer: Layer) -> Value:
    """The map that a layer of a cascade gets from the one before."""
    return layer.inputs[0]


def can_follow(before: Layer, layer: Layer) -> bool:
    """Whether `layer` can consume the rows of `before` as they are made."""
    kinds = ConvLayer | PoolLayer | TableLayer
    if not isinstance(layer, kinds) or not isinstance(before, kinds | ElementwiseLayer):
        return False
    return layer.inputs.count(before.result) == 1 and chained_input(layer) == before.result


def read_rows(layer: Layer, rows: Rows) -> Rows:
    """The rows of `chained_input` that rows of the result need."""
    if isinstance(layer, ConvLayer):
        return needed_rows(layer, rows)
    if isinstance(layer, PoolLayer):
        stride, pad = layer.window.stride[0], layer.window.pad[0]
        first = max(rows.first * stride - pad, 0)
        end = (rows.end - 1) * stride - pad + layer.window.kernel[0]
        return Rows(first, min(end, map_shape(layer.x.type).height))
    return rows


def plan_cascade(layers: Sequence[Layer], cascade: Cascade) -> CascadePlan:
    """The stripes of a cascade of these layers (all of the segment's)."""
    chain = layers[cascade.first : cascade.last + 1]
    height = chain[-1].shape.height
    done = [0] * (len(chain) + 1)  # rows made, of the input and of each result
    ring = [0] * (len(chain) + 1)
    stripes = []
    for begin in range(0, height, cascade.rows):
        ends = _ends(chain, min(begin + cascade.rows, height), done)
        for index, layer in enumerate(chain):
            if ends[index + 1] > done[index + 1]:
                read = read_rows(layer, Rows(done[index + 1], ends[index + 1]))
                ring[index] = max(ring[index], ends[index] - read.first)
        new = [Rows(a, b) if b > a else None for a, b in zip(done, ends, strict=True)]
        stripes.append(Stripe(new[0], tuple(new[1:])))
        done = ends
    ring[-1] = 0
    if cascade.streams_input:
        # One more stripe's rows, so that they are loaded while the last ones are read.
        most = max(stripe.loaded.count for stripe in stripes if stripe.loaded is not None)
        ring[0] = min(ring[0] + most, map_shape(chained_input(chain[0]).type).height)
    else:
        ring[0] = 0
    return CascadePlan(tuple(stripes), tuple(ring))


def _ends(chain: Sequence[Layer], end: int, done: Sequence[int]) -> list[int]:
    """For the input and each layer: how many rows there are when the stripe is done."""
    ends = [*done[:-1], end]
    for index in reversed(range(len(chain))):
        new = Rows(done[index + 1], ends[index + 1])
        if new.count > 0:
            ends[index] = max(ends[index], read_rows(chain[index], new).end)
    return ends


def candidates(
    layers: Sequence[Layer],
    kept: frozenset[Value],
    inputs: frozenset[Value],
    peak_layer: int,
    dense: frozenset[Value],
) -> Iterator[Cascade]:
    """Cascades over the layer with the peak, whose intermediate maps nobody else reads.

    `dense`: values that have a buffer of their own, as rings need it.
    """
    readers: dict[Value, int] = {}
    for layer in layers:
        for value in layer.inputs:
            readers[value] = readers.get(value, 0) + 1

    def linked(index: int) -> bool:
        before, layer = layers[index - 1], layers[index]
        value = before.result
        private = readers.get(value, 0) == 1 and value not in kept and value in dense
        return private and can_follow(before, layer)

    low = peak_layer
    while low > 0 and linked(low):
        low -= 1
    high = peak_layer
    while high + 1 < len(layers) and linked(high + 1):
        high += 1
    for first in range(low, peak_layer + 1):
        source = chained_input(layers[first])
        streams = source in inputs and readers[source] == 1 and source in dense
        for last in range(max(peak_layer, first), high + 1):
            if first == last and not streams:
                continue
            for rows in (1, 2, 4, 8, 16):
                if rows < layers[last].shape.height:
                    yield Cascade(first, last, rows, streams)


def ring_values(
    layers: Sequence[Layer], cascade: Cascade, plan: CascadePlan
) -> Mapping[Value, int]:
    """Rows of the ring of each value that lives in one."""
    chain = layers[cascade.first : cascade.last + 1]
    values = [chained_input(chain[0]), *(layer.result for layer in chain)]
    return {value: rows for value, rows in zip(values, plan.ring_rows, strict=True) if rows}
