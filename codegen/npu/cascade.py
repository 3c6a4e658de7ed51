"""Cascades: runs of layers computed stripe by stripe, so that no map between them exists whole.

Each intermediate map lives in a ring of rows. For every stripe of the last layer's rows, each
layer computes the rows that are new; no row is computed twice.
"""

from collections import Counter
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

STRIPED = ConvLayer | PoolLayer | TableLayer | ElementwiseLayer
"""Layers that compute any rows of their result from some rows of their inputs."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Layers [first, last] of a segment, in stripes of `rows` rows of the last one's result.

    `streamed`: values from outside that are loaded row by row too; with `stores` the result is
    stored row by row. `stages`: the scratchpad holds all weights that the weight buffer does not,
    so that none is loaded for every stripe anew.
    """

    first: int
    last: int
    rows: int
    streamed: frozenset[Value]
    stores: bool
    stages: bool = False


@dataclass(frozen=True, slots=True)
class Stripe:
    """Rows to load of streamed values, to compute of each layer (None: nothing new), to store."""

    loaded: tuple[tuple[Value, Rows], ...]
    computed: tuple[Rows | None, ...]


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """All stripes, and how many rows the ring of each value holds that lives in one."""

    stripes: tuple[Stripe, ...]
    ring_rows: Mapping[Value, int]


def chained_input(layer: Layer) -> Value:
    """The map that a layer of a cascade gets from the one before."""
    return layer.inputs[0]


def can_follow(before: Layer, layer: Layer) -> bool:
    """Whether `layer` can consume the rows of `before` as they are made."""
    if not (isinstance(layer, STRIPED) and isinstance(before, STRIPED)):
        return False
    return layer.inputs.count(before.result) == 1 and chained_input(layer) == before.result


def repeated_rows(layers: Sequence[Layer]) -> frozenset[Value]:
    """Operands of one row that stands for all rows: there is no row of them for each stripe."""
    return frozenset(
        value
        for layer in layers
        if isinstance(layer, ElementwiseLayer)
        for value in layer.inputs
        if map_shape(value.type).height < layer.shape.height
    )


def read_rows(layer: Layer, rows: Rows, position: int = 0) -> Rows:
    """The rows of an input that rows of the result need; windows slide over the first input."""
    if position == 0 and isinstance(layer, ConvLayer):
        return needed_rows(layer, rows)
    if position == 0 and isinstance(layer, PoolLayer):
        stride, pad = layer.window.stride[0], layer.window.pad[0]
        first = max(rows.first * stride - pad, 0)
        end = (rows.end - 1) * stride - pad + layer.window.kernel[0]
        return Rows(first, min(end, map_shape(layer.x.type).height))
    return rows


def plan_cascade(layers: Sequence[Layer], cascade: Cascade) -> CascadePlan:
    """The stripes of a cascade of these layers (all of the segment's)."""
    chain = layers[cascade.first : cascade.last + 1]
    planner = _Planner(chain, cascade)
    for begin in range(0, chain[-1].shape.height, cascade.rows):
        planner.advance(min(begin + cascade.rows, chain[-1].shape.height))
    return CascadePlan(tuple(planner.stripes), planner.ring_rows())


class _Planner:
    """The rows made so far, of the chain's input (index 0) and of each layer's result."""

    def __init__(self, chain: Sequence[Layer], cascade: Cascade) -> None:
        self.stripes: list[Stripe] = []
        self._chain = chain
        self._cascade = cascade
        self._done = [0] * (len(chain) + 1)
        self._held = [0] * (len(chain) + 1)
        self._most = [0] * (len(chain) + 1)  # rows that one stripe adds

    def advance(self, end: int) -> None:
        """Adds the stripe after which the last result has `end` rows."""
        done, chain = self._done, self._chain
        ends = [*done[:-1], end]
        for index in reversed(range(len(chain))):
            if ends[index + 1] > done[index + 1]:
                new = Rows(done[index + 1], ends[index + 1])
                read = read_rows(chain[index], new)
                ends[index] = max(ends[index], read.end)
                # A window that skips rows reads from behind the first new row on.
                oldest = min(read.first, done[index])
                self._held[index] = max(self._held[index], ends[index] - oldest)
        new_rows = [Rows(a, b) if b > a else None for a, b in zip(done, ends, strict=True)]
        for index, rows in enumerate(new_rows):
            if rows is not None:
                self._most[index] = max(self._most[index], rows.count)
        self.stripes.append(Stripe(tuple(self._loads(new_rows)), tuple(new_rows[1:])))
        self._done = ends

    def _loads(self, new_rows: Sequence[Rows | None]) -> Iterator[tuple[Value, Rows]]:
        source = chained_input(self._chain[0])
        if source in self._cascade.streamed and new_rows[0] is not None:
            yield source, new_rows[0]
        for layer, rows in zip(self._chain, new_rows[1:], strict=True):
            for value in layer.inputs[1:]:
                if value in self._cascade.streamed and rows is not None:
                    yield value, rows

    def ring_rows(self) -> dict[Value, int]:
        """Rows of each ring; what is loaded or stored gets room for a stripe more."""
        cascade, chain = self._cascade, self._chain
        rings = {
            layer.result: held for layer, held in zip(chain[:-1], self._held[1:-1], strict=True)
        }
        source = chained_input(chain[0])
        if source in cascade.streamed:
            height = map_shape(source.type).height
            rings[source] = min(self._held[0] + self._most[0], height)
        for layer, most in zip(chain, self._most[1:], strict=True):
            for value in layer.inputs[1:]:
                if value in cascade.streamed:
                    rings[value] = min(2 * most, map_shape(value.type).height)
        if cascade.stores:
            rings[chain[-1].result] = min(2 * self._most[-1], chain[-1].shape.height)
        return rings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What cascades may do with the values of a segment.

    kept: values that are stored outside; inputs: values that come from outside; dense: values with
    a buffer of their own, as rings need it; outside: values that do not stay in the scratchpad,
    whose readers and makers must stream them.
    """

    kept: frozenset[Value]
    inputs: frozenset[Value]
    dense: frozenset[Value]
    outside: frozenset[Value]


def candidates(layers: Sequence[Layer], around: Surroundings, peak_layer: int) -> Iterator[Cascade]:
    """Cascades over the layer with the peak, whose intermediate maps nobody else reads."""
    if not isinstance(layers[peak_layer], STRIPED):
        return
    readers = Counter(value for layer in layers for value in layer.inputs)

    def linked(index: int) -> bool:
        value = layers[index - 1].result
        private = readers[value] == 1 and value not in around.kept and value in around.dense
        return private and can_follow(layers[index - 1], layers[index])

    low = peak_layer
    while low > 0 and linked(low):
        low -= 1
    high = peak_layer
    while high + 1 < len(layers) and linked(high + 1):
        high += 1
    for first in range(low, peak_layer + 1):
        for last in range(peak_layer, high + 1):
            chain = layers[first : last + 1]
            streamed = streamable(chain, around, readers)
            stores = chain[-1].result in around.outside
            if first == last and not streamed and not stores:
                continue
            for rows in (1, 2, 4, 8, 16):
                if rows < layers[last].shape.height:
                    yield Cascade(first, last, rows, streamed, stores)


def streamable(
    chain: Sequence[Layer], around: Surroundings, readers: Mapping[Value, int]
) -> frozenset[Value]:
    """The inputs of a chain that come from outside and that nobody else reads."""
    made = {layer.result for layer in chain}
    sides = (value for layer in chain for value in layer.inputs[1:])
    values = {chained_input(chain[0]), *sides} - repeated_rows(chain)
    return frozenset(
        value
        for value in values
        if value in around.inputs
        and value not in made
        and readers[value] == 1
        and value in around.dense
    )
