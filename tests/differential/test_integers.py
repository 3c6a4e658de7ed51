"""Quantized models give the same bytes everywhere, in every layer.

What is compared is the interpreter's result for the very graph that was lowered, since targets
differ in the form of what they keep in memory (u8 or i16 for dot products) and in what they fuse.
The outputs of these graphs must also be those of the plainest one.
"""

from functools import cache
from pathlib import Path

import pytest

from lepton_cc.ir.interpreter import interpret
from lepton_cc.levels import OptLevel
from tests import real_models
from tests.differential.layers import assert_same_bytes, showing_layers
from tests.differential.ways import (
    ANCHOR,
    C_OF_32_BITS,
    EMULATED,
    INTEGERS,
    NATIVE,
    PORTABLE,
    C,
    Way,
)
from tests.real_models import Arrays, RealModel

# The best of `host` is one of the targets by name.
_LEFT_OUT = ("host-O2", "host-O3", "host-Os", "gcc-tiled", "clang-unoptimized-graph")
WAYS = tuple(
    way for way in (*NATIVE, *INTEGERS, *C, *C_OF_32_BITS, *EMULATED) if way.name not in _LEFT_OUT
)
_QUICK_WAYS = ("x86-64-v4-vnni", "x86-64", "x86-64-v3", "x86-64-v3-vnni", "gcc-m32-O0", "rv32imc")


# What compiles or runs a large model for a quarter of a minute: small ones show the same kernels.
_LONG_WAYS = (
    *("gcc-O0", "clang-O0", "gcc-matrices", "gcc-m32-O3", "clang-m32-O0", "clang-m32-O3"),
    "rv32imafc",
)


def _marks(model: RealModel, way: Way) -> list[pytest.MarkDecorator]:
    large = model in real_models.LARGE_INT8
    if large and way.name in _LONG_WAYS:
        return [pytest.mark.long]
    slow = way.name not in _QUICK_WAYS or (large and way.name != "x86-64-v4-vnni")
    return [pytest.mark.slow] if slow else []


@pytest.mark.parametrize(
    ("model", "way"),
    [
        pytest.param(m, w, id=f"{m}-{w}", marks=_marks(m, w))
        for m in real_models.TINY_INT8
        for w in WAYS
    ],
)
def test_every_layer_has_the_same_bytes(model: RealModel, way: Way, tmp_path: Path) -> None:
    path = model.require()
    way.require()
    compilation = way.compile(path)
    shown = showing_layers(compilation)
    run = way.load(shown, tmp_path)
    for number, sample in enumerate(model.samples()):
        layers = interpret(shown.graph, sample.inputs)
        assert_same_bytes(run(sample.inputs), layers)
        assert_same_bytes(interpret(compilation.graph, sample.inputs), plainest(model, number))


@pytest.mark.parametrize(
    "way",
    [
        Way("host-O3", "host"),
        pytest.param(
            Way("gcc-O1", PORTABLE, compiler="gcc", flags=("-O1",)), marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", real_models.TINY_INT8, ids=str)
def test_outputs_have_the_same_bytes(model: RealModel, way: Way, tmp_path: Path) -> None:
    """As users compile: intermediate results share an arena, and are overwritten."""
    run = way.prepare(model.require(), tmp_path)
    for number, sample in enumerate(model.samples()):
        assert_same_bytes(run(sample.inputs), plainest(model, number))


@cache
def plainest(model: RealModel, number: int) -> Arrays:
    """What the interpreter says of the graph without optimizations."""
    assert ANCHOR.level is OptLevel.O0
    return interpret(ANCHOR.compile(model.path).graph, model.samples()[number].inputs)
