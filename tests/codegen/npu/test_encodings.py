"""Packets: assembler, decoder and disassembler, on random fields of all opcodes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc.codegen.npu.isa.assemble import (
    DecodeError,
    FieldValue,
    Packet,
    decode_packet,
    decode_stream,
    encode_packet,
    encode_stream,
)
from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.disassemble import disassemble
from lepton_cc.codegen.npu.isa.field import Coding, Field
from lepton_cc.codegen.npu.isa.packets import (
    FORMATS,
    HEADER,
    Elementwise,
    Encoding,
    Epilogue,
    Opcode,
    Pool,
)
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.tables import TABLES
from tests.codegen.npu.random_streams import machine_of, random_stream

KINDS = {
    (Opcode.ELEMENTWISE, "kind"): len(Elementwise),
    (Opcode.POOL, "kind"): len(Pool),
    (None, "encoding"): len(Encoding),
    (None, "stage_encoding"): len(Encoding),
}


def values(field: Field, opcode: Opcode) -> st.SearchStrategy[FieldValue]:
    """Any value that the field can hold, of enumerations one that exists."""
    for key in ((opcode, field.name), (None, field.name)):
        if key in KINDS:
            return st.integers(0, KINDS[key] - 1)
    if field.name == "epilogue":
        return st.integers(0, sum(Epilogue))
    if field.coding is Coding.BINARY32:
        return st.floats(width=32, allow_nan=False)
    if field.coding is Coding.ADDRESS:
        return st.builds(Address, st.sampled_from(Region), st.integers(0, (1 << 28) - 1))
    if field.coding is Coding.SIGNED:
        half = 1 << (field.width - 1)
        return st.integers(-half, half - 1)
    return st.integers(0, (1 << field.width) - 1)


@st.composite
def packets(draw) -> Packet:  # type: ignore[no-untyped-def]
    opcode = draw(st.sampled_from(Opcode))
    fields = {f.name: draw(values(f, opcode)) for f in FORMATS[opcode].fields}
    byte = st.integers(0, 255)
    return Packet(opcode, fields, draw(st.integers(0, 65535)), draw(byte), draw(byte))


@settings(max_examples=300, deadline=None)
@given(packets(), st.integers(0, 1 << 20))
def test_a_packet_decodes_to_itself(packet: Packet, sequence: int) -> None:
    content = encode_packet(packet, sequence)
    assert decode_packet(content) == (packet, len(content))
    assert int.from_bytes(content[-4:], "little") == crc32c(content[:-4])
    assert int.from_bytes(content[:2], "little") == sequence % 65536


@settings(max_examples=300, deadline=None)
@given(packets())
def test_every_packet_has_a_text(packet: Packet) -> None:
    lines = disassemble(packet, 4, {packet.layer: "some/layer"})
    assert lines[0].startswith(f"0004 {packet.opcode.name.lower()}")
    assert ("some/layer" in lines[0]) == (packet.layer != 0)
    assert all(line == line.rstrip() for line in lines)


@settings(max_examples=200, deadline=None)
@given(packets(), st.data())
def test_what_an_opcode_does_is_in_its_text(packet: Packet, data: st.DataObject) -> None:
    """Another size, stride or address gives another text."""
    names = [
        name
        for name in packet.fields
        if name.endswith(("height", "width", "channels", "row_stride", "bytes", "ofm_address"))
        and not name.startswith(("residual", "region"))
    ]
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    old = packet.fields[name]
    new = Address(Region.SPM, 1) if isinstance(old, Address) else 1 - min(int(old), 1)
    changed = Packet(packet.opcode, {**packet.fields, name: new}, packet.layer)
    same = Packet(packet.opcode, packet.fields, packet.layer)
    assert (old == new) == (disassemble(changed, 0) == disassemble(same, 0))


def test_text_of_a_packet() -> None:
    fields: dict[str, FieldValue] = {
        **{"ifm_address": Address(Region.SPM, 0), "ifm_row_stride": 512, "ifm_pixel_stride": 16},
        **{"ifm_height": 32, "ifm_width": 32, "ifm_channels": 16},
        **{"ofm_address": Address(Region.SPM, 16384), "ofm_row_stride": 512},
        **{"ofm_pixel_stride": 32, "ofm_height": 16, "ofm_width": 16, "ofm_channels": 32},
        **{"ofm_ring_rows": 20, "ofm_ring_start": 3, "kernel_height": 3, "kernel_width": 3},
        **{"stride_y": 2, "stride_x": 2, "dilation_y": 1, "dilation_x": 1, "upsample_y": 1},
        **{"upsample_x": 1, "pad_top": 0, "pad_left": 0, "ofm_zero_point": -3, "groups": 1},
        **{"ifm_zero_point": -128, "clamp_low": -3, "clamp_high": 127},
        **{"weights_address": Address(Region.WBUF, 0), "weights_bytes": 2400, "encoding": 3},
        **{"epilogue": int(Epilogue.TABLE), "table_address": Address(Region.WBUF, 4096)},
    }
    packet = Packet(Opcode.CONV, fields, layer=3, wait=0b10, signal=0b100)
    ifm, ofm = "ifm spm+0 [32x32x16]", "ofm spm+16384 [16x16x32] ring 20@3"
    assert disassemble(packet, 4, {3: "stem"}) == (
        f"0004 conv         layer 3 stem  {ifm} -> {ofm}  wait 1  signal 2",
        "                  kernel 3x3  stride 2,2  zero points -128,-3  clamp -3..127",
        "                  weights wbuf+0 2400 prefix  mode 0",
        "                  table wbuf+4096",
    )


@pytest.mark.parametrize("seed", range(10))
def test_streams_decode_to_their_packets(seed: int) -> None:
    case = random_stream(seed, machine_of(64))
    found = [packet for _, packet in decode_stream(case.stream)]
    check = found[0]
    assert encode_stream(check, found[1:]) == case.stream
    lines = [line for index, packet in enumerate(found) for line in disassemble(packet, index)]
    assert sum(line[:4].isdigit() for line in lines) == len(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 12, "inside the packet"),
        (bytes.fromhex("00000110") + bytes(12), "opcode 0x10"),
        (bytes.fromhex("00000200") + bytes(28), "2 units"),
        (bytes.fromhex("00000502") + bytes(60), "inside the packet"),
    ],
)
def test_what_is_no_packet_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_packet(content)


def test_fields_do_not_overlap() -> None:
    for format_ in FORMATS.values():
        seen: dict[int, int] = {0: 0xFFFFFFFF, 1: 0xFFFFFFFF, format_.words - 1: 0xFFFFFFFF}
        for field in format_.fields:
            assert not seen.get(field.word, 0) & field.mask, f"{format_.opcode.name} {field.name}"
            seen[field.word] = seen.get(field.word, 0) | field.mask
    header: dict[int, int] = {}
    for field in HEADER:
        assert not header.get(field.word, 0) & field.mask
        header[field.word] = header.get(field.word, 0) | field.mask
    assert set(header.values()) == {0xFFFFFFFF}


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="run_bytes"):
        encode_packet(Packet(Opcode.DMA, {"run_bytes": 1 << 32}), 0)
    with pytest.raises(ValueError, match="no field nothing"):
        encode_packet(Packet(Opcode.DMA, {"nothing": 0}), 0)
    assert math.isinf(struct_float(encode_packet(Packet(Opcode.MATMUL, {"scale": math.inf}), 0)))


def struct_float(content: bytes) -> float:
    return decode_packet(content)[0].binary32("scale")


def test_every_table_names_what_it_lists() -> None:
    page = "".join(make() for make in TABLES.values())
    wanted = [field.name for f in FORMATS.values() for field in f.fields]
    assert [n for n in wanted if f"`{n}`" not in page and not n.startswith("region")] == []
