"""Resize, Upsample and the sampling operators against ONNX's reference evaluator."""

import itertools

import numpy as np
import pytest

from lepton_cc.frontend.importer import import_model
from lepton_cc.frontend.resize_tables import (
    AxisResize,
    Coordinates,
    Interpolation,
    interpolation_table,
)
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.ops.resample import Resample
from tests.lepton_cc.frontend.node_case import NodeCase, floats, integers

X = floats(1, 2, 5, 4)
COORDINATES = [mode.value for mode in Coordinates if mode is not Coordinates.TF_CROP_AND_RESIZE]
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resize(
    sizes: tuple[int, ...] = (), scales: tuple[float, ...] = (), **attributes: object
) -> NodeCase:
    """A Resize of X's spatial axes."""
    return NodeCase(
        "Resize",
        (
            X,
            None,
            np.asarray(scales, np.float32) if scales else None,
            np.asarray(sizes) if sizes else None,
        ),
        {"axes": [2, 3], **attributes},
        known=(1, 2, 3),
        opset=19,
    )


CASES = {
    **{
        f"{mode}-{coordinates}-{sizes}": resize(
            sizes, mode=mode, coordinate_transformation_mode=coordinates
        )
        for mode, coordinates, sizes in itertools.product(
            ("linear", "cubic"), COORDINATES, ((8, 7), (3, 2), (1, 9))
        )
    },
    **{
        f"nearest-{rounding}-{coordinates}": resize(
            (8, 3), nearest_mode=rounding, coordinate_transformation_mode=coordinates
        )
        for rounding, coordinates in itertools.product(ROUNDINGS, COORDINATES)
    },
    **{
        f"scales-{mode}-{scales}": resize(scales=scales, mode=mode)
        for mode, scales in itertools.product(
            ("nearest", "linear", "cubic"), ((1.7, 0.55), (2.0, 3.0), (0.3, 1.0))
        )
    },
    **{
        f"antialias-{mode}-{sizes}": resize(sizes, mode=mode, antialias=1)
        for mode, sizes in itertools.product(("linear", "cubic"), ((2, 2), (3, 7)))
    },
    **{
        f"exclude-outside-{a}": resize((7, 9), mode="cubic", exclude_outside=1, cubic_coeff_a=a)
        for a in (-0.5, -0.75)
    },
    **{
        f"{policy}-{mode}": resize((9, 6), mode=mode, keep_aspect_ratio_policy=policy)
        for policy, mode in itertools.product(("not_larger", "not_smaller"), ("nearest", "linear"))
    },
    **{
        f"crop-{mode}": NodeCase(
            "Resize",
            (X, np.array([0.1, -0.2, 0.8, 1.1], np.float32), None, np.array([6, 5])),
            {
                "axes": [2, 3],
                "mode": mode,
                "coordinate_transformation_mode": "tf_crop_and_resize",
                "extrapolation_value": 7.5,
            },
            known=(1, 3),
        )
        for mode in ("linear", "cubic", "nearest")
    },
    "3d-linear": NodeCase(
        "Resize",
        (floats(1, 1, 3, 4, 2), None, None, np.array([1, 1, 5, 3, 4])),
        {"mode": "linear"},
        known=(3,),
    ),
    **{
        f"upsample-{mode}": NodeCase(
            "Upsample",
            (X, np.array([1, 1, 2, 3], np.float32)),
            {"mode": mode},
            known=(1,),
            opset=9,
            onnxruntime=True,
        )
        for mode in ("nearest", "linear")
    },
    "upsample-7": NodeCase(
        "Upsample", (X,), {"scales": [1.0, 1.0, 2.0, 2.0]}, opset=8, onnxruntime=True
    ),
    "resize-10": NodeCase(
        "Resize",
        (X, np.array([1, 1, 2, 2], np.float32)),
        {"mode": "linear"},
        known=(1,),
        opset=10,
        onnxruntime=True,
    ),
    "bytes": NodeCase(
        "Resize",
        (integers(0, 200, 1, 1, 4, 4, dtype="uint8"), None, None, np.array([1, 1, 8, 3])),
        known=(3,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_resize(name: str) -> None:
    CASES[name].check()


def test_only_changed_axes_cost_an_op() -> None:
    graph = resize((5, 8), mode="linear").graph()
    (op,) = [op for op in graph.ops if isinstance(op.kind, Resample)]
    assert op.kind == Resample(3)


@pytest.mark.parametrize("mode", [Interpolation.LINEAR, Interpolation.CUBIC])
@pytest.mark.parametrize("size", [(5, 11), (11, 5), (4, 4)])
def test_weights_sum_to_one(mode: Interpolation, size: tuple[int, int]) -> None:
    axis = AxisResize(size[0], size[1], size[1] / size[0])
    x = axis.coordinates(Coordinates.HALF_PIXEL)
    table = interpolation_table(axis, x, mode, antialias=True, cubic_a=-0.75, exclude_outside=False)
    np.testing.assert_allclose(table.weights.sum(axis=1), 1, rtol=1e-12)
    assert table.indices.min() >= 0
    assert table.indices.max() < size[0]


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(Refused, match="mode 'area' is unknown"):
        import_model(resize((2, 2), mode="area").model())


GRID = np.clip(floats(1, 3, 4, 2) * 1.2, -3, 3)
SAMPLES = {
    **{
        f"grid-{mode}-{padding}-{align}": NodeCase(
            "GridSample",
            (X, GRID),
            {"mode": mode, "padding_mode": padding, "align_corners": align},
            atol=1e-4,
        )
        for mode in ("nearest", "linear", "cubic")
        for padding in ("zeros", "border", "reflection")
        for align in (0, 1)
    },
    "grid-3d": NodeCase("GridSample", (floats(2, 2, 3, 4, 3), floats(2, 2, 3, 2, 3)), atol=1e-4),
    "grid-16": NodeCase(
        "GridSample", (X, GRID), {"mode": "bicubic"}, opset=16, onnxruntime=True, atol=1e-4
    ),
    **{
        f"roi-align-{mode}-{ratio}-{transform}": NodeCase(
            "RoiAlign",
            (
                floats(2, 3, 8, 9),
                np.array([[0, 0, 7, 6], [2.5, 1, 9, 8.5], [-3, -2, 4, 3.3]], np.float32),
                np.array([0, 1, 1]),
            ),
            {
                "mode": mode,
                "sampling_ratio": ratio,
                "output_height": 3,
                "output_width": 2,
                "spatial_scale": 0.8,
                "coordinate_transformation_mode": transform,
            },
            known=(1,),
        )
        for mode in ("avg", "max")
        for ratio in (0, 2)
        for transform in ("half_pixel", "output_half_pixel")
    },
    **{
        f"affine-{len(size) - 2}d-{align}": NodeCase(
            "AffineGrid",
            (floats(2, len(size) - 2, len(size) - 1), np.array(size)),
            {"align_corners": align},
            known=(1,),
        )
        for size in ((2, 3, 4, 5), (2, 3, 3, 4, 5))
        for align in (0, 1)
    },
    "col2im": NodeCase(
        "Col2Im",
        (floats(2, 12, 9), np.array([5, 5]), np.array([2, 2])),
        {"pads": [0, 1, 1, 0], "strides": [2, 2]},
        known=(1, 2),
    ),
    "col2im-dilated": NodeCase(
        "Col2Im",
        (floats(1, 4, 6), np.array([4, 5]), np.array([2, 2])),
        {"dilations": [2, 2]},
        known=(1, 2),
    ),
    **{
        f"center-crop-pad-{sizes}": NodeCase(
            "CenterCropPad", (X, np.array(sizes)), {"axes": [2, 3]}, known=(1,)
        )
        for sizes in ((3, 7), (8, 1), (5, 4))
    },
}


@pytest.mark.parametrize("name", SAMPLES)
def test_sampling(name: str) -> None:
    SAMPLES[name].check()


def test_max_unpool_undoes_max_pool() -> None:
    x = np.array([[[[5.0, 6], [7, 8]]]], np.float32)
    indices = np.array([[[[0, 3], [9, 14]]]])
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    (y,) = NodeCase("MaxUnpool", (x, indices), attributes).interpreted()
    expected = np.zeros(16, np.float32)
    expected[[0, 3, 9, 14]] = [5, 6, 7, 8]
    np.testing.assert_array_equal(y, expected.reshape(1, 1, 4, 4))
