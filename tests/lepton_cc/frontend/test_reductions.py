"""Reductions, argmax and the softmax family against the reference evaluator and ONNX Runtime."""

import numpy as np
import pytest

from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers


def f32(content: object) -> Array:
    """An array of binary32 numbers."""
    return np.asarray(content, np.float32)


X = floats(3, 4, 5)
POSITIVE = np.abs(X) + np.float32(0.1)
WHOLE = integers(-9, 9, 3, 4, 5, dtype="int32")
_PLAIN = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin")
_COMPOSED = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")

CASES = {
    **{
        f"{op.lower()}-attribute-{list(axes)}-{keep}": NodeCase(
            op, (POSITIVE,), {"axes": list(axes), "keepdims": keep}, opset=opset, rtol=1e-4
        )
        for op in (*_PLAIN, *_COMPOSED)
        for axes, keep, opset in (((1,), 1, 9), ((0, 2), 0, 11), ((-1,), 1, 12))
    },
    **{
        f"{op.lower()}-attribute-all": NodeCase(op, (POSITIVE,), opset=11, rtol=1e-4)
        for op in (*_PLAIN, *_COMPOSED)
    },
    **{
        f"{op.lower()}-input-{axes}-{keep}": NodeCase(
            op, (POSITIVE, np.array(axes)), {"keepdims": keep}, known=(1,), opset=opset, rtol=1e-4
        )
        for op in (*_PLAIN, *_COMPOSED)
        for axes, keep, opset in (([1], 1, 18), ([2, 0], 0, 20), ([-2, -1], 1, 22))
    },
    **{
        f"{op.lower()}-noop-{form}": NodeCase(op, operands, {"noop_with_empty_axes": 1}, known=(1,))
        for op in _PLAIN
        for form, operands in (
            ("absent", (POSITIVE,)),
            ("empty", (POSITIVE, np.array([], np.int64))),
        )
    },
    "noop-keeps-the-square": NodeCase("ReduceSumSquare", (X,), {"noop_with_empty_axes": 1}),
    "noop-keeps-the-logarithm": NodeCase("ReduceLogSum", (POSITIVE,), {"noop_with_empty_axes": 1}),
    **{
        f"{op.lower()}-empty-axes-reduce-all": NodeCase(
            op, (POSITIVE, np.array([], np.int64)), known=(1,), rtol=1e-4, onnxruntime=True
        )
        for op in _PLAIN
    },
    **{
        f"{op.lower()}-integers": NodeCase(op, (WHOLE, np.array([1])), known=(1,))
        for op in ("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")
    },
    "reducesum-attribute-integers": NodeCase("ReduceSum", (WHOLE,), {"axes": [1]}, opset=11),
    "reducemax-bool": NodeCase("ReduceMax", (np.greater(WHOLE, 3), np.array([1])), known=(1,)),
    "reducesum-scalar": NodeCase("ReduceSum", (f32(3.5),)),
    "reducelogsumexp-large": NodeCase(
        "ReduceLogSumExp",
        (f32([[1000, 1001, -np.inf], [-np.inf, -np.inf, -np.inf]]), np.array([1])),
        known=(1,),
        onnxruntime=True,
    ),
    "reducel2-float16": NodeCase(
        "ReduceL2", (floats(3, 9, dtype="float16"), np.array([1])), known=(1,), rtol=2e-3, atol=2e-3
    ),
    **{
        f"{op.lower()}-{axis}-{keep}-{opset}": NodeCase(
            op, (X,), {"axis": axis, "keepdims": keep}, opset=opset
        )
        for op in ("ArgMax", "ArgMin")
        for axis in (0, 2)
        for keep in (0, 1)
        for opset in (8, 11, 13)
    },
    **{
        f"{op.lower()}-last-{last}": NodeCase(
            op, (integers(0, 3, 4, 9, dtype="int32"),), {"axis": -1, "select_last_index": last}
        )
        for op in ("ArgMax", "ArgMin")
        for last in (0, 1)
    },
    **{
        f"{op.lower()}-{axis}-{opset}": NodeCase(
            op, (X,), {"axis": axis}, opset=opset, onnxruntime=True
        )
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for axis in (0, 1, 2, -1)
        for opset in ((11, 13) if axis < 0 else (8, 11, 13))
    },
    **{
        f"{op.lower()}-default-{opset}": NodeCase(op, (X,), opset=opset, onnxruntime=True)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (9, 13)
    },
    "hardmax-ties": NodeCase("Hardmax", (f32([[1, 3, 3], [2, 2, 2]]),), {"axis": 1}),
    "softmax-large": NodeCase("Softmax", (f32([[1e4, 0, -1e4], [88, 89, 90]]),)),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_oracle(name: str) -> None:
    CASES[name].check()


REFUSED = {
    "axis-outside": NodeCase("ReduceSum", (X, np.array([3])), known=(1,)),
    "axes-at-run-time": NodeCase("ReduceSum", (X, np.array([1]))),
    "argmax-axis-outside": NodeCase("ArgMax", (X,), {"axis": 3}),
    "argmax-of-nothing": NodeCase("ArgMax", (floats(3, 0),), {"axis": 1}),
    "sum-of-bools": NodeCase("ReduceSum", (np.greater(X, 0), np.array([1])), known=(1,)),
    "softmax-of-integers": NodeCase("Softmax", (WHOLE,)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    REFUSED[name].check_refused()
