"""How large the channels are that matrix products read, measured on all samples."""

from collections.abc import Mapping

import numpy as np

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.quantize.migrate_scales import ChannelSizes, scaled_groups


class _Sizes:
    def __init__(self) -> None:
        self._largest: Array | None = None
        self._squares: Array | None = None
        self._count = 0

    def observe(self, values: Array) -> None:
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
        largest, squares = np.abs(rows).max(axis=0), np.square(rows).sum(axis=0)
        self._count += len(rows)
        self._largest = largest if self._largest is None else np.maximum(self._largest, largest)
        self._squares = squares if self._squares is None else self._squares + squares

    def sizes(self) -> ChannelSizes | None:
        if self._largest is None or self._squares is None:
            return None
        return ChannelSizes(self._largest, self._squares / self._count)


def channel_sizes(graph: Graph, data: CalibrationData) -> Mapping[str, ChannelSizes]:
    """Of every value whose channels can be scaled, by name; without those that are not finite."""
    values = [group.value for group in scaled_groups(graph)]
    if not values:
        return {}
    run = inner_run(graph, values)
    sums = {value.name: _Sizes() for value in values}
    for sample in data.samples():
        for name, array in run(sample).items():
            sums[name].observe(array)
    sizes = {name: one.sizes() for name, one in sums.items()}
    return {
        name: one
        for name, one in sizes.items()
        if one is not None and np.all(np.isfinite(one.squares))
    }
