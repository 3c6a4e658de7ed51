"""Random streams that every device must run: all opcodes, rings, strides, encodings, tokens.

A stream fills the scratchpad with bytes of INPUT0, then runs units, each a load of weights and a
few compute packets, and at last copies the scratchpad to OUTPUT0. Maps lie anywhere, also on each
other: what a packet computes from any bytes is defined.
"""

from dataclasses import dataclass, field

import numpy as np

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet, encode_stream
from lepton_cc.codegen.npu.isa.packets import Elementwise, Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.isa.regions import WRITABLE, Address, Region
from lepton_cc.codegen.npu.isa.registers import ABI_MAJOR, ABI_MINOR
from lepton_cc.codegen.npu.machine import Machine, Port, System, native
from lepton_cc.codegen.npu.semantics.device import capabilities_of
from lepton_cc.codegen.npu.weights.slices import slice_candidates

Fields = dict[str, FieldValue]

SPM_USED = 24 * 1024  # maps; slices that are not in WBUF lie behind
TRACE_BYTES = 64
SYSTEM = System("test", "flash of 1 byte a cycle, memory of 4", Port(16, 20), Port(64, 10))


def machine_of(macs: int) -> Machine:
    """A member of the family in the tests' system."""
    return native(macs, SYSTEM)


@dataclass(frozen=True, slots=True)
class RandomStream:
    """A stream and the contents of the regions that it needs."""

    stream: bytes
    packets: tuple[Packet, ...]  # what follows CHECK
    regions: dict[Region, bytes]

    def memory(self) -> dict[Region, bytearray]:
        """Fresh copies of the regions, to run the stream on."""
        return {region: bytearray(content) for region, content in self.regions.items()}


def check_packet(machine: Machine, regions: dict[Region, bytes]) -> Packet:
    """CHECK for a stream that uses these regions."""
    fields: Fields = {
        "abi_major": ABI_MAJOR,
        "abi_minor": ABI_MINOR,
        "macs": machine.member.macs,
        "capabilities": int(capabilities_of(machine)),
        "spm_bytes": 4 * SPM_USED,
        "wbuf_bytes": machine.member.wbuf_bytes,
        "write_mask": sum(1 << region for region in (*regions, Region.SPM) if region in WRITABLE),
        **{f"region{region}_bytes": len(content) for region, content in regions.items()},
    }
    return Packet(Opcode.CHECK, fields)


def copy(
    source: Address, target: Address, num_bytes: int, wait: int = 0, signal: int = 0
) -> Packet:
    """DMA of one run."""
    fields: Fields = {"source": source, "target": target, "run_bytes": num_bytes}
    loops: Fields = {f"count{i}": 1 for i in (1, 2, 3)}
    return Packet(Opcode.DMA, {**fields, **loops}, wait=wait, signal=signal)


def random_stream(seed: int, machine: Machine, units: int = 3) -> RandomStream:
    """A stream of so many units, the same for a seed."""
    maker = _Maker(np.random.default_rng(seed), machine)
    for unit in range(units):
        maker.unit(unit)
    return maker.finish()


@dataclass(slots=True)
class _Maker:
    rng: np.random.Generator
    machine: Machine
    packets: list[Packet] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)
    wbuf_used: int = 0
    spm_slices: int = 0

    def below(self, limit: int) -> int:
        return int(self.rng.integers(limit))

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def unit(self, number: int) -> None:
        """Compute packets with their loads before them, behind a fence or by tokens."""
        makers = (
            *[self.conv, self.depthwise] * 2,
            *[self.separable if self.machine.separable else self.conv] * 2,
            self.matmul,
            self.elementwise,
            self.elementwise,
            self.pool,
            self.table,
            self.trace,
        )
        first = len(self.packets)
        compute = [makers[self.below(len(makers))]() for _ in range(self.between(1, 3))]
        loads = self.packets[first:]
        del self.packets[first:]
        if self.chance(0.3):
            loads.append(self.strided_dma())
        if self.chance(0.5) or not loads:
            self.packets += [*loads, Packet(Opcode.FENCE, {}), *compute, Packet(Opcode.FENCE, {})]
        else:
            token, back = 1 << number % 4, 16 << number % 4
            loads[-1] = self.with_tokens(loads[-1], 0, token)
            compute[0] = self.with_tokens(compute[0], token, 0)
            compute[-1] = self.with_tokens(compute[-1], compute[-1].wait, back)
            self.packets += [*loads, *compute, self.fill(back)]
        if self.chance(0.2):
            self.packets.append(Packet(Opcode.IRQ, {"tag": self.below(1 << 32)}))
        self.wbuf_used = self.spm_slices = 0

    @staticmethod
    def with_tokens(packet: Packet, wait: int, signal: int) -> Packet:
        return Packet(packet.opcode, packet.fields, packet.layer, wait, signal)

    def fill(self, wait: int) -> Packet:
        size = self.between(1, 40)
        fields: Fields = {
            "target": Address(Region.SPM, self.below(SPM_USED - size)),
            "run_bytes": size,
            **{f"count{i}": 1 for i in (1, 2, 3)},
            "fill": 1,
            "fill_byte": self.below(256),
        }
        return Packet(Opcode.DMA, fields, wait=wait)

    def strided_dma(self) -> Packet:
        """A copy inside the scratchpad or from the input, with strides of either sign."""
        counts = [self.between(1, 4) for _ in range(3)]
        size = self.between(1, 20)
        fields: Fields = {"run_bytes": size, **{f"count{i + 1}": counts[i] for i in range(3)}}
        for name, region in (
            ("source", self.pick(Region.SPM, Region.INPUT0)),
            ("target", Region.SPM),
        ):
            strides = [self.between(-200, 200) for _ in range(3)]
            far = [(c - 1) * s for c, s in zip(counts, strides, strict=True)]
            low, high = sum(min(f, 0) for f in far), sum(max(f, 0) for f in far) + size
            fields[name] = Address(region, self.between(-low, SPM_USED - high))
            fields |= {f"{name}_stride{i + 1}": strides[i] for i in range(3)}
        return Packet(Opcode.DMA, fields)

    def pick(self, *choices: Region) -> Region:
        return choices[self.below(len(choices))]

    def map(self, prefix: str, height: int, width: int, channels: int) -> Fields:
        pixel = channels + (self.below(4) if self.chance(0.3) else 0)
        row = width * pixel + (self.below(9) if self.chance(0.3) else 0)
        ring = height + self.below(3) if self.chance(0.3) else 0
        extent = ((ring or height) - 1) * row + (width - 1) * pixel + channels
        assert extent <= SPM_USED, prefix
        return {
            f"{prefix}_address": Address(Region.SPM, self.below(SPM_USED - extent + 1)),
            f"{prefix}_row_stride": row,
            f"{prefix}_pixel_stride": pixel,
            f"{prefix}_ring_rows": ring,
            f"{prefix}_ring_start": self.below(ring) if ring else 0,
        }

    def scale(self, typical: float) -> float:
        return float(np.float32(typical * 2.0 ** self.rng.uniform(-2, 2)))

    def signed_scale(self) -> float:
        return self.scale(0.7) * (-1 if self.chance(0.3) else 1)

    def clamp(self, low: str = "clamp_low", high: str = "clamp_high") -> Fields:
        if self.chance(0.5):
            return {low: -128, high: 127}
        bounds = sorted((self.between(-128, 127), self.between(-128, 127)))
        return {low: bounds[0], high: bounds[1]}

    def zero_point(self) -> int:
        return self.between(-128, 127) if self.chance(0.9) else self.between(-255, 255)

    def table_fields(self) -> Fields:
        return {"table_address": Address(Region.SPM, self.below(SPM_USED - 256))}

    def weights(self, shape: tuple[int, ...], prefix: str, mode: int, groups: int = 1) -> Fields:
        """Encode random weights, load them to WBUF, and the fields that say so."""
        member = self.machine.member
        spread = [0.4, 3.0, 40.0][self.below(3)]
        drawn = np.rint(self.rng.normal(0, spread, shape)).clip(-128, 127).astype(np.int8)
        if self.chance(0.2):
            drawn = drawn.clip(-8, 7)
        outputs = shape[-1]
        depth = int(np.prod(shape[:-1]))
        middle = 1 / (np.sqrt(depth) * (spread + 0.5))
        scales = np.float32(middle) * self.rng.uniform(0.3, 3, outputs).astype(np.float32)
        biases = self.rng.integers(-1000, 1001, outputs).astype(np.int32)
        depthwise = len(shape) == 3
        tile = member.depthwise_modes[mode].channels if depthwise else member.modes[mode].outputs
        lanes = member.decoder_weights // 8
        found = list(slice_candidates(drawn, scales, biases, tile=tile, groups=groups, lanes=lanes))
        chosen = found[self.below(len(found))]
        address = Address(Region.WBUF, self.wbuf_used)
        if self.wbuf_used + len(chosen.content) > member.wbuf_bytes or self.chance(0.15):
            address = Address(Region.SPM, SPM_USED + self.spm_slices)
            self.spm_slices += len(chosen.content)
        else:
            self.wbuf_used += len(chosen.content)
        source = Address(Region.CONSTANTS, len(self.constants))
        self.constants += chosen.content
        self.packets.append(copy(source, address, len(chosen.content)))
        return {
            f"{prefix}weights_address": address,
            f"{prefix}weights_bytes": len(chosen.content),
            f"{prefix}encoding": int(chosen.encoding),
            f"{prefix}mode": mode,
        }

    def window(self, ofm: tuple[int, int], *, spread: bool) -> Fields:
        """A window over an input of up to 600 pixels; rows beside the input are padding."""
        while True:
            fields = self.any_window(ofm, spread=spread)
            height, width = self.input_size(fields)
            if height * width <= 600:
                return fields

    def any_window(self, ofm: tuple[int, int], *, spread: bool) -> Fields:
        kernel = (self.between(1, 4), self.between(1, 4))
        stride = (self.between(1, 3), self.between(1, 3))
        dilation = (self.between(1, 2), self.between(1, 3)) if spread else (1, 1)
        upsample = (
            (self.between(1, 3), self.between(1, 2)) if self.chance(0.2) and spread else (1, 1)
        )
        pad = tuple(self.between(-1, k) for k in kernel) if spread else (0, 0)
        fields: Fields = {}
        for axis, (side, letter, name) in enumerate(
            (("height", "y", "pad_top"), ("width", "x", "pad_left"))
        ):
            reach = (ofm[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
            size = max(1, (reach - pad[axis] + upsample[axis] - 1) // upsample[axis])
            fields[f"ifm_{side}"] = max(1, size - self.below(2) * (1 if spread else 0))
            fields[f"kernel_{side}"] = kernel[axis]
            fields[f"stride_{letter}"] = stride[axis]
            fields[name] = pad[axis]
            if spread:
                fields[f"dilation_{letter}"] = dilation[axis]
                fields[f"upsample_{letter}"] = upsample[axis]
        return fields

    def convolution(self, channels: int, outputs: int, *, residual: bool = True) -> Fields:
        """All fields of a convolution but the weights and the groups."""
        flags = Epilogue(0)
        ofm = (self.between(1, 6), self.between(1, 7))
        fields: Fields = {}
        if self.chance(0.25):
            flags |= Epilogue.POOL2X2
        elif residual and self.chance(0.35):
            flags |= Epilogue.RESIDUAL
            flags |= Epilogue.RESIDUAL_FIRST if self.chance(0.5) else Epilogue(0)
            fields |= self.map("residual", *ofm, outputs)
            fields |= self.clamp("add_low", "add_high")
            fields["result_scale"] = self.signed_scale()
            fields["residual_scale"] = self.signed_scale()
            fields["add_offset"] = float(np.float32(self.rng.uniform(-60, 60)))
        if self.chance(0.25):
            flags |= Epilogue.TABLE
            fields |= self.table_fields()
        factor = 2 if flags & Epilogue.POOL2X2 else 1
        fields |= self.window((ofm[0] * factor, ofm[1] * factor), spread=True)
        fields |= self.map("ifm", *self.input_size(fields), channels)
        fields |= self.map("ofm", *ofm, outputs)
        fields |= self.clamp()
        fields |= {
            "ifm_channels": channels,
            "ofm_height": ofm[0],
            "ofm_width": ofm[1],
            "ofm_channels": outputs,
            "ofm_zero_point": self.zero_point(),
            "ifm_zero_point": self.zero_point(),
            "epilogue": int(flags),
            "groups": 1,
        }
        return fields

    @staticmethod
    def sizes(fields: Fields, prefix: str) -> tuple[int, int]:
        height, width = fields[f"{prefix}_height"], fields[f"{prefix}_width"]
        assert isinstance(height, int)
        assert isinstance(width, int)
        return height, width

    def input_size(self, fields: Fields) -> tuple[int, int]:
        return self.sizes(fields, "ifm")

    def kernel(self, fields: Fields) -> tuple[int, int]:
        return self.sizes(fields, "kernel")

    def packet(self, opcode: Opcode, fields: Fields) -> Packet:
        return Packet(opcode, fields, layer=self.below(100))

    def conv(self) -> Packet:
        groups = self.between(1, 3) if self.chance(0.3) else 1
        channels, outputs = groups * self.between(1, 9), groups * self.between(1, 12)
        fields = self.convolution(channels, outputs)
        mode = self.below(len(self.machine.member.modes))
        shape = (*self.kernel(fields), channels // groups, outputs)
        fields |= self.weights(shape, "", mode, groups) | {"groups": groups}
        return self.packet(Opcode.CONV, fields)

    def depthwise(self) -> Packet:
        channels = self.between(1, 24)
        fields = self.convolution(channels, channels)
        mode = self.below(len(self.machine.member.depthwise_modes))
        fields |= self.weights((*self.kernel(fields), channels), "", mode)
        return self.packet(Opcode.DEPTHWISE, fields)

    def separable(self) -> Packet:
        channels, outputs = self.between(1, 14), self.between(1, 12)
        fields = self.convolution(channels, outputs)
        member = self.machine.member
        fields |= self.weights((1, 1, channels, outputs), "", self.below(len(member.modes)))
        stage = self.below(len(member.depthwise_modes))
        fields |= self.weights((*self.kernel(fields), channels), "stage_", stage)
        fields |= self.clamp("stage_low", "stage_high") | {"stage_zero_point": self.zero_point()}
        return self.packet(Opcode.SEPARABLE, fields)

    def matmul(self) -> Packet:
        batch, rows, columns, depth = (self.between(1, limit) for limit in (3, 6, 10, 20))
        column_major = self.chance(0.5)
        sizes = {
            "lhs": batch * rows * depth,
            "rhs": batch * columns * depth,
            "ofm": batch * rows * columns,
        }
        fields: Fields = {
            f"{name}_address": Address(Region.SPM, self.below(SPM_USED - size))
            for name, size in sizes.items()
        }
        fields |= {"lhs_row_stride": depth, "lhs_batch_stride": rows * depth}
        fields |= {"ofm_row_stride": columns, "ofm_batch_stride": rows * columns}
        fields |= {
            "rhs_depth_stride": 1 if column_major else columns,
            "rhs_column_stride": depth if column_major else 1,
            "rhs_batch_stride": depth * columns,
        }
        fields |= {"batch": batch, "rows": rows, "columns": columns, "depth": depth}
        fields |= {f"{name}_zero_point": self.zero_point() for name in sizes}
        fields |= {"mode": self.below(len(self.machine.member.modes)), **self.clamp()}
        fields["scale"] = self.scale(0.01 / depth**0.5)
        if self.chance(0.3):
            fields |= {"epilogue": int(Epilogue.TABLE), **self.table_fields()}
        return self.packet(Opcode.MATMUL, fields)

    def elementwise(self) -> Packet:
        height, width, channels = (self.between(1, limit) for limit in (6, 8, 20))
        kind = Elementwise(self.below(4))
        repeats = self.chance(0.2)
        fields = self.map("lhs", height, width, channels) | self.map("ofm", height, width, channels)
        fields |= self.map("rhs", height, width, 1 if repeats else channels)
        for stride in ("rhs_row_stride", "rhs_pixel_stride"):
            if self.chance(0.15):
                fields[stride] = 0
        fields |= {"height": height, "width": width, "channels": channels}
        fields |= {"kind": int(kind), "rhs_repeats_channel": int(repeats), **self.clamp()}
        if kind is Elementwise.ADD:
            fields |= {"lhs_scale": self.signed_scale(), "rhs_scale": self.signed_scale()}
            fields["offset"] = float(np.float32(self.rng.uniform(-60, 60)))
        if kind is Elementwise.MUL:
            fields["lhs_scale"] = self.scale(0.01)
            fields["offset"] = float(self.zero_point())
            fields |= {f"{name}_zero_point": self.zero_point() for name in ("lhs", "rhs")}
        if self.chance(0.3):
            fields |= {"epilogue": int(Epilogue.TABLE), **self.table_fields()}
        return self.packet(Opcode.ELEMENTWISE, fields)

    def pool(self) -> Packet:
        channels, ofm = self.between(1, 20), (self.between(1, 5), self.between(1, 5))
        kind = Pool(self.below(2))
        fields = self.window(ofm, spread=False)
        kernel = self.kernel(fields)
        fields |= {"pad_top": self.below(kernel[0]), "pad_left": self.below(kernel[1])}
        fields |= self.map("ifm", *self.input_size(fields), channels)
        fields |= self.map("ofm", *ofm, channels)
        fields |= {"ifm_channels": channels, "ofm_channels": channels, **self.clamp()}
        fields |= {"ofm_height": ofm[0], "ofm_width": ofm[1], "kind": int(kind)}
        fields["mode"] = self.below(len(self.machine.member.depthwise_modes))
        fields["ofm_zero_point"] = self.zero_point()
        if kind is Pool.SUM:
            fields["sum_zero_point"] = self.between(-2000, 2000)
            fields["scale"] = self.scale(1 / (kernel[0] * kernel[1]))
        if self.chance(0.3):
            fields |= {"epilogue": int(Epilogue.TABLE), **self.table_fields()}
        return self.packet(Opcode.POOL, fields)

    def table(self) -> Packet:
        shape = (self.between(1, 6), self.between(1, 8), self.between(1, 20))
        fields = self.map("ifm", *shape) | self.map("ofm", *shape) | self.table_fields()
        fields |= dict(zip(("height", "width", "channels"), shape, strict=True))
        return self.packet(Opcode.TABLE, fields)

    def trace(self) -> Packet:
        if self.chance(0.5):
            return self.packet(Opcode.NOP, {})
        return self.packet(Opcode.TRACE, {"tag": self.below(1 << 32)})

    def finish(self) -> RandomStream:
        """The whole stream, with the copies of the scratchpad before and after."""
        spm = Address(Region.SPM, 0)
        before = copy(Address(Region.INPUT0, 0), spm, SPM_USED)
        after = copy(spm, Address(Region.OUTPUT0, 0), SPM_USED)
        fence, end = Packet(Opcode.FENCE, {}), Packet(Opcode.END, {})
        packets = (before, fence, *self.packets, fence, after, end)
        # Streams may use fewer constants than a word.
        regions = {
            Region.INPUT0: self.rng.integers(0, 256, SPM_USED, dtype=np.uint8).tobytes(),
            Region.OUTPUT0: bytes(SPM_USED),
            Region.CONSTANTS: bytes(self.constants) + bytes(4),
            Region.TRACE: bytes(TRACE_BYTES),
        }
        stream = encode_stream(check_packet(self.machine, regions), packets)
        return RandomStream(stream, packets, regions)
