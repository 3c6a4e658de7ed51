"""The emulator's cycle equation is that of `codegen/npu/cycles.py`, for all three profiles."""

import ctypes
import random
from dataclasses import asdict

import pytest

from lepton_cc.codegen.npu.cycles import ExceedsCapacity, PacketCycles, packet_cycles
from lepton_cc.codegen.npu.isa.assemble import Packet, decode_packet, encode_packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.machine import Machine, Port, System, native, parity, u55_clone
from lepton_cc.npu import abi
from tests.lepton_cc.npu.random_packets import random_opcode, random_shapes

PLAIN = System("plain", "two ports", Port(16, 30), Port(64, 12))
SHARED = System("shared", "constants in the scratchpad's memory", Port(128, 3), Port(8, 0), True)

MACHINES = {
    **{f"native-{macs}": native(macs, PLAIN) for macs in (64, 128, 256, 1024)},
    **{f"parity-{macs}": parity(macs, SHARED) for macs in (128, 256)},
    **{f"u55-clone-{macs}": u55_clone(macs, SHARED) for macs in (128, 256)},
}


def emulated(config: abi.Config, packet: Packet) -> PacketCycles | None:
    """The terms of a packet as C computes them; None: the accumulators hold no tile."""
    content = encode_packet(packet, 0)
    words = (ctypes.c_uint32 * (len(content) // 4)).from_buffer_copy(content)
    terms = abi.Cycles()
    fits = abi.emulator_library().lpt_packet_cycles(
        ctypes.byref(config), words, ctypes.byref(terms)
    )
    names = asdict(PacketCycles(0))
    return PacketCycles(**{name: getattr(terms, name) for name in names}) if fits else None


def expected(machine: Machine, packet: Packet) -> PacketCycles | None:
    try:
        return packet_cycles(machine, packet)
    except ExceedsCapacity:
        return None


@pytest.mark.parametrize("name", MACHINES)
def test_equation_of_random_packets(name: str) -> None:
    machine = MACHINES[name]
    config = abi.config_of(machine)
    rng = random.Random(name)
    fitting = 0
    for _ in range(1500):
        opcode = random_opcode(rng)
        shapes = random_shapes(rng, machine, opcode, rng.choice((6, 40, 400, 5000)))
        # What a packet holds, not what was asked for: fields that are absent are 0.
        packet, _ = decode_packet(encode_packet(shapes, 0))
        wanted = expected(machine, packet)
        assert emulated(config, packet) == wanted, packet
        fitting += wanted is not None
    assert fitting > 1000


def test_absurd_sizes_take_longer_than_any_watchdog() -> None:
    most = 0xFFFF
    fields = {name: most for name in ("ifm_height", "ifm_width", "ofm_height", "ofm_width")}
    window = {name: 255 for name in ("kernel_height", "kernel_width", "stride_y", "stride_x")}
    shape = {**fields, **window, "ifm_channels": most, "ofm_channels": most}
    terms = emulated(abi.config_of(MACHINES["native-1024"]), Packet(Opcode.POOL, shape))
    assert terms is not None
    assert terms.total >= 1 << 32
