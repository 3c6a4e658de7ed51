"""Hostile models: each is refused with diagnostics, never with another exception or a hang."""

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Code, Refused

Model = onnx.ModelProto
FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64


def info(
    name: str, dims: Sequence[int | str | None] = (2, 3), kind: int = FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    functions: Sequence[onnx.FunctionProto] = (),
) -> Model:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [info("x")] if inputs is None else inputs,
        [helper.make_empty_tensor_value_info("y")] if outputs is None else outputs,
        initializers,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


def node(
    op_type: str,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    **attributes: Any,
) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, outputs, **attributes)


def ints(name: str, content: Sequence[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, INT64, [len(content)], content)


def floats(name: str, dims: Sequence[int]) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.ones(dims, np.float32), name)


def with_constant(op_type: str, content: Sequence[int], **attributes: Any) -> Model:
    """op(x, content), the second operand a constant of integers."""
    return model([node(op_type, ("x", "c"), **attributes)], initializers=[ints("c", content)])


def raw_initializer(dims: Sequence[int], raw: bytes, kind: int = FLOAT) -> Model:
    tensor = TensorProto(name="w", data_type=kind, dims=dims, raw_data=raw)
    return model([node("Add", ("x", "w"))], initializers=[tensor])


def attribute(**fields: Any) -> Model:
    """LeakyRelu with one attribute given field by field."""
    bad = node("LeakyRelu")
    bad.attribute.append(AttributeProto(**fields))
    return model([bad])


def nested_if(depth: int) -> Model:
    """If within If; every level is taken."""
    true = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    made = model([], initializers=[true])
    graph = made.graph
    for _ in range(depth):
        taken = graph.node.add(op_type="If", input=["c"], output=["y"])
        for name in ("then_branch", "else_branch"):
            branch = taken.attribute.add(name=name, type=AttributeProto.GRAPH).g
            branch.output.add(name="y")
        graph = taken.attribute[0].g
    graph.node.append(node("Relu"))
    return made


def function(name: str, body: Sequence[onnx.NodeProto]) -> onnx.FunctionProto:
    return helper.make_function(
        "local",
        name,
        ["x"],
        ["y"],
        body,
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )


def call(
    name: str, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",)
) -> onnx.NodeProto:
    return helper.make_node(name, inputs, outputs, domain="local")


def exploding_functions() -> Model:
    """Thirty functions, each of which calls the next twice: 2^30 nodes."""
    functions = [
        function(f"F{i}", [call(f"F{i + 1}", ("x",), ("t",)), call(f"F{i + 1}", ("t",))])
        for i in range(30)
    ]
    functions.append(function("F30", [node("Relu")]))
    return model([call("F0")], functions=functions)


def endless_loop(trip_count: int | None) -> Model:
    body = helper.make_graph(
        [node("Identity", ("cond",), ("cond_out",)), node("Relu", ("v",), ("v_out",))],
        "body",
        [info("i", [], INT64), info("cond", [], TensorProto.BOOL), info("v")],
        [info("cond_out", [], TensorProto.BOOL), info("v_out")],
    )
    initializers = [] if trip_count is None else [helper.make_tensor("m", INT64, [], [trip_count])]
    trip = "" if trip_count is None else "m"
    return model([node("Loop", (trip, "", "x"), body=body)], initializers=initializers)


def opsets(*pairs: tuple[str, int]) -> Model:
    made = model([node("Relu")])
    del made.opset_import[:]
    made.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in pairs)
    return made


def changed(change: Callable[[Model], object]) -> Model:
    made = model([node("Relu")])
    change(made)
    return made


def external(location: str, **entries: str) -> Model:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return model([node("Add", ("x", "w"))], initializers=[tensor])


def range_model(start: float, limit: float, delta: float) -> Model:
    bounds = [
        helper.make_tensor(name, FLOAT, [], [value])
        for name, value in (("a", start), ("b", limit), ("d", delta))
    ]
    return model([node("Range", ("a", "b", "d"))], initializers=bounds)


def conv(weights: Sequence[int], **attributes: Any) -> Model:
    return model(
        [node("Conv", ("x", "w"), **attributes)],
        inputs=[info("x", [1, 4, 8, 8])],
        initializers=[floats("w", weights)],
    )


def pool(**attributes: Any) -> Model:
    return model([node("MaxPool", **attributes)], inputs=[info("x", [1, 4, 8, 8])])


def folded_blowup() -> Model:
    """A reshape by a shape that only a folded terabyte would give."""
    nodes = [
        node("ConstantOfShape", ("c",), ("big",)),
        node("ReduceSum", ("big",), ("sum",), keepdims=0),
        node("Cast", ("sum",), ("shape",), to=INT64),
        node("Reshape", ("x", "shape")),
    ]
    return model(nodes, initializers=[ints("c", [1 << 14, 1 << 14])])


def long_chain() -> Model:
    """A hundred thousand nodes."""
    names = ["x", *(f"t{i}" for i in range(99_999)), "y"]
    return model([node("Relu", (a,), (b,)) for a, b in pairwise(names)])


def typed_input(field: str) -> Model:
    made = model([node("Identity")], inputs=[onnx.ValueInfoProto(name="x")])
    getattr(made.graph.input[0].type, field).SetInParent()
    return made


MODELS: dict[str, Callable[[], Model]] = {
    # The message itself.
    "no_graph": lambda: onnx.ModelProto(ir_version=8),
    "no_ir_version": lambda: changed(lambda m: m.ClearField("ir_version")),
    "future_ir_version": lambda: changed(lambda m: setattr(m, "ir_version", 4000)),
    "negative_ir_version": lambda: changed(lambda m: setattr(m, "ir_version", -1)),
    "no_opset": lambda: opsets(),
    "opset_too_old": lambda: opsets(("", 6)),
    "opset_too_new": lambda: opsets(("", 100_000)),
    "opset_zero": lambda: opsets(("", 0)),
    "opset_negative": lambda: opsets(("", -13)),
    "opset_twice": lambda: opsets(("", 13), ("", 17)),
    "opset_twice_by_alias": lambda: opsets(("", 13), ("ai.onnx", 17)),
    # Names.
    "no_outputs": lambda: changed(lambda m: m.graph.ClearField("output")),
    "output_undefined": lambda: model([node("Relu", outputs=("z",))]),
    "output_unnamed": lambda: model([node("Relu")], outputs=[info("")]),
    "output_twice": lambda: model([node("Relu")], outputs=[info("y"), info("y")]),
    "input_undefined": lambda: model([node("Add", ("x", "nowhere"))]),
    "input_unnamed": lambda: model([node("Relu")], inputs=[info("x"), info("")]),
    "input_twice": lambda: model([node("Relu")], inputs=[info("x"), info("x")]),
    "value_twice": lambda: model([node("Relu"), node("Abs")]),
    "value_like_input": lambda: model([node("Relu", outputs=("x",)), node("Relu")]),
    "initializer_twice": lambda: model(
        [node("Add", ("x", "w"))], initializers=[floats("w", [3]), floats("w", [3])]
    ),
    "initializer_unnamed": lambda: model([node("Relu")], initializers=[floats("", [3])]),
    "initializer_like_output": lambda: model([node("Relu")], initializers=[floats("y", [3])]),
    "self_loop": lambda: model([node("Add", ("x", "y"))]),
    "cycle": lambda: model(
        [node("Add", ("x", "b"), ("a",)), node("Relu", ("a",), ("b",)), node("Relu", ("b",))]
    ),
    "unsorted": lambda: model([node("Relu", ("t",)), node("Relu", ("x",), ("t",))]),
    # Nodes.
    "operator_unknown": lambda: model([node("Nonsense")]),
    "operator_unnamed": lambda: model([node("")]),
    "operator_of_later_opset": lambda: model([node("Gelu")], opset=13),
    "operator_deprecated": lambda: model([node("Upsample", ("x", "x"))], opset=13),
    "domain_unknown": lambda: model([helper.make_node("Relu", ["x"], ["y"], domain="nowhere")]),
    "too_few_inputs": lambda: model([node("Add")]),
    "too_many_inputs": lambda: model([node("Relu", ("x", "x", "x"))]),
    "too_many_outputs": lambda: model([node("Relu", outputs=("y", "z"))]),
    "no_node_outputs": lambda: model([node("Relu", outputs=())]),
    "required_input_left_out": lambda: model([node("Add", ("x", ""))]),
    "attribute_missing": lambda: model([node("Cast")]),
    "attribute_unknown": lambda: model([node("Relu", nonsense=3)]),
    "attribute_twice": lambda: attribute_twice(),
    "attribute_of_wrong_type": lambda: attribute(name="alpha", type=AttributeProto.STRING, s=b"1"),
    "attribute_of_unknown_type": lambda: attribute(name="alpha"),
    "attribute_reference_outside_function": lambda: model([reference_cast()]),
    "attribute_not_utf8": lambda: model([node("Conv", ("x", "x"), auto_pad=b"\xff\xfe")]),
    # Types and shapes.
    "input_without_type": lambda: model([node("Relu")], inputs=[onnx.ValueInfoProto(name="x")]),
    "input_without_shape": lambda: model(
        [node("Relu")], inputs=[helper.make_tensor_value_info("x", FLOAT, None)]
    ),
    "input_of_strings": lambda: model(
        [node("Identity")], inputs=[info("x", kind=TensorProto.STRING)]
    ),
    "input_complex": lambda: model(
        [node("Identity")], inputs=[info("x", kind=TensorProto.COMPLEX64)]
    ),
    "input_of_unknown_type": lambda: model([node("Identity")], inputs=[info("x", kind=1234)]),
    "input_of_negative_type": lambda: model([node("Identity")], inputs=[info("x", kind=-7)]),
    "input_sequence": lambda: typed_input("sequence_type"),
    "input_optional": lambda: typed_input("optional_type"),
    "input_map": lambda: typed_input("map_type"),
    "input_sparse": lambda: typed_input("sparse_tensor_type"),
    "input_dim_negative": lambda: model([node("Relu")], inputs=[info("x", [2, -5])]),
    "input_dim_huge": lambda: model([node("Relu")], inputs=[info("x", [1 << 40])]),
    "input_dims_huge_beside_zero": lambda: model(
        [node("Relu")], inputs=[info("x", [1 << 62, 0, 1 << 62])]
    ),
    "input_rank_huge": lambda: model([node("Relu")], inputs=[info("x", [1] * 1000)]),
    "input_open": lambda: model([node("Relu")], inputs=[info("x", ["batch", None, 3])]),
    "output_of_other_type": lambda: model([node("Relu")], outputs=[info("y", kind=INT64)]),
    "operands_of_two_types": lambda: model(
        [node("Add", ("x", "c"))], initializers=[ints("c", [1, 2, 3])]
    ),
    "operands_that_do_not_broadcast": lambda: model(
        [node("Add", ("x", "w"))], initializers=[floats("w", [7])]
    ),
    "function_of_wrong_type": lambda: model([node("Sqrt", ("c",))], initializers=[ints("c", [4])]),
    "matmul_of_scalars": lambda: model(
        [node("MatMul", ("w", "w"))], initializers=[floats("w", [])]
    ),
    "gemm_of_vectors": lambda: model([node("Gemm", ("w", "w"))], initializers=[floats("w", [3])]),
    # Stored tensors.
    "raw_data_short": lambda: raw_initializer([3], b"\0" * 11),
    "raw_data_long": lambda: raw_initializer([3], b"\0" * 13),
    "raw_data_absent": lambda: raw_initializer([1 << 30, 1 << 30], b""),
    "tensor_dim_negative": lambda: raw_initializer([-3], b"\0" * 12),
    "tensor_rank_huge": lambda: raw_initializer([1] * 5000, b"\0" * 4),
    "tensor_dims_huge_beside_zero": lambda: raw_initializer([1 << 62, 0], b""),
    "tensor_of_unknown_type": lambda: raw_initializer([3], b"\0" * 12, 99),
    "tensor_of_no_type": lambda: raw_initializer([3], b"\0" * 12, 0),
    "tensor_of_strings": lambda: model(
        [node("Identity", ("s",))],
        initializers=[
            TensorProto(name="s", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])
        ],
    ),
    "tensor_field_of_other_length": lambda: model(
        [node("Add", ("x", "w"))],
        initializers=[TensorProto(name="w", data_type=FLOAT, dims=[3], float_data=[1.0])],
    ),
    "tensor_in_segments": lambda: segmented(),
    "sparse_index_outside": lambda: sparse([5], [9]),
    "sparse_index_negative": lambda: sparse([5], [-1]),
    "sparse_huge": lambda: sparse([1 << 20, 1 << 20], [1]),
    "constant_without_value": lambda: model([node("Constant", ())]),
    "constant_with_two_values": lambda: model([node("Constant", (), value_int=1, value_float=1.0)]),
    "constant_string": lambda: model([node("Constant", (), value_string="a")]),
    # Content out of nothing.
    "expand_huge": lambda: with_constant("Expand", [1 << 20, 1 << 20, 2, 3]),
    "expand_negative": lambda: with_constant("Expand", [-4, 3]),
    "expand_of_huge_rank": lambda: with_constant("Expand", [1] * 2000),
    "tile_huge": lambda: with_constant("Tile", [1 << 40, 1 << 40]),
    "tile_negative": lambda: with_constant("Tile", [-1, 1]),
    "constant_of_shape_huge": lambda: model(
        [node("ConstantOfShape", ("c",))], initializers=[ints("c", [1 << 40])]
    ),
    "constant_of_shape_negative": lambda: model(
        [node("ConstantOfShape", ("c",))], initializers=[ints("c", [-1])]
    ),
    "folded_blowup": folded_blowup,
    "range_huge": lambda: range_model(0, 1e30, 1e-30),
    "range_of_zero_step": lambda: range_model(0, 1, 0),
    "range_of_nan": lambda: range_model(0, float("nan"), 1),
    "range_of_infinity": lambda: range_model(0, float("inf"), 1),
    "pad_huge": lambda: with_constant("Pad", [0, 0, 1 << 40, 1 << 40]),
    "pad_away_everything": lambda: with_constant("Pad", [-2, 0, -2, 0]),
    "shape_at_run_time": lambda: model(
        [node("Reshape", ("x", "s"))], inputs=[info("x"), info("s", [2], INT64)]
    ),
    # Operators' own rules.
    "reshape_to_other_size": lambda: with_constant("Reshape", [5, 5]),
    "reshape_two_unknowns": lambda: with_constant("Reshape", [-1, -1]),
    "reshape_minus_two": lambda: with_constant("Reshape", [-2, -3]),
    "reshape_by_floats": lambda: model(
        [node("Reshape", ("x", "w"))], initializers=[floats("w", [2])]
    ),
    "transpose_repeats_axis": lambda: model([node("Transpose", perm=[0, 0])]),
    "transpose_axis_outside": lambda: model([node("Transpose", perm=[0, 7])]),
    "concat_axis_outside": lambda: model([node("Concat", ("x", "x"), axis=9)]),
    "split_into_wrong_sizes": lambda: model(
        [node("Split", ("x", "c"), ("y", "z"))], initializers=[ints("c", [9, -7])]
    ),
    "gather_index_outside": lambda: with_constant("Gather", [100]),
    "squeeze_of_wide_axis": lambda: with_constant("Squeeze", [0]),
    "slice_of_zero_step": lambda: model(
        [node("Slice", ("x", "c", "c", "c", "c"))], initializers=[ints("c", [0])]
    ),
    "conv_window_too_large": lambda: conv([8, 4, 99, 99]),
    "conv_of_zero_stride": lambda: conv([8, 4, 3, 3], strides=[0, 1]),
    "conv_of_negative_dilation": lambda: conv([8, 4, 3, 3], dilations=[-1, 1]),
    "conv_of_zero_groups": lambda: conv([8, 4, 3, 3], group=0),
    "conv_of_unequal_groups": lambda: conv([8, 4, 3, 3], group=3),
    "conv_huge_pads": lambda: conv([8, 4, 3, 3], pads=[1 << 40] * 4),
    "conv_pads_of_wrong_length": lambda: conv([8, 4, 3, 3], pads=[1]),
    "conv_of_other_kernel_shape": lambda: conv([8, 4, 3, 3], kernel_shape=[5, 5]),
    "conv_of_bad_auto_pad": lambda: conv([8, 4, 3, 3], auto_pad="MAYBE"),
    "conv_of_empty_kernel": lambda: conv([8, 4, 0, 3]),
    "pool_of_huge_window": lambda: pool(kernel_shape=[1 << 40, 1]),
    "pool_of_zero_window": lambda: pool(kernel_shape=[0, 0]),
    "pool_of_wrong_rank": lambda: pool(kernel_shape=[2, 2, 2, 2, 2]),
    # Nesting, recursion, volume.
    "if_nested_10000_deep": lambda: nested_if(10_000),
    "function_calls_itself": lambda: model([call("F")], functions=[function("F", [call("F")])]),
    "functions_call_each_other": lambda: model(
        [call("F")], functions=[function("F", [call("G")]), function("G", [call("F")])]
    ),
    "functions_explode": exploding_functions,
    "function_twice": lambda: model(
        [call("F")], functions=[function("F", [node("Relu")]), function("F", [node("Abs")])]
    ),
    "function_without_output": lambda: model([call("F")], functions=[function("F", [])]),
    "function_with_too_many_inputs": lambda: model(
        [call("F", ("x", "x"))], functions=[function("F", [node("Relu")])]
    ),
    "loop_of_huge_trip_count": lambda: endless_loop(1 << 60),
    "loop_without_end": lambda: endless_loop(None),
    "if_of_unequal_branches": lambda: unequal_branches(),
    "too_many_nodes": long_chain,
    # External data of a model without a file.
    "external_data_without_folder": lambda: external("w.bin"),
}


def attribute_twice() -> Model:
    made = model([node("LeakyRelu", alpha=0.5)])
    made.graph.node[0].attribute.append(made.graph.node[0].attribute[0])
    return made


def reference_cast() -> onnx.NodeProto:
    made = node("Cast")
    made.attribute.append(AttributeProto(name="to", type=AttributeProto.INT, ref_attr_name="to"))
    return made


def segmented() -> Model:
    made = raw_initializer([3], b"\0" * 12)
    made.graph.initializer[0].segment.begin = 0
    return made


def sparse(dims: Sequence[int], indices: Sequence[int]) -> Model:
    values = onnx.numpy_helper.from_array(np.ones(len(indices), np.float32), "w")
    made = model([node("Identity", ("w",))])
    made.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=values, indices=ints("i", indices), dims=dims)
    )
    return made


def unequal_branches() -> Model:
    def branch(op_type: str, **attributes: Any) -> onnx.GraphProto:
        made = helper.make_node(op_type, ["x"], ["b"], **attributes)
        return helper.make_graph([made], "b", [], [helper.make_empty_tensor_value_info("b")])

    return model(
        [node("If", ("c",), then_branch=branch("Relu"), else_branch=branch("Transpose"))],
        inputs=[info("x"), info("c", [], TensorProto.BOOL)],
    )


@pytest.mark.parametrize("name", MODELS)
def test_model_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        import_model(MODELS[name]())
    assert refusal.value.diagnostics
    for diagnostic in refusal.value.diagnostics:
        assert diagnostic.message
        assert "Traceback" not in str(diagnostic)


def unreadable_files() -> dict[str, bytes]:
    whole = model([node("Relu")]).SerializeToString()
    deep = b""
    for _ in range(10_000):
        # GraphProto.node(1) > NodeProto.attribute(5) > AttributeProto.g(6), from inside out.
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            deep = tag + _varint(len(deep)) + deep
    generator = np.random.default_rng(7)
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "tiny_nodes": b"\x3a" + _varint(6 << 20) + b"\x0a\x00" * (3 << 20),
        "tiny_infos": b"\x3a" + _varint(40 << 20) + b"\x6a\x00" * (20 << 20),
        "one_byte": b"\x08",
        "zeros": b"\0" * 4096,
        "ones": b"\xff" * 4096,
        "text": b"this is not a model\n" * 10,
        "zip": b"PK\x03\x04" + bytes(generator.integers(0, 256, 500, np.uint8)),
        "random": bytes(generator.integers(0, 256, 4096, np.uint8)),
        "nested_10000_deep": b"\x08\x08\x3a" + _varint(len(deep)) + deep,
        "length_beyond_the_end": b"\x3a\xff\xff\xff\xff\x07",
        "name_not_utf8": whole.replace(b"hostile", b"ho\xff\xfeile"),
        "operator_not_utf8": whole.replace(b"Relu", b"\xff\xfe\xff\xfe"),
        "input_not_utf8": whole.replace(b"\x01x", b"\x01\xff"),
    }


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes(digits) + bytes([number])


@pytest.mark.parametrize("name", unreadable_files())
def test_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(unreadable_files()[name])
    with pytest.raises(Refused) as refusal:
        import_model(path)
    assert refusal.value.diagnostics[0].message


def test_absent_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path, tmp_path / "nul\0name"):
        with pytest.raises(Refused) as refusal:
            import_model(path)
        assert refusal.value.diagnostics[0].code is Code.MODEL_UNREADABLE


EXTERNAL: dict[str, Model] = {
    "parent": external("../secret.bin"),
    "parent_inside": external("data/../../secret.bin"),
    "absolute": external("/etc/hostname"),
    "windows_absolute": external("C:\\secret.bin"),
    "windows_parent": external("..\\secret.bin"),
    "empty": external(""),
    "nul": external("w\0.bin"),
    "missing": external("missing.bin"),
    "folder": external("."),
    "link_outside": external("link.bin"),
    "named_pipe": external("pipe"),
    "offset_beyond": external("w.bin", offset="100"),
    "length_beyond": external("w.bin", length="1000000000000"),
    "length_other": external("w.bin", length="8"),
    "offset_negative": external("w.bin", offset="-4", length="12"),
    "offset_no_number": external("w.bin", offset="zero"),
    "offset_huge": external("w.bin", offset="9" * 30),
    "name_too_long": external("n" * 5000),
}


@pytest.mark.parametrize("name", EXTERNAL)
def test_external_data_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 12)
    (folder / "w.bin").write_bytes(b"\0" * 12)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    os.mkfifo(folder / "pipe")
    (folder / "model.onnx").write_bytes(EXTERNAL[name].SerializeToString())
    with pytest.raises(Refused) as refusal:
        import_model(folder / "model.onnx")
    (diagnostic,) = refusal.value.diagnostics
    assert diagnostic.code in (Code.EXTERNAL_DATA, Code.MODEL_MALFORMED)
    assert "w" in diagnostic.node


def test_external_data_inside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"skip" + np.arange(3, dtype="<f4").tobytes() + b"more")
    made = external("w.bin", offset="4", length="12")
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    graph = import_model(tmp_path / "model.onnx")
    assert [op.kind.mnemonic for op in graph.ops] == ["constant", "add"]


def test_all_refusals_are_reported_together() -> None:
    nodes = [
        node("Nonsense", outputs=("a",)),
        node("Relu", ("a",), ("b",)),
        node("Transpose", perm=[3, 4], outputs=("c",)),
        node("Sum", ("b", "c")),
    ]
    with pytest.raises(Refused) as refusal:
        import_model(model(nodes, inputs=[info("x", ["batch", 3])]))
    codes = [diagnostic.code for diagnostic in refusal.value.diagnostics]
    assert codes == [Code.OPEN_DIMENSION, Code.UNSUPPORTED_OPERATOR]
    with pytest.raises(Refused) as refusal:
        import_model(model(nodes))
    labels = [diagnostic.node for diagnostic in refusal.value.diagnostics]
    assert labels == ["Nonsense 'a'", "Transpose 'c'"]
