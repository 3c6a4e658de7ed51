"""Pointwise operators against the reference evaluator: unary, binary, activations, casts."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lepton_cc.ir.tensor import Array
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers


def f32(content: object) -> Array:
    """An array of binary32 numbers."""
    return np.asarray(content, np.float32)


X = floats(2, 3, 4)
UNIT = np.linspace(-0.95, 0.95, 24, dtype=np.float32).reshape(2, 3, 4)
POSITIVE = np.abs(X) + np.float32(0.1)
EDGES = np.array([-np.inf, -2.5, -0.5, -0.0, 0.0, 0.5, 1.5, np.inf, np.nan], np.float32)
WHOLE = integers(-20, 20, 3, 4, dtype="int32")
BITS = integers(0, 200, 3, 4, dtype="uint8")
TRUTH = integers(0, 2, 3, 4).astype(np.bool_)
SCALAR = np.array

_ANYWHERE = ["Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Exp", "Sin", "Cos", "Tan"]
_ANYWHERE += ["Sinh", "Cosh", "Tanh", "Asinh", "Atan", "Erf", "Sigmoid", "Identity"]

_ACTIVATIONS: tuple[tuple[str, int, tuple[dict[str, Any], ...]], ...] = (
    ("LeakyRelu", 16, ({}, {"alpha": 0.3})),
    ("Elu", 7, ({}, {"alpha": 2.0})),
    ("Selu", 22, ({}, {"alpha": 2.0, "gamma": 3.0})),
    ("Celu", 12, ({}, {"alpha": 2.0})),
    ("ThresholdedRelu", 22, ({}, {"alpha": 0.2})),
    ("HardSigmoid", 22, ({}, {"alpha": 0.5, "beta": 0.6})),
    ("HardSwish", 22, ({},)),
    ("Softplus", 22, ({},)),
    ("Softsign", 22, ({},)),
    ("Mish", 22, ({},)),
    ("Gelu", 22, ({}, {"approximate": "tanh"})),
    ("Swish", 24, ({}, {"alpha": 1.7})),
    ("Shrink", 9, ({}, {"lambd": 1.0, "bias": 0.25})),
)

CASES = {
    **{op.lower(): NodeCase(op, (X,)) for op in _ANYWHERE},
    **{
        f"{op.lower()}-float16": NodeCase(
            op, (floats(3, 5, dtype="float16"),), rtol=2e-3, atol=2e-3
        )
        for op in ("Exp", "Tanh", "Sigmoid", "Erf")
    },
    **{f"{op.lower()}-edges": NodeCase(op, (EDGES,)) for op in ("Abs", "Ceil", "Round", "Sign")},
    **{op.lower(): NodeCase(op, (UNIT,)) for op in ("Acos", "Asin", "Atanh")},
    **{op.lower(): NodeCase(op, (POSITIVE,)) for op in ("Log", "Sqrt", "Reciprocal")},
    "acosh": NodeCase("Acosh", (POSITIVE + np.float32(1),)),
    "abs-integers": NodeCase("Abs", (WHOLE,)),
    "not": NodeCase("Not", (TRUTH,)),
    "bitwise-not": NodeCase("BitwiseNot", (BITS,)),
    "is-nan": NodeCase("IsNaN", (EDGES,)),
    **{
        f"is-inf-{positive}{negative}": NodeCase(
            "IsInf", (EDGES,), {"detect_positive": positive, "detect_negative": negative}
        )
        for positive in (0, 1)
        for negative in (0, 1)
    },
    # Two operands.
    **{
        f"{op.lower()}-{opset}": NodeCase(op, (X, floats(3, 1, seed=1)), opset=opset)
        for op in ("Add", "Sub", "Mul", "Div")
        for opset in (7, 13, 22)
    },
    **{
        f"{op.lower()}-integers": NodeCase(op, (WHOLE, integers(1, 9, 4, dtype="int32")))
        for op in ("Add", "Sub", "Mul", "Div")
    },
    **{
        f"{op.lower()}-{kind}": NodeCase(op, (x, x[::-1].copy()), opset=opset)
        for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
        for kind, x, opset in (("floats", X, 13), ("integers", WHOLE, 22))
    },
    **{op.lower(): NodeCase(op, (TRUTH, TRUTH[:, ::-1].copy())) for op in ("And", "Or", "Xor")},
    **{
        op.lower(): NodeCase(op, (BITS, BITS[::-1].copy()))
        for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
    },
    **{
        f"bit-shift-{direction}": NodeCase(
            "BitShift", (BITS, integers(0, 8, 3, 4, dtype="uint8")), {"direction": direction}
        )
        for direction in ("LEFT", "RIGHT")
    },
    **{
        f"{op.lower()}-{count}": NodeCase(
            op, tuple(floats(2, 3, seed=i) for i in range(count)), opset=opset
        )
        for op in ("Sum", "Mean", "Max", "Min")
        for count, opset in ((1, 8), (2, 13), (3, 13))
    },
    "max-broadcast-integers": NodeCase("Max", (WHOLE, integers(-9, 9, 4, dtype="int32"))),
    "mod-integers": NodeCase("Mod", (WHOLE, integers(-9, 0, 4, dtype="int32"))),
    "mod-fmod-integers": NodeCase("Mod", (WHOLE, integers(-9, 0, 4, dtype="int32")), {"fmod": 1}),
    "mod-fmod-floats": NodeCase("Mod", (X, floats(4, seed=2)), {"fmod": 1}),
    "pow": NodeCase("Pow", (POSITIVE, floats(4, seed=3))),
    "pow-7": NodeCase("Pow", (POSITIVE, floats(4, seed=3)), opset=7),
    "pow-float-integer": NodeCase("Pow", (X, integers(0, 4, 4)), rtol=1e-4),
    "pow-integer-float": NodeCase("Pow", (np.abs(WHOLE), f32([0, 1, 2, 3]))),
    "pow-integers": NodeCase("Pow", (WHOLE, integers(0, 4, 4, dtype="int64"))),
    "where": NodeCase("Where", (TRUTH, floats(4), floats(3, 1, seed=4))),
    # Activations.
    "relu": NodeCase("Relu", (X,)),
    "relu-integers": NodeCase("Relu", (WHOLE,), opset=14),
    **{
        f"{op.lower()}-{i}": NodeCase(op, (X,), attributes, opset=opset)
        for op, opset, forms in _ACTIVATIONS
        for i, attributes in enumerate(forms)
    },
    "shrink-integers": NodeCase("Shrink", (WHOLE,), {"lambd": 3.0, "bias": 2.0}),
    "softplus-large": NodeCase("Softplus", (f32([-200, -20, 0, 20, 200]),), onnxruntime=True),
    "prelu": NodeCase("PRelu", (X, floats(3, 1, seed=5))),
    "prelu-scalar": NodeCase("PRelu", (X, floats(1, seed=5)), opset=9, onnxruntime=True),
    "clip-6": NodeCase("Clip", (X,), {"min": -0.5, "max": 0.25}, opset=7),
    "clip-6-open": NodeCase("Clip", (X,), {"max": 0.25}, opset=10),
    "clip": NodeCase("Clip", (X, SCALAR(-0.5, "f4"), SCALAR(0.25, "f4")), known=(1, 2)),
    "clip-at-run-time": NodeCase("Clip", (X, SCALAR(-0.5, "f4"), SCALAR(0.25, "f4"))),
    "clip-no-low": NodeCase("Clip", (X, None, SCALAR(0.25, "f4")), known=(2,)),
    "clip-crossed": NodeCase("Clip", (X, SCALAR(0.5, "f4"), SCALAR(-0.5, "f4")), known=(1, 2)),
    "clip-integers": NodeCase("Clip", (WHOLE, SCALAR(-3, "i4"), SCALAR(7, "i4")), known=(1, 2)),
    "clip-large-integers": NodeCase(
        "Clip",
        (np.array([1 << 60, (1 << 60) + 3, 5]), SCALAR(0), SCALAR((1 << 60) + 1)),
        known=(1, 2),
    ),
    "dropout-7": NodeCase("Dropout", (X,), {"ratio": 0.3}, opset=7, onnxruntime=True),
    "dropout-mask": NodeCase("Dropout", (X,), num_outputs=2),
    "dropout-known": NodeCase(
        "Dropout", (X, SCALAR(0.3, "f4"), SCALAR(False)), known=(1, 2), num_outputs=2
    ),
    # Casts (float to integer only where C and NumPy agree).
    **{
        f"cast-{source}-{target}": NodeCase(
            "Cast",
            (integers(0, 100, 3, 4).astype(source),),
            {"to": number},
            opset=opset,
        )
        for source in ("float32", "int64", "uint8", "float16", "bool")
        for target, number, opset in (
            ("float32", 1, 9),
            ("int32", 6, 13),
            ("bool", 9, 13),
            ("int8", 3, 22),
            ("float64", 11, 22),
        )
    },
    "cast-truncates": NodeCase("Cast", (f32([-2.7, -0.5, 0.5, 2.7]),), {"to": 6}),
    "cast-wraps": NodeCase("Cast", (np.array([300, -300, 128]),), {"to": 3}),
    "cast-bfloat16": NodeCase("Cast", (X,), {"to": 16}),
    "cast-float8-saturates": NodeCase("Cast", (f32([1e6, -1e6, 3.3]),), {"to": 17}),
    "cast-float8": NodeCase("Cast", (f32([1e6, -1e6, 3.3]),), {"to": 17, "saturate": 0}),
    "cast-like": NodeCase("CastLike", (X, WHOLE)),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_oracle(name: str) -> None:
    CASES[name].check()


REFUSED = {
    "cast-to-string": NodeCase("Cast", (X,), {"to": 8}),
    "cast-to-nothing": NodeCase("Cast", (X,), {"to": 77}),
    "dropout-training": NodeCase("Dropout", (X, SCALAR(0.5, "f4"), SCALAR(True)), known=(1, 2)),
    "bit-shift-up": NodeCase("BitShift", (BITS, BITS), {"direction": "UP"}),
    "prelu-widens": NodeCase("PRelu", (floats(4), floats(3, 4))),
    "clip-bounds-differ": NodeCase("Clip", (X, SCALAR(1)), known=(1,)),
    "gelu-unknown": NodeCase("Gelu", (X,), {"approximate": "cubic"}),
    "celu-zero": NodeCase("Celu", (X,), {"alpha": 0.0}),
    "and-of-floats": NodeCase("And", (X, X)),
    "exp-of-integers": NodeCase("Exp", (WHOLE,)),
    "where-of-integers": NodeCase("Where", (WHOLE, floats(4), floats(4))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    REFUSED[name].check_refused()


def test_bfloat16_is_computed_in_binary32_and_rounded_once() -> None:
    x = floats(50).astype(ml_dtypes.bfloat16)
    (y,) = NodeCase("Tanh", (x,)).interpreted()
    np.testing.assert_array_equal(y, np.tanh(x.astype(np.float32)).astype(ml_dtypes.bfloat16))
