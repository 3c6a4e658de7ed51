"""The cycle equation of one packet (docs/lepton-npu.md, section 8): pure arithmetic on its fields.

The scheduler chooses modes and tiles by it, the estimate adds it up, and the emulator in
`runtime_c` computes the same function in C.
"""

from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.family import ArrayMode, DepthwiseMode, Reduction
from lepton_cc.codegen.npu.isa.packets import Elementwise, Encoding, Epilogue, Opcode
from lepton_cc.codegen.npu.isa.regions import INTERNAL, Region
from lepton_cc.codegen.npu.machine import COST_UNIT, RATE_UNIT, Machine, Port

_MIN_RUN_BYTES = 4
_CONSTANT_REGIONS = frozenset({Region.STREAM, Region.CONSTANTS})


class ExceedsCapacity(ValueError):
    """The accumulators hold no tile of this packet: fault EXCEEDS_CAPACITY."""


@dataclass(frozen=True, slots=True)
class PacketCycles:
    """Terms of the equation, and what the counters count."""

    setup: int
    array: int = 0
    epilogue: int = 0
    scratchpad: int = 0
    weights: int = 0
    transfer: int = 0  # DMA
    macs: int = 0
    outputs: int = 0
    scratchpad_bytes: int = 0
    weights_decoded: int = 0

    @property
    def total(self) -> int:
        """Cycles from begin to completion."""
        busy = max(self.array, self.epilogue, self.scratchpad, self.weights)
        return self.setup + busy + self.transfer


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient, rounded up."""
    return -(-numerator // denominator)


@dataclass(frozen=True, slots=True)
class _Geometry:
    """A windowed packet as the equation sees it."""

    height: int  # computed rows
    width: int
    ifm_channels: int
    ofm_channels: int
    groups: int
    taps: int
    touched_rows: int
    touched_columns: int
    held_rows: int  # rows of input that an output row needs
    kernel_height: int
    ifm_width: int


def _touched(size: int, count: int, stride: int, extent: int, upsample: int) -> int:
    if upsample > 1:
        return size
    return min(size, (count - 1) * min(stride, extent) + extent)


def _geometry(packet: Packet) -> _Geometry:
    get = packet.integer
    scale = 2 if get("epilogue") & Epilogue.POOL2X2 else 1
    height, width = get("ofm_height") * scale, get("ofm_width") * scale
    dilation_y, dilation_x = get("dilation_y") or 1, get("dilation_x") or 1
    held_rows = (get("kernel_height") - 1) * dilation_y + 1
    held_columns = (get("kernel_width") - 1) * dilation_x + 1
    upsample_y, upsample_x = get("upsample_y") or 1, get("upsample_x") or 1
    return _Geometry(
        height,
        width,
        get("ifm_channels"),
        get("ofm_channels"),
        get("groups") or 1,
        get("kernel_height") * get("kernel_width"),
        _touched(get("ifm_height"), height, get("stride_y"), held_rows, upsample_y),
        _touched(get("ifm_width"), width, get("stride_x"), held_columns, upsample_x),
        held_rows,
        get("kernel_height"),
        get("ifm_width"),
    )


def _pixel_steps(mode: ArrayMode | DepthwiseMode, height: int, width: int) -> int:
    if mode.rows == 1:
        return ceil_div(height * width, mode.columns)
    return ceil_div(height, mode.rows) * ceil_div(width, mode.columns)


def _reduction_steps(mode: ArrayMode, taps: int, channels: int) -> int:
    if mode.reduction is Reduction.FLATTENED:
        return ceil_div(taps * channels, mode.depth)
    if mode.reduction is Reduction.BY_TAP:
        return 4 * taps * ceil_div(channels, 4 * mode.depth)
    return 4 * ceil_div(taps, 4) * ceil_div(channels, mode.depth)


def _conv_array(mode: ArrayMode, g: _Geometry, taps: int, channels: int) -> int:
    tiles = ceil_div(g.ofm_channels // g.groups, mode.outputs)
    steps = _pixel_steps(mode, g.height, g.width) * _reduction_steps(mode, taps, channels)
    return g.groups * tiles * steps


def _depthwise_array(mode: DepthwiseMode, g: _Geometry, channels: int) -> int:
    tiles = ceil_div(channels, mode.channels)
    steps = _pixel_steps(mode, g.height, g.width) * ceil_div(g.taps, mode.taps)
    return tiles * steps * mode.cycles


def _passes(machine: Machine, mode: ArrayMode, pixels: int, outputs: int) -> int:
    """How often the weights are decoded: once for each block of pixels in the accumulators."""
    block = machine.member.accumulators // (mode.outputs * ceil_div(outputs, mode.outputs))
    if block < mode.rows * mode.columns:
        raise ExceedsCapacity(f"{outputs} output channels in mode {mode}")
    return ceil_div(pixels, block)


def _decode(machine: Machine, weights: int, encoding: int) -> int:
    divisor = machine.prefix_divisor if encoding == Encoding.PREFIX else 1
    return ceil_div(weights, machine.member.decoder_weights) * divisor


def _spm(machine: Machine, num_bytes: int) -> int:
    return ceil_div(num_bytes * RATE_UNIT, machine.spm_rate)


def _slice_traffic(machine: Machine, packet: Packet, prefix: str, passes: int) -> int:
    """Bytes of a weight slice that the scratchpad's memory has to give."""
    in_spm = packet.address(f"{prefix}address").region is Region.SPM
    if in_spm or machine.system.shared:
        return passes * packet.integer(f"{prefix}bytes")
    return 0


def _input_bytes(machine: Machine, g: _Geometry, channels_held: int) -> int:
    fits = g.held_rows * g.ifm_width * channels_held <= machine.member.line_buffer_bytes
    reads = 1 if g.held_rows == 1 or fits else g.kernel_height
    return reads * g.touched_rows * g.touched_columns * g.ifm_channels


def _epilogue(machine: Machine, units: int) -> int:
    return ceil_div(units, COST_UNIT)


def _convolution(machine: Machine, packet: Packet) -> PacketCycles:
    g = _geometry(packet)
    costs, flags, pixels = machine.costs, packet.integer("epilogue"), g.height * g.width
    stored = packet.integer("ofm_height") * packet.integer("ofm_width") * g.ofm_channels
    encoding = packet.integer("encoding")
    depthwise = packet.opcode is not Opcode.CONV
    held, staged = g.ifm_channels, 0
    array = weights = decoded = macs = slices = 0
    if depthwise:
        field = "mode" if packet.opcode is Opcode.DEPTHWISE else "stage_mode"
        mode = machine.member.depthwise_modes[packet.integer(field)]
        held = mode.channels
        array += _depthwise_array(mode, g, g.ifm_channels)
        decoded += g.taps * g.ifm_channels
        macs += pixels * g.taps * g.ifm_channels
    if packet.opcode is Opcode.DEPTHWISE:
        weights += _decode(machine, g.taps * g.ifm_channels, encoding)
        slices += _slice_traffic(machine, packet, "weights_", 1)
    if packet.opcode is Opcode.SEPARABLE:
        staged = g.ifm_channels
        weights += _decode(machine, g.taps * g.ifm_channels, packet.integer("stage_encoding"))
        slices += _slice_traffic(machine, packet, "stage_weights_", 1)
    if packet.opcode is not Opcode.DEPTHWISE:
        array_mode = machine.member.modes[packet.integer("mode")]
        channels = g.ifm_channels // g.groups
        taps = 1 if staged else g.taps
        array += _conv_array(array_mode, g, taps, channels)
        passes = _passes(machine, array_mode, pixels, g.ofm_channels // g.groups)
        count = g.ofm_channels * taps * channels
        weights += passes * _decode(machine, count, encoding)
        slices += _slice_traffic(machine, packet, "weights_", passes)
        decoded += passes * count
        macs += pixels * count
    units = pixels * (g.ofm_channels + staged) * costs.requantize
    residual = stored if flags & Epilogue.RESIDUAL else 0
    units += residual * costs.fused_add
    units += pixels * g.ofm_channels * costs.fused_table if flags & Epilogue.TABLE else 0
    traffic = _input_bytes(machine, g, held) + stored + residual + slices
    return PacketCycles(
        machine.setup_cycles,
        array=array,
        epilogue=_epilogue(machine, units),
        scratchpad=_spm(machine, traffic),
        weights=weights,
        macs=macs,
        outputs=stored,
        scratchpad_bytes=traffic,
        weights_decoded=decoded,
    )


def _matmul(machine: Machine, packet: Packet) -> PacketCycles:
    get = packet.integer
    mode = machine.member.modes[get("mode")]
    batch, rows, columns, depth = get("batch"), get("rows"), get("columns"), get("depth")
    passes = _passes(machine, mode, rows, columns)
    steps = _pixel_steps(mode, 1, rows) if mode.rows == 1 else _pixel_steps(mode, rows, 1)
    array = batch * steps * ceil_div(columns, mode.outputs) * _reduction_steps(mode, 1, depth)
    traffic = batch * (rows * depth + passes * depth * columns + rows * columns)
    outputs = batch * rows * columns
    cost = machine.costs.requantize
    cost += machine.costs.fused_table if get("epilogue") & Epilogue.TABLE else 0
    return PacketCycles(
        machine.setup_cycles,
        array=array,
        epilogue=_epilogue(machine, outputs * cost),
        scratchpad=_spm(machine, traffic),
        weights=batch * passes * _decode(machine, depth * columns, Encoding.RAW8),
        macs=outputs * depth,
        outputs=outputs,
        scratchpad_bytes=traffic,
        weights_decoded=batch * passes * depth * columns,
    )


def _pool(machine: Machine, packet: Packet) -> PacketCycles:
    g = _geometry(packet)
    mode = machine.member.depthwise_modes[packet.integer("mode")]
    stored = g.height * g.width * g.ofm_channels
    traffic = _input_bytes(machine, g, mode.channels) + stored
    cost = machine.costs.requantize
    cost += machine.costs.fused_table if packet.integer("epilogue") & Epilogue.TABLE else 0
    return PacketCycles(
        machine.setup_cycles,
        array=_depthwise_array(mode, g, g.ifm_channels),
        epilogue=_epilogue(machine, stored * cost),
        scratchpad=_spm(machine, traffic),
        outputs=stored,
        scratchpad_bytes=traffic,
    )


def _elementwise(machine: Machine, packet: Packet) -> PacketCycles:
    get, costs = packet.integer, machine.costs
    elements = get("height") * get("width") * get("channels")
    rows = get("height") if get("rhs_row_stride") else 1
    columns = get("width") if get("rhs_pixel_stride") else 1
    repeated = rows * columns * (1 if get("rhs_repeats_channel") else get("channels"))
    traffic = 2 * elements + repeated
    cost = costs.add if get("kind") == Elementwise.ADD else costs.mul
    cost += costs.fused_table if get("epilogue") & Epilogue.TABLE else 0
    return PacketCycles(
        machine.setup_cycles,
        epilogue=_epilogue(machine, elements * cost),
        scratchpad=_spm(machine, traffic),
        outputs=elements,
        scratchpad_bytes=traffic,
    )


def _table(machine: Machine, packet: Packet) -> PacketCycles:
    get = packet.integer
    elements = get("height") * get("width") * get("channels")
    return PacketCycles(
        machine.setup_cycles,
        epilogue=_epilogue(machine, elements * machine.costs.table),
        scratchpad=_spm(machine, 2 * elements),
        outputs=elements,
        scratchpad_bytes=2 * elements,
    )


def _port(machine: Machine, region: Region) -> Port:
    if region in INTERNAL:
        return Port(machine.spm_rate, 0)
    if region in _CONSTANT_REGIONS:
        return machine.system.constants
    return machine.system.system


def _dma(machine: Machine, packet: Packet) -> PacketCycles:
    get = packet.integer
    target = packet.address("target").region
    source = target if get("fill") else packet.address("source").region
    read, written = _port(machine, source), _port(machine, target)
    runs = get("count1") * get("count2") * get("count3")
    num_bytes = runs * max(get("run_bytes"), _MIN_RUN_BYTES)
    rate = min(read.rate, written.rate)
    copied_inside = source is Region.SPM and target is Region.SPM and not get("fill")
    if copied_inside:
        num_bytes *= 2
    latency = (0 if get("fill") else read.latency) + written.latency
    return PacketCycles(0, transfer=latency + ceil_div(num_bytes * RATE_UNIT, rate))


def packet_cycles(machine: Machine, packet: Packet) -> PacketCycles:
    """The terms of a packet; addresses matter only by their region.

    Raises:
        ExceedsCapacity: the mode's tile does not fit into the accumulators.
    """
    match packet.opcode:
        case Opcode.CONV | Opcode.DEPTHWISE | Opcode.SEPARABLE:
            return _convolution(machine, packet)
        case Opcode.MATMUL:
            return _matmul(machine, packet)
        case Opcode.POOL:
            return _pool(machine, packet)
        case Opcode.ELEMENTWISE:
            return _elementwise(machine, packet)
        case Opcode.TABLE:
            return _table(machine, packet)
        case Opcode.DMA:
            return _dma(machine, packet)
        case Opcode.NOP | Opcode.TRACE:
            return PacketCycles(machine.setup_cycles)
        case _:
            return PacketCycles(0)
