"""Every way to run a model gives what its plainest code gives, and what ONNX Runtime recorded.

Floats are summed in other orders at other levels and targets, so they cannot be equal to the bit.
A sum of K terms in binary32 moves by about sqrt(K) * 2^-24 of its terms' size when it is reordered;
K is at most a few thousand in these models, which gives 4e-6, and networks of up to 60 layers
mostly average such errors away. Hence 1e-5 of the output's largest magnitude: any real fault, a
wrong element, a missed row, is larger by orders of magnitude.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests import real_models
from tests.differential.ways import ANCHOR, EMULATED, ENGINE, NATIVE, C, Run, Way
from tests.real_models import Arrays, Kind, RealModel

TOLERANCE = 1e-5
# ONNX Runtime fuses quantized graphs into kernels that round elsewhere, which moves outputs by
# steps. Our own ways to run them agree: quantized layers give the same integers everywhere.
STEPS = 2
_FEW_WAYS = ("host-O3", "x86-64", "clang-O3")


# Large ones, and ones that differ from others by their batch normalizations only.
_MOST_WORK = ("ppocr_cls", "ultraface_rfb320", "yunet_n_320", "magika_v3_3")
# gcc takes long for what stands in for matrix registers; other models show the same kernels.
_LONG_IN_C = ("ic_resnet8_fp32", "sww_streaming_fp32", "vww_mobilenetv1_025_fp32")


def _marks(model: RealModel, way: Way, *, always_slow: bool) -> list[pytest.MarkDecorator]:
    variant = model.kind is Kind.TINY_BATCH_NORM or model.name in _MOST_WORK
    matrices = way.name == "gcc-matrices" and model.name in _LONG_IN_C
    if matrices or (variant and way.name != "host-O3"):
        return [pytest.mark.long]
    return [pytest.mark.slow] if always_slow or _slow(model, way) else []


def _slow(model: RealModel, way: Way) -> bool:
    heavy = model.name in ("ic_resnet8_fp32", "vww_mobilenetv1_025_fp32")
    return model.kind is not Kind.REPOSITORY and (heavy or way.is_emulated)


def _pairs() -> list[object]:
    full = [(m, w) for m in (*real_models.DIGITS, *real_models.TINY) for w in (*NATIVE, *C)]
    emulated = [(m, w) for m in (*real_models.DIGITS, *real_models.TINY) for w in EMULATED]
    others = (*real_models.TINY_BATCH_NORM, *real_models.TINY_INT8, *real_models.OTHER)
    few = [(m, w) for m in others for w in (*NATIVE, *C) if w.name in _FEW_WAYS]
    few += [(m, w) for m in real_models.TINY_INT8 for w in ENGINE]
    return [
        pytest.param(m, w, id=f"{m}-{w}", marks=_marks(m, w, always_slow=always_slow))
        for pairs, always_slow in ((full, False), (emulated, False), (few, True))
        for m, w in pairs
    ]


@pytest.mark.parametrize(("model", "way"), _pairs())
def test_way_agrees(model: RealModel, way: Way, tmp_path: Path) -> None:
    run = way.prepare(model.require(), tmp_path)
    for number, sample in enumerate(model.samples()[: 1 if way.is_emulated else None]):
        got = run(sample.inputs)
        assert_close(model, got, anchor_outputs(model, number))
        assert_close(model, got, sample.outputs, steps=STEPS)


@pytest.mark.parametrize("model", [*real_models.DIGITS, *real_models.TINY], ids=str)
def test_a_second_run_gives_the_same_bytes(model: RealModel, tmp_path: Path) -> None:
    run = Way("host-O3", "host").prepare(model.require(), tmp_path)
    first, second = (sample.inputs for sample in model.samples()[:2])
    expected = run(first)
    run(second)
    again = run(first)
    assert {name: a.tobytes() for name, a in again.items()} == {
        name: a.tobytes() for name, a in expected.items()
    }


def anchor_outputs(model: RealModel, number: int) -> Arrays:
    """What the plainest code gives for a sample."""
    return _anchor(model)(model.samples()[number].inputs)


@cache
def _anchor(model: RealModel) -> Run:
    return ANCHOR.prepare(model.require(), Path())


def assert_close(model: RealModel, got: Arrays, expected: Arrays, *, steps: int = 0) -> None:
    """Fails where an output differs by more than the tolerance; integers must be equal.

    `steps`: quantization steps by which an int8 model's output may differ on top.
    """
    assert set(got) == set(expected)
    for name, want in expected.items():
        assert got[name].shape == want.shape
        assert got[name].dtype == want.dtype
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got[name], want)
            continue
        allowed = TOLERANCE * model.output_scale(name) + steps * model.output_step
        np.testing.assert_allclose(got[name], want, rtol=0.0, atol=allowed, err_msg=name)
