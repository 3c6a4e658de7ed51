"""Random networks of what the engine executes: the same seed, the same graph."""

from collections.abc import Callable

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.ops.integer import Range
from tests.codegen.npu.small_networks import Network

_MAX_BYTES = 40_000


class _Random:
    """A network, the values to go on from, and the source of choices."""

    def __init__(self, seed: int) -> None:
        self.net = Network(seed)
        self.rng = self.net.rng
        self.values: list[Value] = []

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float = 0.5) -> bool:
        return bool(self.rng.random() < probability)

    def value(self, rank: int | None = None) -> Value | None:
        """Mostly the newest, of a rank if given."""
        fitting = [v for v in self.values if rank in (None, v.type.rank)]
        if not fitting:
            return None
        return fitting[-1] if self.chance(0.7) else fitting[self.integer(0, len(fitting) - 1)]

    def like(self, value: Value) -> Value:
        """A value of the same shape."""
        same = [v for v in self.values if v.type.dims == value.type.dims]
        return same[self.integer(0, len(same) - 1)]

    def range(self) -> Range:
        low, high = sorted(self.integer(-128, 127) for _ in range(2))
        whole = Range.whole(DType.I8, self.integer(-128, 127))
        return whole if self.chance(0.7) else Range(DType.I8, whole.zero_point, low, high)


def _kernel(random: _Random, x: Value, largest: int = 5) -> tuple[int, ...]:
    size = random.integer(1, largest)
    spatial = x.type.dims[1:-1]
    if random.chance(0.3):
        return tuple(random.integer(1, largest) for _ in spatial)
    return (size,) * len(spatial)


def _conv(random: _Random) -> Value | None:
    x = random.value(3 if random.chance(0.1) else 4)
    if x is None or x.type.dims[0] != 1:
        return None
    channels, kernel = x.type.dims[-1], _kernel(random, x)
    dilation = random.integer(1, 3) if random.chance(0.2) else 1
    pads = None
    if random.chance(0.3):
        spans = [(k - 1) * dilation for k in kernel]
        pads = (
            tuple(random.integer(0, s) for s in spans),
            tuple(random.integer(0, s) for s in spans),
        )
        sizes = zip(x.type.dims[1:-1], spans, *pads, strict=True)
        if any(dim + low + high <= span for dim, span, low, high in sizes):
            return None
    groups = random.integer(1, channels) if random.chance(0.15) else 1
    groups = groups if channels % groups == 0 else 1
    outputs = random.integer(1, 70) if random.chance(0.3) else random.integer(1, 24)
    return random.net.conv(
        x,
        -(-outputs // groups) * groups,
        kernel,
        stride=random.integer(1, 3) if random.chance(0.3) else 1,
        dilation=dilation,
        pads=pads,
        groups=groups,
        result=random.range(),
        magnitude=2 if random.chance(0.15) else 127,
    )


def _depthwise(random: _Random) -> Value | None:
    x = random.value(4)
    if x is None or x.type.dims[0] != 1 or x.type.dims[-1] == 1:
        return None
    y = random.net.depthwise(x, _kernel(random, x), stride=random.integer(1, 2))
    if random.chance():
        y = random.net.conv(y, random.integer(1, 40), (1, 1))
    return y


def _residual_block(random: _Random) -> Value | None:
    """A branch of convolutions, added to where it began, in either order."""
    x = random.value(4)
    if x is None or x.type.dims[0] != 1:
        return None
    y = x
    for _ in range(random.integer(1, 2)):
        size = random.integer(1, 3)
        y = random.net.conv(y, x.type.dims[-1], (size, size), result=random.range())
    total = random.net.add(y, x) if random.chance() else random.net.add(x, y)
    return random.net.table(total) if random.chance(0.3) else total


def _conv_transpose(random: _Random) -> Value | None:
    x = random.value(4)
    if x is None or x.type.dims[0] != 1 or x.type.num_elements > 3000:
        return None
    size, stride = random.integer(2, 4), random.integer(1, 3)
    return random.net.conv_transpose(x, random.integer(1, 12), size, stride)


def _sum(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    kinds: tuple[Callable[[Value, Value], Value], ...] = (
        random.net.add,
        random.net.mul,
        random.net.maximum,
    )
    make = kinds[random.integer(0, 2)]
    other = random.like(x)
    if random.chance(0.4):
        starts = tuple(random.integer(0, dim - 1) for dim in x.type.dims)
        sizes = tuple(1 if random.chance() else dim for dim in x.type.dims)
        starts = tuple(0 if s > 1 else a for a, s in zip(starts, sizes, strict=True))
        other = random.net.slice(other, starts, sizes)
    elif random.chance(0.2):
        dims = tuple(1 if random.chance(0.3) else dim for dim in x.type.dims)
        other = random.net.constant(*dims[random.integer(0, x.type.rank - 1) :])
    return make(x, other) if random.chance() else make(other, x)


def _table(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    return random.net.table(x)


def _pool(random: _Random) -> Value | None:
    x = random.value(4)
    if x is None or x.type.dims[0] != 1:
        return None
    size = random.integer(2, 3)
    if min(x.type.dims[1:3]) < size:
        return None
    if random.chance(0.4):
        return random.net.max_pool(random.net.conv(x, random.integer(1, 20)), 2, 2)
    pad = random.integer(0, size - 1) if random.chance(0.4) else 0
    return random.net.max_pool(x, size, random.integer(1, 2), pad)


def _mean(random: _Random) -> Value | None:
    x = random.value(4)
    if x is None or x.type.dims[0] != 1:
        return None
    return random.net.mul(x, random.net.mean(x)) if random.chance(0.6) else random.net.mean(x)


def _dense(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    if x.type.rank != 2 or random.chance():
        x = random.net.reshape(x, 1, x.type.num_elements) if random.chance() else x
    if x.type.rank < 2 or x.type.dims[-1] > 3000:
        return None
    return random.net.dense(x, random.integer(1, 40))


def _product(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    if x.type.rank < 2:
        return None
    order = list(range(x.type.rank))
    order[-2:] = reversed(order[-2:])
    other = random.net.table(random.like(x)) if random.chance() else random.like(x)
    return random.net.product(x, random.net.transpose(other, *order))


def _concat(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    axis = random.integer(0, x.type.rank - 1)
    rest = [d for i, d in enumerate(x.type.dims) if i != axis]
    fitting = [
        v
        for v in random.values
        if v.type.rank == x.type.rank
        and [d for i, d in enumerate(v.type.dims) if i != axis] == rest
    ]
    parts = [fitting[random.integer(0, len(fitting) - 1)] for _ in range(random.integer(1, 2))]
    if random.chance() and x.type.rank == 4 and x.type.dims[0] == 1 and axis == 3:
        parts.append(random.net.conv(x, random.integer(1, 9), (3, 3)))
    if random.chance(0.2):
        dims = list(x.type.dims)
        dims[axis] = random.integer(1, 5)
        parts.append(random.net.constant(*dims))
    return random.net.concat(axis, x, *parts)


def _slice(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    starts, sizes, steps = [], [], []
    for dim in x.type.dims:
        start = random.integer(0, dim - 1) if random.chance(0.3) else 0
        step = random.integer(1, 3) if random.chance(0.15) else 1
        most = (dim - start - 1) // step + 1
        starts.append(start)
        steps.append(step)
        sizes.append(random.integer(1, most) if random.chance(0.3) else most)
    return random.net.slice(x, tuple(starts), tuple(sizes), tuple(steps))


def _pad(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    low, high = (tuple(random.integer(0, 1) for _ in x.type.dims) for _ in range(2))
    return random.net.pad(x, (0, *low[1:]), (0, *high[1:]))


def _transpose(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    return random.net.transpose(x, *(int(i) for i in random.rng.permutation(x.type.rank)))


def _reshape(random: _Random) -> Value | None:
    x = random.value()
    assert x is not None
    dims = list(x.type.dims)
    where = random.integer(0, len(dims) - 1)
    if random.chance() and len(dims) > 2:
        merged = min(where, len(dims) - 2)
        dims[merged : merged + 2] = [dims[merged] * dims[merged + 1]]
    elif len(dims) < 4:
        factor = next((f for f in (3, 2) if dims[where] % f == 0), 1)
        dims[where : where + 1] = [factor, dims[where] // factor]
    return random.net.reshape(x, *dims)


def _gather(random: _Random) -> Value | None:
    """Mostly a nearest resize by an integer; else any elements, also counted from the end."""
    x = random.value()
    assert x is not None
    axis = random.integer(0, x.type.rank - 1)
    size = x.type.dims[axis]
    if random.chance(0.7):
        times = random.integer(2, 3)
        return random.net.gather(x, axis, *(i // times for i in range(times * size)))
    indices = random.rng.integers(-size, size, random.integer(1, 20))
    return random.net.gather(x, axis, *(int(i) for i in indices))


_MAKERS: tuple[tuple[Callable[[_Random], Value | None], int], ...] = (
    (_conv, 8),
    (_depthwise, 4),
    (_residual_block, 5),
    (_conv_transpose, 1),
    (_sum, 3),
    (_table, 2),
    (_pool, 3),
    (_mean, 1),
    (_dense, 1),
    (_product, 1),
    (_concat, 3),
    (_slice, 2),
    (_pad, 1),
    (_transpose, 1),
    (_reshape, 1),
    (_gather, 1),
)


def random_network(seed: int, max_layers: int = 8) -> Graph:
    """A graph of which the engine executes every op, but for broadcasts that `select` refuses."""
    random = _Random(seed)
    for _ in range(random.integer(1, 2)):
        side, channels = random.integer(1, 24), random.integer(1, 20)
        dims: tuple[int, ...] = (1, side, random.integer(1, 24), channels)
        if random.chance(0.1):
            dims = (
                (1, side, channels) if random.chance() else (random.integer(2, 4), side, channels)
            )
        random.values.append(random.net.input(*dims))
    makers = [maker for maker, weight in _MAKERS for _ in range(weight)]
    inputs = len(random.values)
    wanted = random.integer(1, max_layers)
    while len(random.values) - inputs < wanted:
        made = makers[random.integer(0, len(makers) - 1)](random)
        if made is not None and 0 < made.type.num_elements <= _MAX_BYTES:
            random.values.append(made)
    *others, last = random.values[inputs:]
    kept = [value for value in others if value != last and random.chance(0.1)]
    return random.net.finish(last, *dict.fromkeys(kept[:2]))
