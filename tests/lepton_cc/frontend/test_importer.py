"""`import_model`: interface, open dimensions, constants, stored tensors, functions, real models."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Code, Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from tests.lepton_cc.frontend.node_case import floats

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = floats(2, 3)


def info(name: str, dims: Sequence[int | str | None] = (2, 3), kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


def out(*names: str) -> list[Any]:
    return [helper.make_empty_tensor_value_info(name) for name in names]


def model(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[Any] = (info("x"),), **fields: Any
) -> onnx.ModelProto:
    """A model with output y; `fields` are opset, outputs, initializers, functions."""
    graph = helper.make_graph(
        nodes, "test", inputs, fields.get("outputs", out("y")), fields.get("initializers", ())
    )
    imports = [helper.make_opsetid("", fields.get("opset", 17)), helper.make_opsetid("local", 1)]
    return helper.make_model(
        graph, opset_imports=imports, functions=fields.get("functions", ()), ir_version=10
    )


def check(made: onnx.ModelProto, feeds: dict[str, Array]) -> Graph:
    """Compares the interpreter with ONNX Runtime."""
    graph = import_model(made)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, feeds)
    got = interpret(graph, feeds)
    for name, want in zip(graph.output_names, expected, strict=True):
        np.testing.assert_allclose(got[name], np.asarray(want), rtol=1e-5, atol=1e-6)
    return graph


def mnemonics(graph: Graph) -> list[str]:
    return [op.kind.mnemonic for op in graph.ops if not isinstance(op.kind, Constant)]


def test_names_are_the_models_own() -> None:
    nodes = [
        helper.make_node("Relu", ["in/put:0"], ["a/b"], name="first"),
        helper.make_node("Abs", ["a/b"], ["out:0"]),
    ]
    graph = import_model(model(nodes, [info("in/put:0")], outputs=out("out:0", "a/b")))
    assert [value.name for value in graph.inputs] == ["in/put:0"]
    assert graph.output_names == ("out:0", "a/b")
    assert [value.name for value in graph.outputs] == ["out_0", "a_b"]
    assert [str(op.location) for op in graph.ops] == ["first", "out:0"]


def test_an_input_may_be_an_output_twice() -> None:
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in ("y", "z")]
    graph = import_model(model(nodes, outputs=out("y", "z", "x")))
    assert graph.outputs == graph.inputs * 3
    assert not graph.ops


def test_what_no_output_needs_is_dropped() -> None:
    nodes = [helper.make_node("Exp", ["x"], ["unused"]), helper.make_node("Relu", ["x"], ["y"])]
    assert mnemonics(import_model(model(nodes))) == ["clamp"]


def test_open_dimensions_are_bound_by_name_and_by_position() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], [info("x", ["batch", None, 3])])
    graph = import_model(made, dims={"batch": 4, "x.1": 5})
    assert graph.inputs[0].type.shape == (4, 5, 3)
    assert import_model(made, dims={"x.0": 1, "x.1": 1}).inputs[0].type.shape == (1, 1, 3)


def test_all_open_dimensions_are_named_with_what_to_give() -> None:
    inputs = [info("x", ["batch", 3]), info("z", [None, 3])]
    with pytest.raises(Refused) as refusal:
        import_model(model([helper.make_node("Add", ["x", "z"], ["y"])], inputs))
    assert str(refusal.value).splitlines() == [
        "error[LPT2001]: dimension 0 of input 'x' (f32[?batch, 3]) is open;"
        " give it a size with --dim batch=VALUE",
        "error[LPT2001]: dimension 0 of input 'z' (f32[?z.0, 3]) is open;"
        " give it a size with --dim z.0=VALUE",
    ]


@pytest.mark.parametrize("dims", [{"height": 3}, {"x.1": 3}])
def test_a_size_for_an_unknown_dimension_is_refused(dims: dict[str, int]) -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], [info("x", ["batch", 3])])
    with pytest.raises(Refused, match="open ones are: batch"):
        import_model(made, dims={"batch": 1, **dims})


@pytest.mark.parametrize("size", [0, -1, 1 << 40])
def test_a_senseless_size_is_refused(size: int) -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], [info("x", ["batch", 3])])
    with pytest.raises(Refused, match="batch"):
        import_model(made, dims={"batch": size})


def test_constants_replace_inputs() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    made = model(nodes, [info("x"), info("shape", [2], INT64)])
    graph = import_model(made, constants={"shape": np.array([3, 2])})
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.outputs[0].type.shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "content"),
    [("shape", np.array([3.0, 2.0])), ("shape", np.array([6])), ("other", np.array([3, 2]))],
)
def test_constants_that_do_not_fit_are_refused(name: str, content: Array) -> None:
    made = model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])], [info("x"), info("shape", [2], INT64)]
    )
    with pytest.raises(Refused) as refusal:
        import_model(made, constants={name: content})
    assert refusal.value.diagnostics[0].code is Code.BAD_INPUT_DATA


def test_initializers_that_are_inputs_too_are_constants() -> None:
    stored = [numpy_helper.from_array(floats(3), "w")]
    made = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [info("x"), info("w", [3])],
        initializers=stored,
    )
    assert [value.name for value in check(made, {"x": X}).inputs] == ["x"]
    replaced = import_model(made, constants={"w": np.zeros(3, np.float32)})
    np.testing.assert_array_equal(interpret(replaced, {"x": X})["y"], X)


_TYPES = ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT4E2M1"]
_TYPES += ["INT64", "INT32", "INT16", "INT8", "INT4", "UINT64", "UINT32", "UINT16", "UINT8"]
_TYPES += ["UINT4", "BOOL"]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", _TYPES)
def test_every_element_type_is_read(kind: str, raw: bool) -> None:
    number = TensorProto.DataType.Value(kind)
    dtype = helper.tensor_dtype_to_np_dtype(number)
    content = np.array([0, 1, 3, 1, 2]).astype(dtype)
    tensor = (
        numpy_helper.from_array(content, "w")
        if raw
        else helper.make_tensor("w", number, [5], content)
    )
    tensor.name = "w"
    graph = import_model(
        model([helper.make_node("Identity", ["w"], ["y"])], (), initializers=[tensor])
    )
    got = interpret(graph, {})["y"]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.astype(np.float64), content.astype(np.float64))


@pytest.mark.parametrize("linear", [False, True])
def test_sparse_constants_become_dense(linear: bool) -> None:
    values = numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    indices = np.array([1, 5]) if linear else np.array([[0, 1], [1, 2]])
    tensor = onnx.SparseTensorProto(
        values=values, indices=numpy_helper.from_array(indices, "i"), dims=[2, 3]
    )
    by_attribute = model([helper.make_node("Constant", [], ["y"], sparse_value=tensor)], ())
    stored = model([helper.make_node("Identity", ["w"], ["y"])], ())
    stored.graph.sparse_initializer.append(tensor)
    for made in (by_attribute, stored):
        got = interpret(import_model(made), {})["y"]
        np.testing.assert_array_equal(got, [[0, 5, 0], [0, 0, 7]])


@pytest.mark.parametrize(
    ("form", "content"),
    [("value_int", 3), ("value_ints", [3, 4]), ("value_float", 0.5), ("value_floats", [0.5, 1.5])],
)
def test_constant_attributes(form: str, content: Any) -> None:
    check(model([helper.make_node("Constant", [], ["y"], **{form: content})], ()), {})


def test_shape_arithmetic_is_folded() -> None:
    """The usual exported flattening: Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["batches"]),
        helper.make_node("Concat", ["batches", "rest"], ["wish"], axis=0),
        helper.make_node("Reshape", ["x", "wish"], ["y"]),
    ]
    stored = [
        helper.make_tensor("zero", INT64, [], [0]),
        helper.make_tensor("axes", INT64, [1], [0]),
        helper.make_tensor("rest", INT64, [1], [-1]),
    ]
    x = floats(2, 3, 4)
    made = model(nodes, [info("x", [2, 3, 4])], initializers=stored)
    assert [op.kind.mnemonic for op in check(made, {"x": x}).ops] == ["reshape"]


def test_a_long_chain_of_constants_is_folded_without_recursion() -> None:
    names = ["c", *(f"t{i}" for i in range(5000))]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in pairwise(names)]
    nodes.append(helper.make_node("Reshape", ["x", names[-1]], ["y"]))
    stored = [helper.make_tensor("c", INT64, [1], [6])]
    assert import_model(model(nodes, initializers=stored)).outputs[0].type.shape == (6,)


# Functions.


def test_model_functions_are_expanded_with_attributes_and_defaults() -> None:
    scaled = helper.make_node("LeakyRelu", ["a"], ["b"])
    scaled.attribute.append(onnx.AttributeProto(name="alpha", type="FLOAT", ref_attr_name="slope"))
    body = [scaled, helper.make_node("Abs", ["b"], ["c"])]
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function(
        "local",
        "Bent",
        ["a"],
        ["c"],
        body,
        imports,
        attributes=[],
        attribute_protos=[helper.make_attribute("slope", 0.25)],
    )
    nodes = [
        helper.make_node("Bent", ["x"], ["t"], domain="local"),
        helper.make_node("Bent", ["t"], ["y"], domain="local", slope=0.5, name="outer"),
    ]
    graph = check(model(nodes, functions=[function]), {"x": X})
    assert str(graph.ops[-1].location) == "outer"


def test_a_refusal_in_a_function_names_the_way_to_it() -> None:
    body = [helper.make_node("Nonsense", ["a"], ["c"], name="inner")]
    function = helper.make_function("local", "F", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("F", ["x"], ["y"], domain="local", name="outer")]
    with pytest.raises(Refused) as refusal:
        import_model(model(nodes, functions=[function]))
    assert [d.node for d in refusal.value.diagnostics] == ["F 'outer' > Nonsense 'inner'"]


def test_onnx_function_bodies_serve_operators_without_an_importer() -> None:
    made = model(
        [helper.make_node("MeanVarianceNormalization", ["x"], ["y"])], [info("x", [2, 3, 4, 4])]
    )
    check(made, {"x": floats(2, 3, 4, 4)})


# Control flow.


def branch(op_type: str, operand: str = "x") -> onnx.GraphProto:
    return helper.make_graph([helper.make_node(op_type, [operand], ["b"])], op_type, [], out("b"))


@pytest.mark.parametrize("condition", [False, True])
def test_a_known_if_imports_the_taken_branch_only(condition: bool) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["outer"]),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch("Abs", "outer"),
            else_branch=branch("Exp" if not condition else "Nonsense", "outer"),
        ),
    ]
    stored = [helper.make_tensor("c", BOOL, [], [condition])]
    graph = import_model(model(nodes, initializers=stored))
    assert mnemonics(graph) == ["neg", "abs" if condition else "exp"]


@pytest.mark.parametrize("condition", [False, True])
def test_an_unknown_if_selects(condition: bool) -> None:
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch("Abs"), else_branch=branch("Exp"))
    ]
    check(model(nodes, [info("x"), info("c", [], BOOL)]), {"x": X, "c": np.array(condition)})


def loop(trip_count: int, cond: bool = True) -> onnx.ModelProto:
    """v = v + w + i, stacked; w is from outside, `limit` ends the loop early."""
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
            helper.make_node("Add", ["v", "f"], ["t"]),
            helper.make_node("Add", ["t", "w"], ["v_out"]),
            helper.make_node("Identity", ["v_out"], ["s"]),
            helper.make_node("Less", ["i", "limit"], ["c_out"]),
        ],
        "body",
        [info("i", [], INT64), info("c", [], BOOL), info("v")],
        [info("c_out", [], BOOL), info("v_out"), info("s")],
        [helper.make_tensor("limit", INT64, [], [3])],
    )
    stored = [
        helper.make_tensor("m", INT64, [], [trip_count]),
        helper.make_tensor("start", BOOL, [], [cond]),
        numpy_helper.from_array(floats(3), "w"),
    ]
    nodes = [helper.make_node("Loop", ["m", "start", "x"], ["y", "all"], body=body)]
    return model(nodes, outputs=out("y", "all"), initializers=stored)


@pytest.mark.parametrize("trip_count", [1, 3, 100])
def test_loops_are_unrolled(trip_count: int) -> None:
    check(loop(trip_count), {"x": X})


def test_a_loop_that_never_runs_has_no_scan_output() -> None:
    with pytest.raises(Refused, match="no iterations"):
        import_model(loop(5, cond=False))


@pytest.mark.parametrize("backward", [0, 1])
def test_scans_are_unrolled(backward: int) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "e"], ["next"]),
            helper.make_node("Mul", ["next", "e"], ["o"]),
        ],
        "body",
        [info("state", [3]), info("e", [3])],
        [info("next", [3]), info("o", [3])],
    )
    node = helper.make_node(
        "Scan",
        ["s", "x"],
        ["y", "all"],
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[backward],
        scan_output_directions=[backward],
    )
    made = model([node], [info("s", [3]), info("x")], outputs=out("y", "all"))
    graph = import_model(made)
    start = floats(3, seed=1)
    state, collected = start, []
    for row in X[::-1] if backward else X:
        state = np.add(state, row)
        collected.append(np.multiply(state, row))
    got = interpret(graph, {"s": start, "x": X})
    np.testing.assert_allclose(got["y"], state, rtol=1e-6)
    np.testing.assert_allclose(got["all"], collected[::-1] if backward else collected, rtol=1e-6)


# Real models.

REAL_MODELS = [
    *(
        f"mlperf_tiny/{name}_{form}"
        for name in (
            "ad_autoencoder",
            "ic_resnet8",
            "kws_dscnn",
            "sww_streaming",
            "vww_mobilenetv1_025",
        )
        for form in ("fp32", "fp32_bn")
    ),
    *(
        f"other/{name}"
        for name in (
            "dtln_1",
            "magika_v3_3",
            "mnist_cnn",
            "ppocr_cls",
            "silero_vad_16k",
            "stories260k_prefill64",
            "ultraface_rfb320",
            "yunet_n_320",
        )
    ),
]


@pytest.mark.parametrize("name", REAL_MODELS)
def test_real_models_agree_with_onnx_runtime(name: str, shared_dir: Path) -> None:
    graph = import_model(shared_dir / "models" / f"{name}.onnx")
    stored = np.load(shared_dir / "models" / "reference_io" / f"{name.split('/')[1]}.npz")
    assert [value.type for value in graph.inputs] == [
        TensorType(value.type.dtype, stored[f"in0/{value.name}"].shape) for value in graph.inputs
    ]
    for sample in range(3):
        feeds = {value.name: stored[f"in{sample}/{value.name}"] for value in graph.inputs}
        for output, got in interpret(graph, feeds).items():
            want = stored[f"out{sample}/{output}"]
            scale = max(1.0, float(np.max(np.abs(want), initial=0)))
            np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-5)
