"""A guess of how long a schedule takes: the queue that is busy for longer, waiting for nothing.

It tells which coding of weights suits a segment that is too large to try them all.
"""

from lepton_cc.codegen.npu.layers import ConvLayer, map_shape
from lepton_cc.codegen.npu.machine import RATE_UNIT, Machine
from lepton_cc.codegen.npu.schedule import Schedule
from lepton_cc.codegen.npu.tasks import Blob, ComputeTask, LoadTask, StoreTask
from lepton_cc.codegen.npu.tilings import Tilings


def least_cycles(machine: Machine, tilings: Tilings, schedule: Schedule) -> int:
    """Cycles of the compute queue or of the DMA queue, whichever are more.

    Of computation only convolutions count, the rest being the same for all codings.
    """
    computing = moved = 0
    constants: set[Blob] = set()
    for task in schedule.tasks:
        if isinstance(task, ComputeTask):
            constants.update(task.blobs)
            computing += _convolution(tilings, schedule, task)
        elif isinstance(task, LoadTask | StoreTask):
            shape = map_shape(task.value.type)
            moved += task.rows.count * shape.width * shape.channels
    read = sum(len(blob.content) for blob in constants)
    system = machine.system
    transfers = read * RATE_UNIT // system.constants.rate + moved * RATE_UNIT // system.system.rate
    return max(computing, transfers)


def _convolution(tilings: Tilings, schedule: Schedule, task: ComputeTask) -> int:
    if not isinstance(task.layer, ConvLayer):
        return 0
    encoded = task.slices[0].encoded
    assert encoded is not None
    return tilings.cycles(
        task,
        in_weight_buffer=task.slices[0] not in schedule.staged,
        encoding=encoded.encoding,
    )
