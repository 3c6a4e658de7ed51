"""Corners of integer lowering that random graphs have found."""

import numpy as np
import pytest

from lepton_cc.codegen.kernel.expr import Var
from lepton_cc.codegen.lower.pointwise import clamp
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.window import Window
from tests.codegen.lower.code_case import BUILDS, Build, Case, Known, check, random


def test_bounds_of_the_type_itself_need_no_comparison() -> None:
    """C compilers warn of comparisons that are always false."""
    x = Var(DType.I8, "x")
    assert clamp(x, -128.0, 127.0) is x
    assert clamp(x, -128.0, 126.0) is not x


@pytest.mark.parametrize("build", BUILDS)
def test_one_channel_is_a_dot_product_or_depthwise_but_not_both(build: Build) -> None:
    window = Window((1, 2), (1, 1), (1, 1), (0, 0), (0, 0))
    weights = Known(np.array([81, -90], np.int8).reshape(1, 2, 1, 1))
    bias = Known(np.array([-3795], np.int32))
    x = random(DType.I16, 1, 3, 6, 1)
    check([Case(Conv(window, 1, -128), (x, weights, bias))], build)
