"""Gathers, scatters and their kin against ONNX's reference evaluator."""

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

REDUCTIONS = ("none", "add", "mul", "min", "max")


def _unique_rows(count: int, *dims: int) -> Array:
    """Distinct index tuples: with reduction none the order of equal ones is open."""
    flat = np.random.default_rng(count).permutation(int(np.prod(dims)))[:count]
    return np.stack(np.unravel_index(flat, dims), axis=-1).astype(np.int64)


CASES = {
    **{
        f"gather-elements-{axis}": NodeCase(
            "GatherElements",
            (floats(3, 4, 5), integers(-3, 3, 2, 3, 5)),
            {"axis": axis},
            onnxruntime=True,
        )
        for axis in (0, 1, -1)
    },
    "gather-elements-bool": NodeCase(
        "GatherElements", (floats(4, 3) > 0, integers(0, 3, 4, 2, dtype="int32")), {"axis": 1}
    ),
    "gather-elements-known": NodeCase(
        "GatherElements", (floats(4, 3), integers(-3, 3, 4, 2)), {"axis": 1}, known=(1,)
    ),
    **{
        f"gather-nd-{name}": NodeCase("GatherND", (x, indices), {"batch_dims": batch})
        for name, x, indices, batch in (
            ("element", floats(3, 4), integers(-3, 3, 5, 2), 0),
            ("row", floats(3, 4, 2), integers(0, 3, 2, 5, 1), 0),
            ("batch", floats(2, 3, 4), integers(0, 3, 2, 1), 1),
            ("batch-rows", floats(2, 3, 4, 2), integers(-3, 3, 2, 5, 1), 1),
            ("two-batches", floats(2, 3, 4, 5), integers(0, 4, 2, 3, 2), 2),
        )
    },
    **{
        f"scatter-elements-{reduction}-{axis}": NodeCase(
            "ScatterElements",
            (
                floats(4, 5),
                np.argsort(floats(4, 5, seed=1), axis=axis)[:3, :3],
                floats(3, 3, seed=2),
            ),
            {"axis": axis, "reduction": reduction},
        )
        for reduction in REDUCTIONS
        for axis in (0, 1)
    },
    "scatter-elements-repeated": NodeCase(
        "ScatterElements",
        (floats(4, 5), integers(-5, 5, 4, 5), floats(4, 5, seed=2)),
        {"axis": 1, "reduction": "add"},
    ),
    "scatter-integers": NodeCase(
        "ScatterElements",
        (
            integers(0, 9, 4, 5, dtype="int32"),
            integers(0, 4, 2, 5),
            integers(0, 9, 2, 5, seed=1, dtype="int32"),
        ),
        {"reduction": "max"},
    ),
    **{
        f"scatter-nd-{reduction}": NodeCase(
            "ScatterND",
            (floats(4, 3, 2), _unique_rows(5, 4, 3), floats(5, 2, seed=1)),
            {"reduction": reduction},
        )
        for reduction in REDUCTIONS
    },
    "scatter-nd-slices": NodeCase(
        "ScatterND", (floats(4, 3, 2), np.array([[2], [-4]]), floats(2, 3, 2, seed=1))
    ),
    **{
        f"one-hot-{axis}": NodeCase(
            "OneHot",
            (integers(-6, 6, 2, 3), np.array(6), np.array([-1.5, 2.5], np.float32)),
            {"axis": axis},
            known=(1,),
        )
        for axis in (-1, 0, 1)
    },
    "one-hot-float-indices": NodeCase(
        "OneHot",
        (
            np.array([1, 7, -1], np.float32),
            np.array([4.0], np.float32),
            np.array([0, 9], np.float32),
        ),
        known=(1,),
        onnxruntime=True,
    ),
    **{
        f"reverse-sequence-{batch}": NodeCase(
            "ReverseSequence",
            (floats(4, 4, 2), np.array([1, 2, 4, 3])),
            {"batch_axis": batch, "time_axis": 1 - batch},
        )
        for batch in (0, 1)
    },
    **{
        f"tensor-scatter-{mode}": NodeCase(
            "TensorScatter",
            (floats(2, 3, 5, 4), floats(2, 3, 2, 4, seed=1), np.array(start)),
            {"mode": mode},
            opset=24,
        )
        for mode, start in (("linear", [1, 3]), ("circular", [4, 2]))
    },
    "tensor-scatter-3d": NodeCase(
        "TensorScatter", (floats(2, 5, 4), floats(2, 3, 4, seed=1)), {"axis": 1}, opset=24
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_against_reference(name: str) -> None:
    CASES[name].check()


def test_indices_outside_never_read_or_write_elsewhere() -> None:
    wild = np.array([[40, -90], [7, 1]])
    (read,) = NodeCase("GatherND", (floats(3, 4), wild)).interpreted()
    assert np.isin(read, floats(3, 4)).all()
    x = floats(3, 4)
    (written,) = NodeCase("ScatterND", (x, wild, floats(2, seed=1))).interpreted()
    np.testing.assert_array_equal(written, x)


def test_known_indices_fold_into_a_table() -> None:
    graph = CASES["gather-elements-known"].graph()
    assert sum(isinstance(op.kind, Gather) for op in graph.ops) == 1
    assert sum(isinstance(op.kind, Constant) for op in graph.ops) == 1


def test_misfit_is_refused() -> None:
    with pytest.raises(Refused, match="do not fit"):
        import_model(NodeCase("GatherND", (floats(3, 4), integers(0, 3, 2, 3))).model())
    operands = (floats(3), np.array([1]), floats(1))
    with pytest.raises(Refused, match="reduction 'xor' is unknown"):
        import_model(NodeCase("ScatterElements", operands, {"reduction": "xor"}).model())
