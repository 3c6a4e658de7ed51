"""Where the time goes: seconds of each layer by the hooks of profiled code, or instructions.

On this machine the code itself reads the clock around each kernel call; the emulator of the
control core counts instructions by symbol, of which each kernel has one.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_cc.report import LayerReport

# Long enough for the clock's rate to be known to a few parts in a million.
_MIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class LayerTime:
    """A layer and what it takes: `seconds` on this machine, or `instructions` on an emulated core.

    `share` is its part of the sum over all layers, 0 to 1. A row without a layer is what the
    layers call together: routines of the compiler's library, and the calls between layers.
    """

    layer: LayerReport | None
    name: str
    share: float
    seconds: float | None = None
    instructions: float | None = None

    @property
    def num_macs(self) -> int:
        """Multiply-adds of the layer."""
        return 0 if self.layer is None else self.layer.num_macs

    @property
    def gmacs(self) -> float | None:
        """Billions of multiply-adds a second."""
        return self.num_macs / self.seconds / 1e9 if self.seconds and self.num_macs else None

    @property
    def instructions_per_mac(self) -> float | None:
        """Instructions for each multiply-add."""
        counted = self.instructions is not None and self.num_macs
        return self.instructions / self.num_macs if counted else None  # type: ignore[operator]


def timed_layers(
    call: Callable[[], None],
    ticks: NDArray[np.uint64],
    layers: Sequence[LayerReport],
    num_runs: int,
) -> tuple[LayerTime, ...]:
    """The least time of each layer over runs of `call`, which fills `ticks` (u64[layers + 1])."""
    call()
    first_tick, start = int(ticks[-1]), time.perf_counter()
    least = np.diff(ticks.astype(np.int64))
    runs = 0
    while runs < num_runs or time.perf_counter() - start < _MIN_SECONDS:
        call()
        least = np.minimum(least, np.diff(ticks.astype(np.int64)))
        runs += 1
    seconds_per_tick = (time.perf_counter() - start) / max(1, int(ticks[-1]) - first_tick)
    seconds = np.maximum(least, 0) * seconds_per_tick
    total = float(seconds.sum()) or 1.0
    return tuple(
        LayerTime(layer, layer.operation, float(one) / total, seconds=float(one))
        for layer, one in zip(layers, seconds, strict=True)
    )


def counted_layers(
    by_function: Mapping[str, int], layers: Sequence[LayerReport], name: str
) -> tuple[LayerTime, ...]:
    """Splits an emulated run's instructions; layers that share a kernel share its count evenly."""
    callers = Counter(layer.kernel for layer in layers)
    total = sum(by_function.values()) or 1
    rows = []
    for layer in layers:
        own = by_function.get(f"{name}_{layer.kernel}", 0) / callers[layer.kernel]
        rows.append(LayerTime(layer, layer.operation, own / total, instructions=own))
    kernels = {f"{name}_{kernel}" for kernel in callers}
    rest = {symbol: count for symbol, count in by_function.items() if symbol not in kernels}
    for symbol, count in rest.items():
        rows.append(LayerTime(None, symbol, count / total, instructions=float(count)))
    return tuple(rows)
