"""BitCast, Det, DeformConv, MaxPool's Indices, and operators that are refused with a reason."""

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers


def _deform(groups: int, offset_groups: int, **attributes: object) -> NodeCase:
    x = floats(2, 4, 6, 5)
    out = (4, 3) if not attributes else (3, 3)
    taps = 9 * offset_groups
    return NodeCase(
        "DeformConv",
        (
            x,
            floats(6, 4 // groups, 3, 3, seed=1),
            floats(2, 2 * taps, *out, seed=2),
            floats(6, seed=3),
            floats(2, taps, *out, seed=4),
        ),
        {"group": groups, "offset_group": offset_groups, **attributes},
        atol=1e-4,
    )


CASES = {
    **{
        f"bitcast-{source.__name__}-{target.__name__}": NodeCase(
            "BitCast",
            (floats(3, 4).astype(source) if issubclass(source, np.floating) else numbers,),
            {"to": helper.np_dtype_to_tensor_dtype(np.dtype(target))},
            opset=26,
        )
        for source, target, numbers in (
            (np.float32, np.int32, None),
            (np.float32, np.uint32, None),
            (np.float64, np.int64, None),
            (np.float16, np.int16, None),
            (np.int8, np.uint8, integers(-128, 128, 3, 4, dtype="int8")),
            (np.int32, np.float32, integers(0, 2**30, 3, 4, dtype="int32")),
            (np.uint16, np.float16, integers(0, 2**14, 3, 4, dtype="uint16")),
        )
    },
    **{
        f"det-{n}": NodeCase("Det", (floats(2, 3, n, n),), rtol=1e-3, atol=1e-4)
        for n in (1, 2, 3, 4)
    },
    "deform-conv": _deform(1, 1),
    "deform-conv-groups": _deform(2, 2),
    "deform-conv-strided": _deform(1, 2, strides=[2, 2], pads=[1, 1, 1, 1]),
    **{
        f"max-pool-indices-{order}-{name}": NodeCase(
            "MaxPool",
            (floats(2, 3, 6, 7),),
            {"kernel_shape": [3, 2], "storage_order": order, **attributes},
            num_outputs=2,
            onnxruntime=True,
        )
        for order in (0, 1)
        for name, attributes in (
            ("plain", {}),
            ("strided", {"strides": [2, 2]}),
            ("padded", {"pads": [1, 1, 2, 0]}),
        )
    },
}


@pytest.mark.parametrize("name", CASES)
def test_against_oracle(name: str) -> None:
    CASES[name].check()


def test_bitcast_of_nibbles() -> None:
    x = np.array([-8, -1, 0, 7], ml_dtypes.int4)
    (y,) = NodeCase("BitCast", (x,), {"to": 21}, opset=26).interpreted()
    assert y.astype(int).tolist() == [8, 15, 0, 7]


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes", "reason"),
    [
        ("RandomUniformLike", (floats(3),), {}, "random"),
        ("Bernoulli", (floats(3),), {}, "random"),
        ("NonMaxSuppression", (floats(1, 4, 4), floats(1, 2, 4)), {}, "hangs on data"),
        ("Det", (floats(5, 5),), {}, "at most 4"),
        ("Det", (floats(2, 3),), {}, "no square matrix"),
        ("BitCast", (floats(3),), {"to": 7}, "not the width"),
    ],
)
def test_refused(
    op_type: str, operands: tuple[object, ...], attributes: dict[str, int], reason: str
) -> None:
    case = NodeCase(op_type, operands, attributes, opset=26)  # type: ignore[arg-type]  # arrays
    with pytest.raises(Refused, match=reason):
        import_model(case.model())
