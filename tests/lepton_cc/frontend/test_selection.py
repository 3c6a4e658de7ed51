"""TopK, running sums and products, Trilu, NonZero, Unique against the reference evaluator."""

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

CASES = {
    **{
        f"topk-{largest}-{axis}": NodeCase(
            "TopK",
            (floats(4, 5, 3), np.array([3])),
            {"axis": axis, "largest": largest},
            known=(1,),
            num_outputs=2,
        )
        for largest in (0, 1)
        for axis in (0, 1, -1)
    },
    **{
        f"topk-ties-{largest}": NodeCase(
            "TopK",
            (integers(0, 3, 3, 9, dtype="int32"), np.array([5])),
            {"largest": largest},
            known=(1,),
            num_outputs=2,
            onnxruntime=True,
        )
        for largest in (0, 1)
    },
    "topk-1": NodeCase("TopK", (floats(3, 5),), {"k": 2}, num_outputs=2, opset=9),
    **{
        f"{op_type}-{axis}-{exclusive}{reverse}": NodeCase(
            op_type,
            (floats(3, 4, 2), np.array(axis)),
            {"exclusive": exclusive, "reverse": reverse},
            known=(1,),
            opset=opset,
        )
        for op_type, opset in (("CumSum", 14), ("CumProd", 26))
        for axis in (0, 1, -1)
        for exclusive in (0, 1)
        for reverse in (0, 1)
    },
    "cumsum-integers": NodeCase(
        "CumSum", (integers(-9, 9, 3, 4, dtype="int32"), np.array(1)), known=(1,)
    ),
    **{
        f"trilu-{upper}-{k}": NodeCase(
            "Trilu", (floats(2, 4, 5), np.array(k)), {"upper": upper}, known=(1,)
        )
        for upper in (0, 1)
        for k in (-7, -1, 0, 2, 9)
    },
    "nonzero": NodeCase("NonZero", (integers(0, 2, 3, 4),), known=(0,)),
    **{
        f"unique-{axis}-{in_order}": NodeCase(
            "Unique",
            (integers(0, 3, 5, 2),),
            {"sorted": in_order} | ({} if axis is None else {"axis": axis}),
            known=(0,),
            num_outputs=4,
            onnxruntime=True,
        )
        for axis in (None, 0, 1)
        for in_order in (0, 1)
    },
}


@pytest.mark.parametrize("name", CASES)
def test_against_reference(name: str) -> None:
    CASES[name].check()


def test_nan_is_the_largest() -> None:
    x = np.array([1, np.nan, 3, -np.inf, np.nan], np.float32)
    values, indices = NodeCase("TopK", (x, np.array([3])), known=(1,), num_outputs=2).interpreted()
    assert indices.tolist() == [1, 4, 2]
    assert values.tolist()[2] == 3


@pytest.mark.parametrize("op_type", ["NonZero", "Unique"])
def test_data_dependent_shape_is_refused(op_type: str) -> None:
    with pytest.raises(Refused, match="known at compile time"):
        import_model(NodeCase(op_type, (floats(3),)).model())
