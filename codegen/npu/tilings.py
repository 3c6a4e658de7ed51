"""Tilings and cycles of tiles on one machine, computed once for all layers of a kind.

Networks repeat their blocks, and a search asks for the same tiles of many schedules.
"""

from lepton_cc.codegen.npu.convolution_packet import needed_rows
from lepton_cc.codegen.npu.isa.packets import Encoding
from lepton_cc.codegen.npu.layers import ConvLayer, MapShape, MapWindow
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.tasks import ComputeTask, Rows
from lepton_cc.codegen.npu.tile import Staging, Tiling, choose_tiling, task_cycles

# All of a layer that the cycle equation reads.
_Kind = tuple[tuple[int, ...], int, MapShape, MapShape, MapWindow, int, bool, bool, bool, bool]


class Tilings:
    """What `choose_tiling` and `task_cycles` give, remembered by the kind of layer."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # The number of each layer's kind; layers keep their identity from being given to others.
        self._numbers: dict[int, tuple[ConvLayer, int]] = {}
        self._kinds: dict[_Kind, int] = {}
        # By kind, rows computed and rows read.
        self._chosen: dict[tuple[int, int, int, bool, Staging], Tiling | None] = {}
        self._cycles: dict[tuple[int, int, int, int, int, int, bool, bool, Encoding], int] = {}

    def choose(
        self,
        layer: ConvLayer,
        rows: Rows,
        *,
        striped: bool = False,
        staging: Staging = Staging.WHEN_NEEDED,
    ) -> Tiling | None:
        """The fastest tiling for these rows; see `choose_tiling`."""
        read = needed_rows(layer, rows)
        key = (self._kind(layer), rows.count, read.count, striped, staging)
        if key not in self._chosen:
            self._chosen[key] = choose_tiling(
                self._machine, layer, rows, striped=striped, staging=staging
            )
        return self._chosen[key]

    def cycles(
        self,
        task: ComputeTask,
        *,
        in_weight_buffer: bool = True,
        encoding: Encoding = Encoding.RAW8,
    ) -> int:
        """Cycles of a convolution tile; see `task_cycles`."""
        layer = task.layer
        assert isinstance(layer, ConvLayer)
        key = (
            self._kind(layer),
            task.rows.count,
            needed_rows(layer, task.rows).count,
            task.end_output - task.first_output,
            task.mode,
            task.stage_mode,
            task.table is None,
            in_weight_buffer,
            encoding,
        )
        if key not in self._cycles:
            self._cycles[key] = task_cycles(
                self._machine, task, in_weight_buffer=in_weight_buffer, encoding=encoding
            )
        return self._cycles[key]

    def _kind(self, layer: ConvLayer) -> int:
        known = self._numbers.get(id(layer))
        if known is None:
            number = self._kinds.setdefault(_kind_of(layer), len(self._kinds))
            known = self._numbers[id(layer)] = (layer, number)
        return known[1]


def _kind_of(layer: ConvLayer) -> _Kind:
    return (
        layer.weights.values.shape,
        0 if layer.stage is None else int(layer.stage.weights.values.size),
        layer.shape,
        layer.input_shape,
        layer.window,
        layer.groups,
        layer.depthwise,
        layer.pool,
        layer.residual is None,
        layer.table is None,
    )
