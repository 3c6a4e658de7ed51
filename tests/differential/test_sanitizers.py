"""Generated C under AddressSanitizer and UndefinedBehaviorSanitizer, on real inputs.

Each buffer is an allocation of exactly its size, so that one byte too far is a report.
"""

import shutil
from pathlib import Path

import pytest

from tests import real_models
from tests.differential.c_program import CProgram
from tests.differential.test_agreement import anchor_outputs, assert_close
from tests.differential.ways import PORTABLE, Way
from tests.real_models import RealModel

SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Two compilers: each has checks that the other lacks.
WAYS = (
    Way("gcc", PORTABLE, compiler="gcc", flags=("-O0", *SANITIZED)),
    Way("clang", PORTABLE, compiler="clang", flags=("-O0", *SANITIZED)),
)
# Register tiles, unrolled, keep an optimizer with sanitizers busy for minutes: small models only.
TILES = Way("clang-tiles", "x86-64", compiler="clang", flags=("-O0", *SANITIZED))
KWS = real_models.TINY[1]
QUICK = real_models.DIGITS
LARGE = (*real_models.TINY, real_models.TINY_INT8[0], *real_models.OTHER[:5])


def _cases() -> list[object]:
    return [
        *(pytest.param(m, w, id=f"{m}-{w}") for m in QUICK for w in WAYS),
        *(pytest.param(m, TILES, id=f"{m}-{TILES}") for m in (*QUICK, KWS)),
        *(pytest.param(m, WAYS[0], id=f"{m}-{WAYS[0]}", marks=pytest.mark.slow) for m in LARGE),
    ]


@pytest.mark.parametrize(("model", "way"), _cases())
def test_nothing_to_report(model: RealModel, way: Way, tmp_path: Path) -> None:
    if shutil.which(way.compiler) is None:
        pytest.skip(f"no {way.compiler} on this machine")
    program = CProgram(way.compile(model.require()), tmp_path, way.compiler, way.flags)
    assert_close(model, program.run(model.samples()[0].inputs), anchor_outputs(model, 0))
