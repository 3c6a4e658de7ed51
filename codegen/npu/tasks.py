"""Tasks: a segment as an ordered list of loads, stores, copies and tiles of layers.

`schedule` makes them, `place` gives their buffers addresses, `emit` makes packets of them. A task
becomes one packet, or a few of the same queue.
"""

from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.regions import Address
from lepton_cc.codegen.npu.layers import Layer, MoveLayer
from lepton_cc.codegen.npu.weights.slices import WeightSlice
from lepton_cc.ir.graph import Value


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows [first, end) of a map."""

    first: int
    end: int

    @property
    def count(self) -> int:
        """How many."""
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Brings rows of a value into the scratchpad from `outside`, where it lies dense."""

    value: Value
    outside: Address
    rows: Rows


@dataclass(frozen=True, slots=True)
class StoreTask:
    """Takes rows of a value to `outside`, where it lies dense."""

    value: Value
    outside: Address
    rows: Rows


@dataclass(frozen=True, slots=True)
class CopyTask:
    """Moves bytes inside the scratchpad, for a movement layer that is no view."""

    layer: MoveLayer


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Constant bytes that packets read in the weight buffer or the scratchpad.

    `encoded` is the slice behind them; None for 256-entry tables.
    """

    content: bytes
    encoded: WeightSlice | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ComputeTask:
    """Rows and output channels [first_output, end_output) of a layer, in an array mode.

    `slices`: weights of this tile, of both stages if the layer is separable.
    """

    layer: Layer
    rows: Rows
    first_output: int
    end_output: int
    mode: int
    stage_mode: int = 0
    slices: tuple[Blob, ...] = ()
    table: Blob | None = None

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All constants."""
        return self.slices if self.table is None else (*self.slices, self.table)


Task = LoadTask | StoreTask | CopyTask | ComputeTask


def read_values(task: Task) -> tuple[Value, ...]:
    """What a task reads in the scratchpad."""
    match task:
        case LoadTask():
            return ()
        case StoreTask():
            return (task.value,)
        case CopyTask():
            return task.layer.inputs
        case ComputeTask():
            return task.layer.inputs


def written_values(task: Task) -> tuple[Value, ...]:
    """What a task writes in the scratchpad."""
    match task:
        case LoadTask():
            return (task.value,)
        case StoreTask():
            return ()
        case CopyTask() | ComputeTask():
            return (task.layer.result,)
