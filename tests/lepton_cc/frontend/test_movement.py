"""Operators that read and change shapes and move elements, against the reference evaluator."""

import numpy as np
import pytest

from lepton_cc.ir.ops.constant import Constant
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

X = floats(2, 3, 4)
IMAGE = floats(2, 8, 4, 6)


def ints(*elements: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(elements, np.int64)


def known(op_type: str, x: object, *parameters: object, **attributes: object) -> NodeCase:
    """A case whose operands after the first are initializers."""
    indices = tuple(range(1, 1 + len(parameters)))
    return NodeCase(op_type, (x, *parameters), attributes, known=indices)  # type: ignore[arg-type]  # arrays or None


CASES = {
    "shape": NodeCase("Shape", (X,)),
    "shape-1": NodeCase("Shape", (X,), opset=7),
    **{
        f"shape-{start}-{end}": NodeCase("Shape", (X,), {"start": start, "end": end})
        for start, end in ((0, 2), (1, 9), (-2, -1), (-9, 1), (2, 1))
    },
    "size": NodeCase("Size", (X,)),
    **{
        f"reshape-{shape}": known("Reshape", X, np.array(shape))
        for shape in ([6, 4], [-1], [0, -1], [0, 0, 2, 2], [4, 1, -1])
    },
    "reshape-scalar": known("Reshape", floats(1), np.array([], np.int64)),
    "reshape-allowzero": known("Reshape", floats(3, 0), ints(0, 7), allowzero=1),
    **{
        f"flatten-{axis}": NodeCase("Flatten", (X,), {"axis": axis}, opset=opset)
        for axis, opset in ((0, 9), (1, 9), (2, 11), (3, 13), (-1, 13), (-3, 22))
    },
    "squeeze-all": NodeCase("Squeeze", (floats(1, 3, 1),)),
    "squeeze-attribute": NodeCase("Squeeze", (floats(1, 3, 1),), {"axes": [0]}, opset=9),
    "squeeze-attribute-negative": NodeCase("Squeeze", (floats(1, 3, 1),), {"axes": [-1]}, opset=11),
    "squeeze-input": known("Squeeze", floats(1, 3, 1), ints(-1, 0)),
    "unsqueeze-attribute": NodeCase("Unsqueeze", (X,), {"axes": [0, 2]}, opset=11),
    "unsqueeze-input": known("Unsqueeze", X, ints(-1, 1)),
    "transpose": NodeCase("Transpose", (X,)),
    "transpose-perm": NodeCase("Transpose", (X,), {"perm": [1, 0, 2]}),
    "expand": known("Expand", floats(3, 1), ints(2, 1, 6)),
    "expand-less": known("Expand", floats(3, 4), ints(1)),
    "constant-of-shape": NodeCase("ConstantOfShape", (ints(2, 3),), known=(0,)),
    "constant-of-shape-scalar": NodeCase("ConstantOfShape", (ints(),), known=(0,)),
    **{
        f"range-{start}-{limit}-{delta}-{dtype}": NodeCase(
            "Range",
            tuple(np.array(bound, dtype) for bound in (start, limit, delta)),
            known=(0, 1, 2),
        )
        for start, limit, delta, dtype in (
            (1, 9, 2, "int64"),
            (9, 0, -3, "int32"),
            (5, 1, 1, "int16"),
            (0.5, 2.0, 0.25, "float32"),
            (1.0, -1.0, -0.3, "float64"),
        )
    },
    **{
        f"eye-like-{k}": NodeCase("EyeLike", (floats(3, 5),), {"k": k, "dtype": 6})
        for k in (-2, 0, 1)
    },
    "eye-like-own-type": NodeCase("EyeLike", (floats(4, 2),)),
    # Moving elements.
    **{
        f"tile-{list(repeats)}": known("Tile", X, np.array(repeats))
        for repeats in ((1, 1, 1), (2, 1, 3), (1, 2, 1), (1, 0, 1))
    },
    "tile-ones": known("Tile", floats(1, 3, 1), ints(4, 2, 5)),
    **{
        f"concat-{axis}": NodeCase("Concat", (X, floats(2, 3, 4, seed=1), X), {"axis": axis})
        for axis in (0, 1, -1)
    },
    "concat-one": NodeCase("Concat", (X,), {"axis": 0}),
    "split-equal-2": NodeCase("Split", (X,), {"axis": 2}, num_outputs=2, opset=11),
    "split-attribute": NodeCase(
        "Split", (X,), {"axis": 2, "split": [1, 3]}, num_outputs=2, opset=11
    ),
    "split-input": NodeCase(
        "Split", (X, ints(3, 0, 1)), {"axis": -1}, known=(1,), num_outputs=3, opset=13
    ),
    "split-equal-13": NodeCase("Split", (X,), {"axis": 0}, num_outputs=2, opset=13),
    "split-uneven": NodeCase("Split", (floats(7, 2),), {"num_outputs": 3}, num_outputs=3, opset=18),
    "slice-attributes": NodeCase(
        "Slice",
        (X,),
        {"starts": [0, -3], "ends": [1, 100], "axes": [0, 2]},
        opset=9,
        onnxruntime=True,
    ),
    **{
        f"slice-{i}": known("Slice", X, *(np.array(bounds) for bounds in form))
        for i, form in enumerate(
            (
                ([0, 1], [2, 3]),
                ([0, 1], [1, 3], [1, 2]),
                ([-1], [-100], [2], [-1]),
                ([3, 2], [0, 0], [2, 1], [-2, -1]),
                ([0], [9223372036854775807], [-1], [3]),
                ([-9223372036854775807], [2], [1], [1]),
                ([2], [1], [0], [1]),
                ([10], [20], [1], [1]),
            )
        )
    },
    "pad-attributes": NodeCase(
        "Pad", (X,), {"pads": [0, 1, 2, 1, 0, 0], "value": 1.5}, opset=10, onnxruntime=True
    ),
    **{
        f"pad-{mode}": known("Pad", X, ints(0, 1, 2, 1, 0, 3), mode=mode)
        for mode in ("constant", "edge", "reflect", "wrap")
    },
    "pad-value": known("Pad", X, ints(0, 1, 2, 1, 0, 0), np.array(2.5, "f4")),
    "pad-axes": known("Pad", X, ints(1, 2, 0, 3), np.array(2.5, "f4"), ints(-1, 0)),
    "pad-negative": NodeCase("Pad", (X, ints(0, -1, 2, 1, 0, -3)), known=(1,), onnxruntime=True),
    "pad-nothing": known("Pad", X, ints(0, 0, 0, 0, 0, 0)),
    **{
        f"gather-{axis}": NodeCase("Gather", (X, ints(1, 0, -1)), {"axis": axis}, known=(1,))
        for axis in (0, 1, -1)
    },
    "gather-scalar": NodeCase("Gather", (X, np.array(1)), {"axis": 1}, known=(1,)),
    "gather-at-run-time": NodeCase(
        "Gather", (X, integers(-3, 3, 2, 2, dtype="int32")), {"axis": 1}
    ),
    "compress": NodeCase("Compress", (X, np.array([True, False, True])), {"axis": 1}, known=(1,)),
    "compress-flat": NodeCase("Compress", (X, np.array([False, True, False, True])), known=(1,)),
    **{
        f"depth-to-space-{mode}": NodeCase("DepthToSpace", (IMAGE,), {"blocksize": 2, "mode": mode})
        for mode in ("DCR", "CRD")
    },
    "depth-to-space-1": NodeCase("DepthToSpace", (IMAGE,), {"blocksize": 2}, opset=9),
    "space-to-depth": NodeCase("SpaceToDepth", (IMAGE,), {"blocksize": 2}),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_oracle(name: str) -> None:
    CASES[name].check()


REFUSED = {
    "reshape-at-run-time": NodeCase("Reshape", (X, ints(6, 4))),
    "reshape-copies-too-much": known("Reshape", X, ints(2, 3, 4, 0)),
    "flatten-axis": NodeCase("Flatten", (X,), {"axis": 4}),
    "unsqueeze-repeats": known("Unsqueeze", X, ints(0, 0)),
    "expand-misfits": known("Expand", X, ints(5, 1)),
    "tile-of-other-rank": known("Tile", X, ints(2)),
    "concat-misfits": NodeCase("Concat", (X, floats(2, 2, 4)), {"axis": 0}),
    "split-uneven-13": NodeCase("Split", (floats(7),), num_outputs=2, opset=13),
    "gather-outside": NodeCase("Gather", (X, ints(2)), known=(1,)),
    "pad-mode": known("Pad", X, ints(0, 0, 0, 0, 0, 0), mode="mirror"),
    "depth-to-space-of-other-depth": NodeCase("DepthToSpace", (IMAGE,), {"blocksize": 3}),
    "space-to-depth-of-other-size": NodeCase("SpaceToDepth", (IMAGE,), {"blocksize": 4}),
    "eye-like-of-a-cube": NodeCase("EyeLike", (X,)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    REFUSED[name].check_refused()


@pytest.mark.parametrize("op_type", ["Shape", "Size"])
def test_shapes_are_constants(op_type: str) -> None:
    graph = NodeCase(op_type, (X,)).graph()
    assert [type(op.kind) for op in graph.ops] == [Constant]
