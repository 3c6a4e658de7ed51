"""Packets as text: what `lepton inspect` prints of a stream, and what diffs of streams compare."""

from collections.abc import Callable, Mapping

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import (
    Elementwise,
    Encoding,
    Epilogue,
    Opcode,
    Pool,
)

_WINDOWED = frozenset({Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE})


def disassemble(
    packet: Packet, index: int, layers: Mapping[int, str] | None = None
) -> tuple[str, ...]:
    """The packet's lines: `0004 conv  layer 3  ifm spm+0 [32x32x16] ...  wait 1 signal 2`.

    Lines after the first are indented. `layers`: name of each layer's number. Strides are shown
    where a map is not dense, fields that have their usual value are not.
    """
    first, *further = _DESCRIBE.get(packet.opcode, _bare)(packet)
    tokens = [
        f"{name} {','.join(str(bit) for bit in range(8) if mask >> bit & 1)}"
        for name, mask in (("wait", packet.wait), ("signal", packet.signal))
        if mask
    ]
    name = (layers or {}).get(packet.layer)
    layer = [f"layer {packet.layer}" + (f" {name}" if name else "")] if packet.layer else []
    head = f"{index:04d} {packet.opcode.name.lower():<11}"
    line = "  ".join([head, *layer, *([first] if first else []), *tokens]).rstrip()
    return (line, *(" " * 18 + text for text in further))


def _bare(packet: Packet) -> list[str]:
    tag = f"tag {packet.integer('tag')}" if "tag" in packet.format.field_by_name else ""
    return [tag]


def _map(packet: Packet, prefix: str, height: int, width: int, channels: int) -> str:
    get = packet.integer
    text = f"{prefix} {packet.address(f'{prefix}_address')} [{height}x{width}x{channels}]"
    pixel, row = get(f"{prefix}_pixel_stride"), get(f"{prefix}_row_stride")
    if (pixel, row) != (channels, width * channels):
        text += f" strides {row},{pixel}"
    if get(f"{prefix}_ring_rows"):
        text += f" ring {get(f'{prefix}_ring_rows')}@{get(f'{prefix}_ring_start')}"
    return text


def _side(packet: Packet, side: str) -> str:
    get = packet.integer
    return _map(packet, side, get(f"{side}_height"), get(f"{side}_width"), get(f"{side}_channels"))


def _clamp(packet: Packet, low: str = "clamp_low", high: str = "clamp_high") -> str:
    bounds = packet.integer(low), packet.integer(high)
    return "" if bounds == (-128, 127) else f"clamp {bounds[0]}..{bounds[1]}"


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _window(packet: Packet) -> str:
    get = packet.integer

    def pair(name: str, usual: int) -> str:
        y, x = get(f"{name}_y"), get(f"{name}_x")
        return "" if (y, x) == (usual, usual) else f"{name} {y},{x}"

    dense = packet.opcode is Opcode.POOL
    return _joined(
        f"kernel {get('kernel_height')}x{get('kernel_width')}",
        pair("stride", 1),
        "" if dense else pair("dilation", 1),
        "" if dense else pair("upsample", 1),
        f"pad {get('pad_top')},{get('pad_left')}" if get("pad_top") or get("pad_left") else "",
    )


def _slice(packet: Packet, prefix: str) -> str:
    get = packet.integer
    encoding = Encoding(get(f"{prefix}encoding")).name.lower()
    address, size = packet.address(f"{prefix}weights_address"), get(f"{prefix}weights_bytes")
    return f"{prefix}weights {address} {size} {encoding}  {prefix}mode {get(f'{prefix}mode')}"


def _table_of(packet: Packet) -> str:
    if packet.integer("epilogue") & Epilogue.TABLE:
        return f"table {packet.address('table_address')}"
    return ""


def _convolution(packet: Packet) -> list[str]:
    get = packet.integer
    flags = Epilogue(get("epilogue"))
    groups = f"groups {get('groups')}" if get("groups") != 1 else ""
    points = f"zero points {get('ifm_zero_point')},{get('ofm_zero_point')}"
    lines = [
        f"{_side(packet, 'ifm')} -> {_side(packet, 'ofm')}",
        _joined(_window(packet), groups, points, _clamp(packet)),
        _slice(packet, ""),
    ]
    if packet.opcode is Opcode.SEPARABLE:
        zero = f"stage zero point {get('stage_zero_point')}"
        lines.append(
            _joined(_slice(packet, "stage_"), zero, _clamp(packet, "stage_low", "stage_high"))
        )
    epilogue = [_table_of(packet), "pool 2x2" if flags & Epilogue.POOL2X2 else ""]
    if flags & Epilogue.RESIDUAL:
        shape = (get("ofm_height"), get("ofm_width"), get("ofm_channels"))
        real = packet.binary32
        first = "residual first" if flags & Epilogue.RESIDUAL_FIRST else ""
        scales = f"{real('result_scale'):.9g},{real('residual_scale'):.9g}"
        scales = f"scales {scales} offset {real('add_offset'):.9g}"
        added = _clamp(packet, "add_low", "add_high")
        epilogue = [_map(packet, "residual", *shape), first, scales, added, *epilogue]
    return [*lines, *([_joined(*epilogue)] if any(epilogue) else [])]


def _pool(packet: Packet) -> list[str]:
    get = packet.integer
    kind = Pool(get("kind"))
    scaled = ""
    if kind is Pool.SUM:
        points = f"zero points {get('sum_zero_point')},{get('ofm_zero_point')}"
        scaled = f"scale {packet.binary32('scale'):.9g}  {points}"
    return [
        f"{kind.name.lower()}  {_side(packet, 'ifm')} -> {_side(packet, 'ofm')}",
        _joined(_window(packet), f"mode {get('mode')}", scaled, _clamp(packet), _table_of(packet)),
    ]


def _elementwise(packet: Packet) -> list[str]:
    get, real = packet.integer, packet.binary32
    shape = (get("height"), get("width"), get("channels"))
    other = (*shape[:2], 1) if get("rhs_repeats_channel") else shape
    kind = Elementwise(get("kind"))
    scales = ""
    if kind is Elementwise.ADD:
        scales = f"scales {real('lhs_scale'):.9g},{real('rhs_scale'):.9g}"
    elif kind is Elementwise.MUL:
        points = f"{get('lhs_zero_point')},{get('rhs_zero_point')}"
        scales = f"scale {real('lhs_scale'):.9g}  zero points {points}"
    if scales:
        scales += f"  offset {real('offset'):.9g}"
    operands = f"{_map(packet, 'lhs', *shape)}, {_map(packet, 'rhs', *other)}"
    return [
        f"{kind.name.lower()}  {operands} -> {_map(packet, 'ofm', *shape)}",
        *filter(None, [_joined(scales, _clamp(packet), _table_of(packet))]),
    ]


def _table(packet: Packet) -> list[str]:
    get = packet.integer
    shape = (get("height"), get("width"), get("channels"))
    maps = f"{_map(packet, 'ifm', *shape)} -> {_map(packet, 'ofm', *shape)}"
    return [f"{maps}  table {packet.address('table_address')}"]


def _matmul(packet: Packet) -> list[str]:
    get = packet.integer
    rows, columns, depth = get("rows"), get("columns"), get("depth")

    def matrix(prefix: str, shape: tuple[int, int], strides: tuple[str, str]) -> str:
        steps = ",".join(str(get(f"{prefix}_{stride}_stride")) for stride in strides)
        address = packet.address(f"{prefix}_address")
        return f"{prefix} {address} [{shape[0]}x{shape[1]}] strides {steps}"

    lhs = matrix("lhs", (rows, depth), ("batch", "row"))
    rhs = matrix("rhs", (depth, columns), ("batch", "depth"))
    ofm = matrix("ofm", (rows, columns), ("batch", "row"))
    points = ",".join(str(get(f"{name}_zero_point")) for name in ("lhs", "rhs", "ofm"))
    return [
        f"batch {get('batch')}  {lhs}, {rhs},{get('rhs_column_stride')} -> {ofm}",
        _joined(
            f"mode {get('mode')}",
            f"scale {packet.binary32('scale'):.9g}",
            f"zero points {points}",
            _clamp(packet),
            _table_of(packet),
        ),
    ]


def _dma(packet: Packet) -> list[str]:
    get = packet.integer
    filled = bool(get("fill"))
    source = f"fill {get('fill_byte')}" if filled else str(packet.address("source"))
    text = f"{source} -> {packet.address('target')}  {get('run_bytes')} bytes"
    for loop in (1, 2, 3):
        count = get(f"count{loop}")
        if count != 1:
            steps = f"{get(f'target_stride{loop}')}"
            if not filled:
                steps = f"{get(f'source_stride{loop}')},{steps}"
            text += f" x{count} by {steps}"
    return [text]


def _check(packet: Packet) -> list[str]:
    get = packet.integer
    sizes = [(i, get(f"region{i}_bytes")) for i in range(16)]
    return [
        _joined(
            f"abi {get('abi_major')}.{get('abi_minor')}",
            f"macs {get('macs')}",
            f"capabilities 0x{get('capabilities'):X}",
            f"spm {get('spm_bytes')}",
            f"wbuf {get('wbuf_bytes')}",
        ),
        _joined(
            f"stream {get('stream_bytes')} crc 0x{get('stream_crc'):08X}",
            *(f"region {i}: {size}" for i, size in sizes if size),
            f"writes 0x{get('write_mask'):04X}",
        ),
    ]


_DESCRIBE: dict[Opcode, Callable[[Packet], list[str]]] = {
    **dict.fromkeys(_WINDOWED, _convolution),
    Opcode.POOL: _pool,
    Opcode.ELEMENTWISE: _elementwise,
    Opcode.TABLE: _table,
    Opcode.MATMUL: _matmul,
    Opcode.DMA: _dma,
    Opcode.CHECK: _check,
}
