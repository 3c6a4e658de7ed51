"""Tiling: into which slices of output channels a convolution is cut, in which array modes.

The cycle equation decides. A slice takes half of the weight buffer at most, so that the next one
is loaded while it is used; what does not fit even so is staged in the scratchpad.
"""

import dataclasses
import enum
from collections.abc import Iterator
from dataclasses import dataclass

from lepton_cc.codegen.npu.convolution_packet import (
    IN_WEIGHT_BUFFER,
    UNPLACED,
    PlacedMap,
    convolution_packet,
)
from lepton_cc.codegen.npu.cycles import ExceedsCapacity, ceil_div, packet_cycles
from lepton_cc.codegen.npu.isa.family import Member
from lepton_cc.codegen.npu.isa.packets import Encoding, Opcode
from lepton_cc.codegen.npu.layers import ConvLayer
from lepton_cc.codegen.npu.layout import dense_layout
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.tasks import Blob, ComputeTask, Rows
from lepton_cc.codegen.npu.weights.slices import CHANNEL_BYTES

_STUB = Blob(b"")
# A staged slice takes room from feature maps, and is loaded later.
_STAGING_COST = 1.03
_STRIPED_STAGING_COST = 16.0
_SPM_SHARE = 10  # a staged slice takes at most this part of the scratchpad


class Staging(enum.Enum):
    """When the slices of a whole layer are staged in the scratchpad.

    WHEN_NEEDED: when the weight buffer holds no slice. WHEN_FASTER: also when packets take less
    time with larger slices; the scratchpad has less room then, and slices are loaded later.
    """

    WHEN_NEEDED = "when needed"
    WHEN_FASTER = "when faster"


@dataclass(frozen=True, slots=True)
class Tiling:
    """Output channels of each slice, modes, where slices are, and the cycles of all packets."""

    slices: tuple[tuple[int, int], ...]
    mode: int
    stage_mode: int
    in_weight_buffer: bool
    cycles: int


def choose_tiling(
    machine: Machine,
    layer: ConvLayer,
    rows: Rows,
    *,
    striped: bool = False,
    staging: Staging = Staging.WHEN_NEEDED,
) -> Tiling | None:
    """The fastest tiling for these rows; None if there is none.

    `striped`: the layer is part of a cascade, in which staged slices stay for all stripes; a slice
    may then fill the weight buffer.

    There always is one for what `select` made, but for separable layers, whose second stage must
    be one slice, and convolutions with more than accumulators / 4 channels in a group.
    """
    candidates = [
        tiling
        for mode, stage_mode in _modes(machine, layer)
        for tiling in _tilings(
            machine, layer, rows, mode, stage_mode, striped=striped, staging=staging
        )
    ]
    return min(
        candidates,
        key=lambda t: (
            t.cycles
            * (1 if t.in_weight_buffer else _STRIPED_STAGING_COST if striped else _STAGING_COST),
            len(t.slices),
            t.mode,
            t.stage_mode,
        ),
        default=None,
    )


def _modes(machine: Machine, layer: ConvLayer) -> Iterator[tuple[int, int]]:
    member = machine.member
    if layer.depthwise:
        yield from ((mode, 0) for mode in range(len(member.depthwise_modes)))
        return
    stages = range(len(member.depthwise_modes)) if layer.stage is not None else range(1)
    yield from ((mode, stage) for mode in range(len(member.modes)) for stage in stages)


def array_width(member: Member, layer: ConvLayer, mode: int) -> int:
    """Output channels that the array computes at a time: the order of a slice's weights."""
    if layer.depthwise:
        return member.depthwise_modes[mode].channels
    return member.modes[mode].outputs


def weights_per_output(layer: ConvLayer) -> int:
    """Weights of the (last) stage that one output channel has."""
    shape = layer.weights.values.shape
    return int(shape[0] * shape[1] * shape[2])


def _tilings(
    machine: Machine,
    layer: ConvLayer,
    rows: Rows,
    mode: int,
    stage_mode: int,
    *,
    striped: bool,
    staging: Staging,
) -> Iterator[Tiling]:
    member = machine.member
    width = array_width(member, layer, mode)
    channel_bytes = CHANNEL_BYTES + weights_per_output(layer)
    outputs = layer.weights.num_outputs
    limits = (
        (True, member.wbuf_bytes // 2),
        *(((True, member.wbuf_bytes),) if striped else ()),
        (False, member.spm_bytes // _SPM_SHARE),
    )
    for in_weight_buffer, limit in limits:
        most = limit // channel_bytes
        # In a cascade, part of the array's width is better than slices that stay for all stripes.
        most = most if striped and in_weight_buffer and most < width else most // width * width
        whole = outputs * channel_bytes <= limit
        if layer.groups > 1 or layer.stage is not None:
            count = 1 if whole or not in_weight_buffer else 0
        elif whole:
            count = 1
        else:
            count = ceil_div(outputs, most) if most else 0
        if not count and not in_weight_buffer and width == min(m.outputs for m in member.modes):
            count = ceil_div(outputs, width)
        if not count or (layer.stage is not None and not in_weight_buffer):
            continue
        found = False
        for pieces in _finer(count, layer, outputs, width):
            tiling = _evaluated(
                machine, layer, rows, mode, stage_mode, pieces, width, in_weight_buffer
            )
            if tiling is not None:
                found = True
                yield tiling
        if found and (striped or staging is Staging.WHEN_NEEDED):
            return


def _finer(count: int, layer: ConvLayer, outputs: int, width: int) -> Iterator[int]:
    """Numbers of slices worth a try: fewer channels leave the accumulators room for more pixels.

    Weights are then decoded less often, and the input is read more often.
    """
    yield count
    if layer.groups > 1 or layer.stage is not None or layer.depthwise:
        return
    for factor in (2, 4, 8):
        if count * factor * width <= outputs:
            yield count * factor


def _evaluated(
    machine: Machine,
    layer: ConvLayer,
    rows: Rows,
    mode: int,
    stage_mode: int,
    count: int,
    width: int,
    in_weight_buffer: bool,
) -> Tiling | None:
    outputs = layer.weights.num_outputs
    each = ceil_div(outputs, count)
    each = each if count == 1 or each < width else ceil_div(each, width) * width
    slices = tuple((o, min(o + each, outputs)) for o in range(0, outputs, each))
    cycles: dict[int, int] = {}
    total = 0
    for first, end in slices:
        size = end - first
        if size not in cycles:
            task = ComputeTask(layer, rows, first, end, mode, stage_mode, table=_STUB)
            try:
                cycles[size] = task_cycles(machine, task, in_weight_buffer=in_weight_buffer)
            except ExceedsCapacity:
                return None
        total += cycles[size]
    return Tiling(slices, mode, stage_mode, in_weight_buffer, total)


def task_cycles(
    machine: Machine,
    task: ComputeTask,
    *,
    in_weight_buffer: bool = True,
    encoding: Encoding = Encoding.RAW8,
) -> int:
    """Cycles of a convolution tile whose weights, of a size as if raw, are in an encoding.

    Raises:
        ExceedsCapacity: the accumulators do not hold it.
    """
    layer = task.layer
    assert isinstance(layer, ConvLayer)
    result = PlacedMap(dense_layout(layer.result), UNPLACED)
    residual = result if layer.residual is not None else None
    x = PlacedMap(dense_layout(layer.x), UNPLACED)
    place = IN_WEIGHT_BUFFER if in_weight_buffer else UNPLACED
    stubbed = dataclasses.replace(
        task, slices=(_STUB, _STUB), table=None if task.table is None else _STUB
    )
    packet = convolution_packet(stubbed, x, result, residual, {_STUB: place})
    size = (task.end_output - task.first_output) * (CHANNEL_BYTES + weights_per_output(layer))
    fields = {**packet.fields, "weights_bytes": size, "encoding": encoding}
    if packet.opcode is Opcode.SEPARABLE and layer.stage is not None:
        fields["stage_weights_bytes"] = layer.stage.weights.values.size
    return packet_cycles(machine, dataclasses.replace(packet, fields=fields)).total
