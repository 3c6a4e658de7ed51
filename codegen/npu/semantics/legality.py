"""Legal values of the fields (section 6), which are checked when a packet begins."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.npu.isa.family import Member
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import Elementwise, Encoding, Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.isa.regions import RESERVED_REGION, Region
from lepton_cc.codegen.npu.isa.registers import Capability
from lepton_cc.codegen.npu.semantics.packet import EngineFault, HeldPacket

_MAPS = frozenset({int(Region.SPM)})
_TABLES = frozenset({int(Region.SPM), int(Region.WBUF)})
_ANY_REGION = frozenset(range(16)) - {RESERVED_REGION}
_CODED: dict[int, Capability] = {
    Encoding.RAW4: Capability.INT4_WEIGHTS,
    Encoding.PREFIX: Capability.CODED_WEIGHTS,
}
_MAX_TAPS = 4096
_MAX_DEPTH = 33_000
_MAX_ZERO_POINT = 255
_MAX_UPSAMPLE = 4
_ALL_FLAGS = Epilogue.RESIDUAL | Epilogue.RESIDUAL_FIRST | Epilogue.TABLE | Epilogue.POOL2X2


class _Rules:
    """Collects what is broken; the fault is that of the lowest word."""

    def __init__(self, packet: HeldPacket, capabilities: Capability) -> None:
        self.packet = packet
        self.capabilities = capabilities
        self.get = packet.integer
        self._broken: list[int] = []

    def need(self, ok: bool, name: str) -> None:
        """A rule, and the field that is at fault if it does not hold."""
        if not ok:
            self._broken.append(self.packet.word_of(name))

    def between(self, low: int, high: int, *names: str) -> None:
        for name in names:
            self.need(low <= self.get(name) <= high, name)

    def positive(self, *names: str) -> None:
        self.between(1, 1 << 32, *names)

    def zero_points(self, *names: str) -> None:
        self.between(-_MAX_ZERO_POINT, _MAX_ZERO_POINT, *names)

    def clamp(self, low: str, high: str) -> None:
        self.between(-128, 127, low, high)
        self.need(self.get(low) <= self.get(high), high)

    def regions(self, allowed: frozenset[int], *names: str) -> None:
        for name in names:
            self.need(self.packet.region(name) in allowed, name)

    def ring(self, prefix: str, height: int) -> None:
        rows = self.get(f"{prefix}_ring_rows")
        if rows:
            self.need(Capability.RINGS in self.capabilities, f"{prefix}_ring_rows")
            self.need(self.get(f"{prefix}_ring_start") < rows, f"{prefix}_ring_start")
            self.need(height <= rows, f"{prefix}_ring_rows")

    def result(self, width: str, channels: str) -> None:
        """Pixels of a result do not overlap."""
        apart = self.get("ofm_pixel_stride") >= self.get(channels)
        self.need(self.get(width) == 1 or apart, "ofm_pixel_stride")

    def encoding(self, name: str) -> None:
        self.between(0, max(Encoding), name)
        needed = _CODED.get(self.get(name), Capability(0))
        self.need(not needed & ~self.capabilities, name)

    def epilogue(self, allowed: Epilogue) -> Epilogue:
        flags = self.get("epilogue")
        self.need(not flags & ~int(allowed), "epilogue")
        if flags & Epilogue.TABLE:
            self.regions(_TABLES, "table_address")
        return Epilogue(flags & int(_ALL_FLAGS))

    def finish(self) -> None:
        if self._broken:
            raise EngineFault(Fault.ILLEGAL_FIELD, min(self._broken))


def _convolution(rules: _Rules, member: Member) -> None:
    get, opcode = rules.get, rules.packet.opcode
    rules.positive("ifm_height", "ifm_width", "ifm_channels")
    rules.positive("ofm_height", "ofm_width", "ofm_channels", "groups")
    rules.positive("kernel_height", "kernel_width", "stride_y", "stride_x")
    rules.positive("dilation_y", "dilation_x")
    rules.need(get("kernel_height") * get("kernel_width") <= _MAX_TAPS, "kernel_height")
    rules.between(1, _MAX_UPSAMPLE, "upsample_y", "upsample_x")
    rules.zero_points("ofm_zero_point", "ifm_zero_point")
    rules.clamp("clamp_low", "clamp_high")
    rules.regions(_MAPS, "ifm_address", "ofm_address")
    rules.regions(_TABLES, "weights_address")
    rules.encoding("encoding")
    modes = member.depthwise_modes if opcode is Opcode.DEPTHWISE else member.modes
    rules.between(0, len(modes) - 1, "mode")
    if opcode is not Opcode.CONV:
        rules.need(get("groups") == 1, "groups")
    if opcode is Opcode.DEPTHWISE:
        rules.need(get("ofm_channels") == get("ifm_channels"), "ofm_channels")
    groups = max(get("groups"), 1)
    rules.need(not get("ifm_channels") % groups and not get("ofm_channels") % groups, "groups")
    rules.ring("ifm", get("ifm_height"))
    rules.ring("ofm", get("ofm_height"))
    rules.result("ofm_width", "ofm_channels")
    flags = rules.epilogue(_ALL_FLAGS)
    if flags & Epilogue.RESIDUAL:
        rules.need(not flags & Epilogue.POOL2X2, "epilogue")
        rules.regions(_MAPS, "residual_address")
        rules.clamp("add_low", "add_high")
        rules.ring("residual", get("ofm_height"))
    else:
        rules.need(not flags & Epilogue.RESIDUAL_FIRST, "epilogue")
    if opcode is Opcode.SEPARABLE:
        rules.regions(_TABLES, "stage_weights_address")
        rules.encoding("stage_encoding")
        rules.between(0, len(member.depthwise_modes) - 1, "stage_mode")
        rules.zero_points("stage_zero_point")
        rules.clamp("stage_low", "stage_high")


def _matmul(rules: _Rules, member: Member) -> None:
    rules.positive("batch", "rows", "columns")
    rules.between(1, _MAX_DEPTH, "depth")
    rules.regions(_MAPS, "lhs_address", "rhs_address", "ofm_address")
    rules.zero_points("lhs_zero_point", "rhs_zero_point", "ofm_zero_point")
    rules.clamp("clamp_low", "clamp_high")
    rules.between(0, len(member.modes) - 1, "mode")
    rules.epilogue(Epilogue.TABLE)


def _elementwise(rules: _Rules, _member: Member) -> None:
    rules.positive("height", "width", "channels")
    rules.regions(_MAPS, "lhs_address", "rhs_address", "ofm_address")
    rules.between(0, max(Elementwise), "kind")
    rules.zero_points("lhs_zero_point", "rhs_zero_point")
    rules.clamp("clamp_low", "clamp_high")
    rules.epilogue(Epilogue.TABLE)
    for prefix in ("lhs", "rhs", "ofm"):
        rules.ring(prefix, rules.get("height"))
    rules.result("width", "channels")


def _pool(rules: _Rules, member: Member) -> None:
    get = rules.get
    rules.positive("ifm_height", "ifm_width", "ifm_channels")
    rules.positive("ofm_height", "ofm_width", "ofm_channels")
    rules.positive("kernel_height", "kernel_width", "stride_y", "stride_x")
    rules.need(get("ofm_channels") == get("ifm_channels"), "ofm_channels")
    rules.regions(_MAPS, "ifm_address", "ofm_address")
    rules.zero_points("ofm_zero_point")
    rules.clamp("clamp_low", "clamp_high")
    rules.between(0, len(member.depthwise_modes) - 1, "mode")
    rules.between(0, max(Pool), "kind")
    rules.epilogue(Epilogue.TABLE)
    rules.ring("ifm", get("ifm_height"))
    rules.ring("ofm", get("ofm_height"))
    rules.result("ofm_width", "ofm_channels")
    for side, axis in (("height", "y"), ("width", "x")):
        pad = get("pad_top" if axis == "y" else "pad_left")
        starts = np.arange(get(f"ofm_{side}"), dtype=np.int64) * get(f"stride_{axis}") - pad
        ends = starts + get(f"kernel_{side}")
        inside = (starts < get(f"ifm_{side}")) & (ends > 0)
        rules.need(bool(inside.all()), "pad_top" if axis == "y" else "pad_left")


def _table(rules: _Rules, _member: Member) -> None:
    rules.positive("height", "width", "channels")
    rules.regions(_MAPS, "ifm_address", "ofm_address")
    rules.regions(_TABLES, "table_address")
    rules.ring("ifm", rules.get("height"))
    rules.ring("ofm", rules.get("height"))
    rules.result("width", "channels")


def _dma(rules: _Rules, _member: Member) -> None:
    rules.positive("run_bytes", "count1", "count2", "count3")
    rules.regions(_ANY_REGION, "target")
    if not rules.get("fill"):
        rules.regions(_ANY_REGION, "source")


_VALUES: dict[Opcode, Callable[[_Rules, Member], None]] = {
    Opcode.CONV: _convolution,
    Opcode.DEPTHWISE: _convolution,
    Opcode.SEPARABLE: _convolution,
    Opcode.MATMUL: _matmul,
    Opcode.ELEMENTWISE: _elementwise,
    Opcode.POOL: _pool,
    Opcode.TABLE: _table,
    Opcode.DMA: _dma,
}


def check_values(packet: HeldPacket, member: Member, capabilities: Capability) -> None:
    """Raises EngineFault ILLEGAL_FIELD if a value is not legal."""
    if packet.opcode in _VALUES:
        rules = _Rules(packet, capabilities)
        _VALUES[packet.opcode](rules, member)
        rules.finish()


def is_normal(value: float) -> bool:
    """Neither zero nor subnormal in binary32, and finite."""
    return math.isfinite(value) and abs(value) >= float(np.finfo(np.float32).smallest_normal)


@dataclass(frozen=True, slots=True)
class _Scales:
    """The binary32 fields of a packet by what they may be."""

    positive: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    offsets: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def _scales(packet: HeldPacket) -> _Scales:
    opcode = packet.opcode
    if opcode in (Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE):
        if packet.integer("epilogue") & Epilogue.RESIDUAL:
            return _Scales(signed=("result_scale", "residual_scale"), offsets=("add_offset",))
    elif opcode is Opcode.MATMUL:
        return _Scales(positive=("scale",))
    elif opcode is Opcode.POOL:
        summed = packet.integer("kind") == Pool.SUM
        return _Scales(positive=("scale",)) if summed else _Scales(unused=("scale",))
    elif opcode is Opcode.ELEMENTWISE:
        kind = packet.integer("kind")
        if kind == Elementwise.ADD:
            return _Scales(signed=("lhs_scale", "rhs_scale"), offsets=("offset",))
        if kind == Elementwise.MUL:
            return _Scales(positive=("lhs_scale",), unused=("rhs_scale",), offsets=("offset",))
        return _Scales(unused=("lhs_scale", "rhs_scale", "offset"))
    return _Scales()


def check_scales(packet: HeldPacket) -> None:
    """Raises EngineFault BAD_SCALE if a scale or offset in the packet is not legal."""
    kinds = _scales(packet)
    real = packet.binary32
    bad = [n for n in kinds.positive if not (is_normal(real(n)) and real(n) > 0)]
    bad += [n for n in kinds.signed if not is_normal(real(n))]
    bad += [n for n in kinds.offsets if real(n) != 0 and not is_normal(real(n))]
    bad += [n for n in kinds.unused if packet.raw(n)]
    if bad:
        raise EngineFault(Fault.BAD_SCALE, min(packet.word_of(name) for name in bad))
