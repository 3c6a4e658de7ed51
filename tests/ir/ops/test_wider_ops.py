"""Typing rules and corner values of scans, scatter, topk, norms, resample and quantize."""

import ml_dtypes
import numpy as np
import pytest

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.bitcast import Bitcast
from lepton_cc.ir.ops.cell import Activation, CellFunction
from lepton_cc.ir.ops.cumulative import Cumulative, CumulativeFunction
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.recurrent import Gru, Lstm, Rnn
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan
from lepton_cc.ir.ops.scatter import Scatter, ScatterFunction
from lepton_cc.ir.ops.topk import TopK
from lepton_cc.ir.types import TensorType


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def i32(*shape: int) -> TensorType:
    return TensorType(DType.I32, shape)


SUM, PROD = CumulativeFunction.SUM, CumulativeFunction.PROD
MISFITS: list[tuple[OpKind, list[TensorType | None]]] = [
    (LstmScan(), [f32(5, 2, 8), f32(2, 7)]),
    (LstmScan(), [f32(5, 2, 8), i32(2, 8)]),
    (LstmScan(), [f32(5, 2, 8), f32(2, 8), f32(3, 2)]),
    (LstmScan(), [f32(5, 2, 8), f32(2, 8), None, None, f32(2, 3)]),
    (LstmScan(), [f32(5, 2, 8), f32(2, 8), None, None, None, f32(2)]),
    (LstmScan(activations=()), [f32(5, 2, 8), f32(2, 8)]),
    (GruScan(), [f32(5, 2, 6), f32(2, 6), None, f32(2)]),
    (RnnScan(), [f32(5, 2, 3), f32(2, 2)]),
    (Lstm(), [f32(5, 2), f32(3, 8), f32(2, 8)]),
    (Gru(), [f32(5, 2, 3), f32(4, 6), f32(2, 6)]),
    (Rnn(), [f32(5, 2, 3), f32(3, 2), f32(2, 2), f32(3)]),
    (Scatter(), [f32(4, 3), i32(2), f32(2, 2)]),
    (Scatter(), [f32(4, 3), i32(2, 1), f32(2, 3)]),
    (Scatter(), [f32(4), f32(2), f32(2)]),
    (
        Scatter(ScatterFunction.ADD),
        [TensorType(DType.BOOL, (4,)), i32(2), TensorType(DType.BOOL, (2,))],
    ),
    (TopK(5, 0), [f32(4)]),
    (TopK(1, 1), [f32(4)]),
    (Cumulative(SUM, 2), [f32(4, 3)]),
    (Cumulative(PROD, 0), [TensorType(DType.BOOL, (4,))]),
    (LayerNorm(3), [f32(2, 3, 4)]),
    (LayerNorm(1), [i32(2, 3)]),
    (LayerNorm(2), [f32(2, 3, 4), f32(3, 4)]),
    (RmsNorm(1), [f32(2, 3), f32(2)]),
    (Resample(0), [f32(4, 3), i32(6, 2), f32(6, 3)]),
    (Resample(0), [f32(0, 3), i32(6, 2), f32(6, 2)]),
    (Quantize(DType.I8), [f32(2, 3), f32(2)]),
    (Quantize(DType.I32), [f32(2, 3), f32()]),
    (Quantize(DType.I8), [f32(3), f32(), TensorType(DType.U8, ())]),
    (Dequantize(), [i32(3), f32(), i32(3)]),
    (Dequantize(DType.I8), [i32(3), f32()]),
    (Bitcast(DType.I16), [f32(3)]),
]


@pytest.mark.parametrize(("kind", "operands"), MISFITS, ids=lambda x: type(x).__name__)
def test_misfit_is_no_type(kind: OpKind, operands: list[TensorType | None]) -> None:
    with pytest.raises(TypeInferenceError):
        kind.infer(operands)


def test_skipped_steps_keep_the_state_and_give_zeros() -> None:
    gates = np.ones((3, 2, 1), np.float32)
    recurrent = np.ones((1, 1), np.float32)
    kind = RnnScan(Activation(CellFunction.AFFINE, 1.0, 0.0))
    y, h = kind.evaluate([gates, recurrent, None, np.array([3, 1], np.int32)])
    assert y[:, :, 0].tolist() == [[1, 1], [2, 0], [3, 0]]
    assert h[:, 0].tolist() == [3, 1]


def test_reverse_scan_starts_at_each_rows_own_end() -> None:
    gates = np.array([1, 10, 100], np.float32).reshape(3, 1, 1)
    recurrent = np.ones((1, 1), np.float32)
    kind = RnnScan(Activation(CellFunction.AFFINE, 1.0, 0.0), reverse=True)
    y, h = kind.evaluate([gates, recurrent, None, np.array([2], np.int32)])
    assert y.reshape(-1).tolist() == [11, 10, 0]
    assert h.item() == 11


@pytest.mark.parametrize(
    ("function", "expected"),
    [("assign", 7.0), ("add", 13.0), ("mul", 70.0), ("min", 1.0), ("max", 10.0)],
)
def test_scatter_combines_in_order(function: str, expected: float) -> None:
    kind = Scatter(ScatterFunction(function))
    updates = np.array([5.0, 7.0], np.float32) if function != "add" else np.array([5.0, 7.0])
    x = {"mul": 2.0, "min": 1.0, "max": 10.0}.get(function, 1.0)
    given = np.array([0, x], updates.dtype)
    (y,) = kind.evaluate([given, np.array([1, 1]), updates])
    assert y.tolist() == [0, expected]


def test_scatter_ignores_rows_outside() -> None:
    x = np.zeros((2, 2), np.float32)
    (y,) = Scatter().evaluate([x, np.array([-1, 2]), np.ones((2, 2), np.float32)])
    np.testing.assert_array_equal(y, x)


def test_topk_keeps_the_order_of_equals() -> None:
    x = np.array([2, 1, 2, 1, 3])
    for largest, expected in ((True, [4, 0, 2, 1, 3]), (False, [1, 3, 0, 2, 4])):
        _, indices = TopK(5, 0, largest).evaluate([x])
        assert indices.tolist() == expected


def test_small_types_accumulate_in_binary32() -> None:
    x = np.full(2048, 1.0, ml_dtypes.bfloat16)
    (y,) = Cumulative(SUM, 0).evaluate([x])
    assert float(y[-1]) == 2048


def test_integers_wrap() -> None:
    x = np.array([100, 100, 100], np.int8)
    (y,) = Cumulative(SUM, 0).evaluate([x])
    assert y.tolist() == [100, -56, 44]


@pytest.mark.parametrize("dtype", [DType.I4, DType.U4, DType.I8, DType.U8, DType.I16, DType.U16])
def test_quantize_saturates_at_the_bounds_of_the_type(dtype: DType) -> None:
    x = np.array([-1e9, 1e9], np.float32)
    (y,) = Quantize(dtype).evaluate([x, np.ones((), np.float32)])
    low = -(1 << (dtype.bits - 1)) if dtype.is_signed_integer else 0
    assert [int(v) for v in y] == [low, low + (1 << dtype.bits) - 1]
