"""The text form: round trips, its notation, and refusals with line and column."""

import contextlib
import math
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import Code, Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location
from lepton_cc.ir.lir_file import read_lir, write_lir
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.movement import Pad, PadMode, Reshape
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.printer import print_graph, printed
from lepton_cc.ir.structural_hash import structural_hash
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import Quantization, SymbolicDim, TensorType
from tests.ir.random_graphs import graphs

F32 = DType.F32


def round_trip(graph: Graph) -> Graph:
    result = printed(graph)
    arrays = {digest: tensor.array for digest, tensor in result.constants.items()}
    back = parse_graph(result.text, arrays)
    assert print_graph(back) == result.text
    assert [op.location for op in back.ops] == [op.location for op in graph.ops]
    return back


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs())
def test_random_graphs_round_trip(graph: Graph) -> None:
    assert round_trip(graph) == graph


def graph_of_constant(array: Array, quantization: Quantization | None = None) -> Graph:
    builder = GraphBuilder("g")
    value = builder.emit(Constant(Tensor(array), quantization))
    return builder.finish([value], ["y"])


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("count", [0, 3, 8, 40])
def test_constants_of_every_type_round_trip(dtype: DType, count: int) -> None:
    width = dtype.numpy.itemsize
    raw = np.random.default_rng(count).integers(0, 256, count * width, np.uint8)
    if dtype is DType.BOOL:
        raw &= 1
    elif dtype.is_integer and dtype.bits < 8:
        raw &= (1 << dtype.bits) - 1
    array = raw.view(dtype.numpy) if dtype.bits >= 8 else raw.astype(dtype.numpy)
    graph = graph_of_constant(array)
    assert round_trip(graph) == graph


def test_nan_payload_and_negative_zero_keep_their_bits() -> None:
    bits = np.array([0x7FC00001, 0xFFC00000, 0x80000000, 0x7F800000], np.uint32)
    graph = graph_of_constant(bits.view(np.float32))
    back = round_trip(graph)
    kind = back.ops[0].kind
    assert isinstance(kind, Constant)
    assert kind.value.array.tobytes() == bits.tobytes()


@pytest.mark.parametrize(
    "quantization",
    [
        Quantization((0.5,), (3,)),
        Quantization((0.1,), (-128,)),
        Quantization((float(np.float32(0.1)), 1e-30, 3e38), (0, 0, 0), 1),
        Quantization((0.25, 0.5, 1.0), (1, 2, 3), 1),
    ],
)
def test_quantized_types_round_trip(quantization: Quantization) -> None:
    graph = graph_of_constant(np.zeros((2, 3), np.int8), quantization)
    assert round_trip(graph) == graph


def test_many_scales_go_to_the_archive() -> None:
    scales = tuple(float(np.float32(0.1 * (i + 1))) for i in range(20))
    graph = graph_of_constant(np.zeros((2, 20), np.int8), Quantization(scales, (0,) * 20, 1))
    assert round_trip(graph) == graph
    assert "scale #" in print_graph(graph)


def test_odd_names_open_dimensions_and_attributes_round_trip() -> None:
    builder = GraphBuilder('net "1"')
    shape = (SymbolicDim("N"), SymbolicDim("odd dim"), 3)
    x = builder.input("input:0", TensorType(F32, shape))
    y = builder.emit(Clamp(-math.inf, math.nan), x, location=Location(('a "b"', "c\n\\d", "é")))
    z = builder.emit(Clamp(-0.0), y, name="return")
    graph = builder.finish([z, x], ["scores/0", "as"])
    assert round_trip(graph) == graph


@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), (1, 1), (1, 1), (0, 0), (0, 0)),
        Window((3,), (2,), (3,), (1,), (1,)),
        Window((3, 1), (2, 1), (1, 2), (0, 1), (1, 1)),
        Window((2, 2, 2), (1, 1, 1), (1, 1, 1), (-1, 0, 0), (0, 0, 3)),
    ],
)
def test_windows_round_trip(window: Window) -> None:
    builder = GraphBuilder("g")
    x = builder.input("x", TensorType(F32, (1, *(8,) * window.rank, 2)))
    graph = builder.finish([builder.emit(MaxPool(window), x)], ["y"])
    assert round_trip(graph) == graph


def example() -> Graph:
    """A graph with a nested body, a big constant, an absent operand and locations."""
    body = GraphBuilder("body")
    p = body.input("p", TensorType(F32, (1, 4, 4, 4)))
    fused = Fused(body.finish([body.emit(Clamp(0.0, 6.0), p)], ["q"]))
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType(F32, (1, 8, 8, 3)))
    weights = np.arange(108, dtype=np.float32).reshape(3, 3, 3, 4)
    window = Window((3, 3), (2, 2), (1, 1), (1, 1), (0, 0))
    location = Location(("Conv 'conv1'",))
    y = builder.emit(Conv(window), x, builder.constant(weights), None, location=location)
    y = builder.emit(fused, y, location=location)
    y = builder.emit(Pad((0,) * 4, (0, 1, 1, 0), PadMode.EDGE), y)
    y = builder.emit(Reshape((100,)), y)
    return builder.finish([y], ["scores"])


ARCHIVE = {digest: t.array for digest, t in printed(example()).constants.items()}


def test_the_notation() -> None:
    lines = print_graph(example()).splitlines()
    assert lines[0] == "graph net(%x: f32[1, 8, 8, 3]) {"
    assert lines[2] == (
        "  %conv = conv(%x, %c, _) {window = 3x3 stride 2 pad 1:0} : f32[1, 4, 4, 4]"
        "  loc(\"Conv 'conv1'\")"
    )
    assert lines[4] == "    %clamp = clamp(%p) {low = 0.0, high = 6.0} : f32[1, 4, 4, 4]"
    assert lines[-2:] == ["  return %reshape as scores", "}"]


def test_types_that_are_left_out_are_inferred() -> None:
    graph = parse_graph("graph g(%x: f32[2]) { // a comment\n %y = exp(%x) return %y as y }")
    assert graph.outputs[0].type == TensorType(F32, (2,))


def test_hash_ignores_names_and_locations_but_no_bit_of_an_attribute() -> None:
    def named(result: str, low: str) -> Graph:
        return parse_graph(
            f"graph g(%x: f32[2]) {{ %{result} = clamp(%x) {{low = {low}}} "
            f'loc("{result}") return %{result} as {result} }}'
        )

    assert structural_hash(named("a", "0.0")) == structural_hash(named("b", "0.0"))
    assert structural_hash(named("a", "0.0")) != structural_hash(named("a", "-0.0"))
    assert structural_hash(example()) == "015d3882cdf03bcffa838e22cca5da69"


def test_files_round_trip_and_are_written_alike(tmp_path: Path) -> None:
    graph = example()
    first, second = tmp_path / "one" / "net.lir", tmp_path / "two" / "net.lir"
    for path in (first, second):
        path.parent.mkdir()
        write_lir(graph, path)
        assert read_lir(path) == graph
        assert sorted(p.name for p in path.parent.iterdir()) == ["net.constants.npz", "net.lir"]
    assert first.read_bytes() == second.read_bytes()
    archives = [path.with_suffix(".constants.npz").read_bytes() for path in (first, second)]
    assert archives[0] == archives[1]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "line 1, column 1", "expected 'graph'"),
        ("graph g() {\n  %y = nosuch()\n", "line 2, column 8", "no op 'nosuch'"),
        ("graph g() {\n  %y = exp(%x)\n", "line 2, column 12", "%x is not defined"),
        ("graph g(%x: f32[2], %x: f32[2]) {}", "line 1", "defined twice"),
        ("graph g(%x: f33[2]) {}", "line 1, column 13", "no element type"),
        ("graph g(%x: f32[2]) { %y = exp(%x) : f32[2], f32[2] return }", "line 1", "2 types"),
        ("graph g(%x: f32[2]) { %y = clamp(%x) {low = x} return }", "line 1", "a number"),
        ("graph g(%x: f32[2]) { %y = clamp(%x) {lo = 1} return }", "line 1", "attribute 'lo'"),
        ("graph g(%x: f32[2]) { %y = reshape(%x) return }", "line 1", "attributes"),
        ("graph g(%x: f32[2]) { %y = reshape(%x) {shape = (3)} return }", "line 1", "reshaped"),
        ("graph g() { %y = constant f32[9999999, 9999999] full 0 return }", "line 1", "full"),
        ("graph g() { %y = constant i8[1] (300) return }", "line 1", "300"),
        ("graph g() { %y = constant f32[2] (1) return }", "line 1", "elements"),
        ("graph g() { %y = constant f32[2] #0123456789abcdef return }", "line 1", "no constant"),
        ("graph g() { return } }", "line 1, column 22", "the end"),
        ('graph "\\x" () { return }', "line 1, column 7", "escape"),
    ],
)
def test_malformed_text_is_refused_with_its_position(text: str, where: str, what: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_graph(text)
    (diagnostic,) = refusal.value.diagnostics
    assert diagnostic.code is Code.INVALID_IR_TEXT
    assert where in diagnostic.message
    assert what in diagnostic.message


def test_deep_nesting_is_refused() -> None:
    text = "graph g() { %y = fused() {body = " * 2000
    with pytest.raises(Refused, match="nested deeper"):
        parse_graph(text)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_mutilated_text_gives_a_graph_or_a_refusal(data: st.DataObject) -> None:
    text = print_graph(example())
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 6)))
    junk = data.draw(st.text('(){}[]%"=:,#?_ -0129.einfx\\/"\n', max_size=4))
    with contextlib.suppress(Refused):
        graph = parse_graph(text[:start] + junk + text[end:], ARCHIVE)
        assert parse_graph(print_graph(graph), ARCHIVE) == graph


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"\x93NUMPY\x01\x00"])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.lir"
    write_lir(example(), path)
    path.with_suffix(".constants.npz").write_bytes(content)
    with pytest.raises(Refused, match="cannot read constants"):
        read_lir(path)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_mutilated_archive_gives_the_graph_or_a_refusal(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.lir")
        write_lir(example(), path)
        archive = path.with_suffix(".constants.npz")
        content = bytearray(archive.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        archive.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        with contextlib.suppress(Refused):
            assert read_lir(path) == example()


def test_a_changed_constant_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.lir"
    write_lir(example(), path)
    archive = path.with_suffix(".constants.npz")
    other = np.zeros((3, 3, 3, 4), np.float32)
    (digest,) = printed(example()).constants
    with zipfile.ZipFile(archive, "w") as file, file.open(f"{digest}.npy", "w") as entry:
        np.lib.format.write_array(entry, other)
    with pytest.raises(Refused, match="was changed"):
        read_lir(path)


def test_an_archive_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.lir"
    path.write_text('constants "../secret.npz"\ngraph g() { return }')
    with pytest.raises(Refused, match="no file beside it"):
        read_lir(path)
