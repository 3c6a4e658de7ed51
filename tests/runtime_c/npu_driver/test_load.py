"""What lpt_load refuses, under which code, and that it asks no register."""

import ctypes
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.payload import ENTRY_BYTES, HEADER_BYTES, Section
from tests.runtime_c.npu_driver import bindings
from tests.runtime_c.npu_driver.bindings import AlignedBytes, Device, Model, PortInfo, code_name
from tests.runtime_c.npu_driver.payloads import (
    MACS,
    NUM_LAYERS,
    Sample,
    patched,
    repaired,
    section_place,
)

Change = Callable[[bytes], bytes]


def device_for(sample: Sample) -> Device:
    """An engine without registers: whoever reads one crashes."""
    chip = sample.machine.member
    return Device(
        capabilities=0x3F,
        abi_major=1,
        abi_minor=0,
        macs=chip.macs,
        spm_bytes=chip.spm_bytes,
        wbuf_bytes=chip.wbuf_bytes,
    )


def load(driver: ctypes.CDLL, device: Device, payload: bytes, size: int | None = None) -> str:
    memory = AlignedBytes(payload)
    model = Model()
    return code_name(
        driver.lpt_load(
            ctypes.byref(model),
            ctypes.byref(device),
            ctypes.c_void_p(memory.address),
            ctypes.c_uint32(len(payload) if size is None else size),
        )
    )


def word(offset: int, value: int) -> Change:
    """The 32-bit word at a byte offset, with all CRCs made right."""
    return lambda payload: repaired(patched(payload, offset, struct.pack("<I", value)))


def inside(kind: Section, offset: int, content: bytes) -> Change:
    """Bytes of a section, with all CRCs made right."""
    return lambda payload: repaired(
        patched(payload, section_place(payload, kind)[1] + offset, content)
    )


def entry(kind: Section, offset: int, value: int) -> Change:
    """A word of a section's entry, with all CRCs made right."""

    def change(payload: bytes) -> bytes:
        head = patched(payload, section_place(payload, kind)[0] + offset, struct.pack("<I", value))
        return head if offset == 12 else _header_repaired(head)

    return change


def _header_repaired(payload: bytes) -> bytes:
    # Entries may point anywhere now: only the CRC of the header is made right.
    (count,) = struct.unpack_from("<H", payload, 22)
    table_end = HEADER_BYTES + ENTRY_BYTES * count
    head = patched(payload[:table_end], 12, bytes(4))
    return patched(payload, 12, struct.pack("<I", crc32c(head)))


def binding(region: int, binding: int, index: int, attributes: int, size: int) -> Change:
    record = struct.pack("<BBHI", binding, index, attributes, size)
    return inside(Section.SEGMENTS, 16 + 8 * region, record)


def byte(offset: int) -> Change:
    """One byte flipped, nothing repaired."""
    return lambda payload: patched(payload, offset, bytes([payload[offset] ^ 0x40]))


def in_section(kind: Section) -> Change:
    return lambda payload: byte(section_place(payload, kind)[1] + 1)(payload)


REFUSED: tuple[tuple[str, Change, str], ...] = (
    ("magic", word(0, 0x31544C50), "ERROR_BAD_MAGIC"),
    ("container major", word(4, 2), "ERROR_CONTAINER_VERSION"),
    ("container minor", word(4, 1 | 1 << 16), "ERROR_CONTAINER_VERSION"),
    ("cut in the header", lambda p: p[:63], "ERROR_TRUNCATED"),
    ("cut at the end", lambda p: p[:-1], "ERROR_TRUNCATED"),
    ("nothing", lambda p: p[:3], "ERROR_TRUNCATED"),
    ("too many sections", lambda p: patched(p, 22, b"\x08\0"), "ERROR_BAD_HEADER"),
    ("total is odd", lambda p: patched(p, 8, struct.pack("<I", len(p) - 1)), "ERROR_BAD_HEADER"),
    ("table behind the end", lambda p: patched(p, 8, struct.pack("<I", 64)), "ERROR_BAD_HEADER"),
    ("header", byte(45), "ERROR_HEADER_CRC"),
    ("section table", byte(HEADER_BYTES + 5), "ERROR_HEADER_CRC"),
    ("flags", word(40, 1), "ERROR_BAD_HEADER"),
    ("last word", word(60, 1), "ERROR_BAD_HEADER"),
    ("ABI major", word(16, 2 << 16), "ERROR_ABI"),
    ("ABI minor", word(16, 1 << 16 | 1), "ERROR_ABI"),
    ("MACs", lambda p: repaired(patched(p, 20, struct.pack("<H", 256))), "ERROR_MACS"),
    ("capability", word(24, 1 << 6), "ERROR_CAPABILITY"),
    ("scratchpad", word(28, 1 << 30), "ERROR_SPM"),
    ("weight buffer", word(32, 1 << 30), "ERROR_WBUF"),
    ("unknown section", entry(Section.TEST, 0, 8), "ERROR_BAD_SECTION"),
    ("section 0", entry(Section.TEST, 0, 0), "ERROR_BAD_SECTION"),
    ("section twice", entry(Section.TEST, 0, Section.LAYERS), "ERROR_BAD_SECTION"),
    ("section outside", entry(Section.TEST, 4, 1 << 31), "ERROR_BAD_SECTION"),
    ("section in the header", entry(Section.TEST, 4, 16), "ERROR_BAD_SECTION"),
    ("section misaligned", entry(Section.TEST, 8, 0), "ERROR_BAD_SECTION"),
    ("section wraps", entry(Section.TEST, 8, 0xFFFFFFF0), "ERROR_BAD_SECTION"),
    ("sections overlap", entry(Section.STREAM, 8, 1 << 14), "ERROR_BAD_SECTION"),
    *(
        (f"content of {kind.name}", in_section(kind), "ERROR_SECTION_CRC")
        for kind in Section
    ),
    ("no segments", lambda p: _moved(p, Section.SEGMENTS), "ERROR_MISSING_SECTION"),
    ("no constants", lambda p: _moved(p, Section.CONSTANTS), "ERROR_MISSING_SECTION"),
    ("half a segment", lambda p: _shortened(p, Section.SEGMENTS, 8), "ERROR_BAD_SEGMENT"),
    ("half a port", lambda p: _shortened(p, Section.PORTS, 8), "ERROR_BAD_PORT"),
    ("half a layer", lambda p: _shortened(p, Section.LAYERS, 4), "ERROR_BAD_LAYER"),
    ("strings end", lambda p: _shortened(p, Section.STRINGS, 1), "ERROR_BAD_STRINGS"),
    ("test ends", lambda p: _shortened(p, Section.TEST, 1), "ERROR_BAD_TEST"),
    ("stream misaligned", inside(Section.SEGMENTS, 0, b"\x08"), "ERROR_BAD_SEGMENT"),
    ("stream outside", inside(Section.SEGMENTS, 3, b"\x80"), "ERROR_BAD_SEGMENT"),
    ("stream too long", inside(Section.SEGMENTS, 7, b"\x80"), "ERROR_BAD_SEGMENT"),
    ("stream is empty", inside(Section.SEGMENTS, 4, bytes(4)), "ERROR_BAD_SEGMENT"),
    ("stream unbound", binding(0, 0, 0, 0, 0), "ERROR_BAD_BINDING"),
    ("stream bound twice", binding(1, 1, 0, 1, 0), "ERROR_BAD_BINDING"),
    ("stream writable", binding(0, 1, 0, 3, 0), "ERROR_BAD_BINDING"),
    ("constants writable", binding(1, 2, 0, 3, 4), "ERROR_BAD_BINDING"),
    ("constants too small", binding(1, 2, 0, 1, 1 << 20), "ERROR_BAD_BINDING"),
    ("arena too small", binding(2, 3, 0, 3, 257), "ERROR_BAD_BINDING"),
    ("scratchpad bound", binding(3, 3, 0, 3, 16), "ERROR_BAD_BINDING"),
    ("weight buffer bound", binding(4, 3, 0, 3, 16), "ERROR_BAD_BINDING"),
    ("region 7 bound", binding(7, 3, 0, 3, 16), "ERROR_BAD_BINDING"),
    ("input writable", binding(8, 4, 0, 3, 16), "ERROR_BAD_BINDING"),
    ("no such input", binding(8, 4, 1, 1, 16), "ERROR_BAD_BINDING"),
    ("input too small", binding(8, 4, 0, 1, 24577), "ERROR_BAD_BINDING"),
    ("no such output", binding(12, 5, 1, 3, 16), "ERROR_BAD_BINDING"),
    ("output too small", binding(12, 5, 0, 3, 24577), "ERROR_BAD_BINDING"),
    ("no attributes", binding(12, 5, 0, 0, 16), "ERROR_BAD_BINDING"),
    ("unknown attributes", binding(12, 5, 0, 7, 16), "ERROR_BAD_BINDING"),
    ("unknown binding", binding(12, 8, 0, 3, 16), "ERROR_BAD_BINDING"),
    ("none with a size", binding(9, 0, 0, 0, 16), "ERROR_BAD_BINDING"),
    ("inputs behind outputs", lambda p: _ports_swapped(p), "ERROR_BAD_PORT"),
    ("port is neither", inside(Section.PORTS, 0, b"\2"), "ERROR_BAD_PORT"),
    ("dtype", inside(Section.PORTS, 1, b"\x09"), "ERROR_BAD_PORT"),
    ("rank", inside(Section.PORTS, 2, b"\x07"), "ERROR_BAD_PORT"),
    ("dims and bytes", inside(Section.PORTS, 20, b"\2"), "ERROR_BAD_PORT"),
    ("unused dim", inside(Section.PORTS, 28, b"\1"), "ERROR_BAD_PORT"),
    ("infinite scale", inside(Section.PORTS, 12, b"\0\0\x80\x7f"), "ERROR_BAD_PORT"),
    ("negative scale", inside(Section.PORTS, 12, b"\0\0\x80\xbf"), "ERROR_BAD_PORT"),
    ("port's name", inside(Section.PORTS, 11, b"\1"), "ERROR_BAD_PORT"),
    ("layer's segment", inside(Section.LAYERS, 0, b"\1"), "ERROR_BAD_LAYER"),
    ("layer's operation", inside(Section.LAYERS, 7, b"\1"), "ERROR_BAD_LAYER"),
    ("layer's nodes", inside(Section.LAYERS, 11, b"\1"), "ERROR_BAD_LAYER"),
    ("test's inputs", inside(Section.TEST, 0, b"\2"), "ERROR_BAD_TEST"),
    ("test's outputs", inside(Section.TEST, 4, b"\0"), "ERROR_BAD_TEST"),
    ("test's layers", inside(Section.TEST, 8, b"\xff\xff\xff\xff"), "ERROR_BAD_TEST"),
)  # fmt: skip


def _moved(payload: bytes, kind: Section) -> bytes:
    """TEST dropped, and its entry given to the section, whose own entry becomes TEST's."""
    entries = {each: section_place(payload, each)[0] for each in Section}
    (count,) = struct.unpack_from("<H", payload, 22)
    last = max(entries.values())
    content = payload[last : last + ENTRY_BYTES]
    shorter = patched(payload, entries[kind], content)
    shorter = patched(shorter, last, bytes(ENTRY_BYTES))
    return _header_repaired(patched(shorter, 22, struct.pack("<H", count - 1)))


def _ports_swapped(payload: bytes) -> bytes:
    return inside(Section.PORTS, 0, b"\1")(inside(Section.PORTS, 48, b"\0")(payload))


def _shortened(payload: bytes, kind: Section, num_bytes: int) -> bytes:
    at, _, size = section_place(payload, kind)
    return repaired(patched(payload, at + 8, struct.pack("<I", size - num_bytes)))


def test_takes_what_the_compiler_writes(driver: ctypes.CDLL, payload: Sample) -> None:
    device = device_for(payload)
    assert load(driver, device, payload.payload) == "OK"
    assert load(driver, device, payload.payload + b"more flash") == "OK"
    assert load(driver, device, repaired(payload.payload)) == "OK"


@pytest.mark.parametrize(
    ("change", "code"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refuses(driver: ctypes.CDLL, payload: Sample, change: Change, code: str) -> None:
    changed = change(payload.payload)
    assert changed != payload.payload
    assert load(driver, device_for(payload), changed) == code


def test_every_code_of_the_container_is_tested() -> None:
    tested = {code for _, _, code in REFUSED}
    assert tested == {name for name, value in bindings.codes().items() if -68 <= value <= -32}


def test_refuses_the_wrong_member_and_misalignment(driver: ctypes.CDLL, payload: Sample) -> None:
    device = device_for(payload)
    device.macs = 2 * MACS
    assert load(driver, device, payload.payload) == "ERROR_MACS"
    device = device_for(payload)
    device.capabilities = 0x3B
    assert load(driver, device, payload.payload) == "ERROR_CAPABILITY"
    odd = AlignedBytes(payload.payload, misalignment=4)
    code = driver.lpt_load(
        ctypes.byref(Model()), ctypes.byref(device), ctypes.c_void_p(odd.address), len(odd.content)
    )
    assert code_name(code) == "ERROR_MISALIGNED_PAYLOAD"
    assert code_name(driver.lpt_load(None, None, None, 0)) == "ERROR_NULL_ARGUMENT"


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_changed_bit_is_seen(driver: ctypes.CDLL, payload: Sample, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(payload.payload) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = patched(payload.payload, place, bytes([payload.payload[place] ^ bit]))
    padding = all(
        not start <= place < start + size
        for _, start, size in (section_place(payload.payload, kind) for kind in Section)
    )
    found = load(driver, device_for(payload), changed)
    table_end = HEADER_BYTES + ENTRY_BYTES * len(Section)
    assert found == "OK" if padding and place >= table_end else found != "OK"


def test_ports_and_figures(driver: ctypes.CDLL, payload: Sample) -> None:
    memory = AlignedBytes(payload.payload)
    model, port = Model(), PortInfo()
    device = device_for(payload)
    arguments = (ctypes.byref(device), ctypes.c_void_p(memory.address), len(payload.payload))
    for function in (driver.lpt_load, driver.lpt_load_again):
        assert function(ctypes.byref(model), *arguments) == 0
    assert (model.num_segments, model.num_inputs, model.num_outputs) == (1, 1, 1)
    assert (model.arena_bytes, model.num_layers) == (256, NUM_LAYERS)
    assert driver.lpt_estimated_cycles(ctypes.byref(model), 0) == payload.cycles
    assert driver.lpt_estimated_cycles(ctypes.byref(model), 1) == 0
    assert driver.lpt_payload_bytes(ctypes.c_void_p(memory.address)) == len(payload.payload)
    assert driver.lpt_port_of(ctypes.byref(model), 0, 0, ctypes.byref(port)) == 0
    assert (port.name, port.size_bytes, port.dtype) == (b"image", len(payload.given), 1)
    assert (port.rank, list(port.dims)[:2], port.zero_point) == (2, [1, len(payload.given)], -3)
    assert struct.pack("<I", port.scale_bits) == struct.pack("<f", 0.5)
    assert driver.lpt_port_of(ctypes.byref(model), 1, 0, ctypes.byref(port)) == 0
    assert port.name == b"scores"
    code = driver.lpt_port_of(ctypes.byref(model), 1, 1, ctypes.byref(port))
    assert code_name(code) == "ERROR_BAD_PORT"
