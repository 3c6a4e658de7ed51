"""Memory of whole programs, checked by a reader that shares no code with the planner."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.program import Place, Program, Role
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.graph import Graph
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.codegen.program_memory import program_faults
from tests.ir.random_graphs import graphs

MODELS = Path(__file__).parents[2] / "models"
TARGETS = ("x86-64-v4", "rv32imc")
LEVELS_ = tuple(OptLevel)


def program_of(path: Path, target: str, level: OptLevel) -> Program:
    return compile_model(path, CompileOptions(load_target(target), level)).program


@pytest.mark.parametrize("level", LEVELS_, ids=lambda level: f"O{level.value}")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.stem)
def test_models_of_the_project(path: Path, target: str, level: OptLevel) -> None:
    program = program_of(path, target, level)
    assert program.arena_bytes > 0
    assert program_faults(program) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", [OptLevel.O0, OptLevel.O3], ids=lambda level: f"O{level.value}")
def test_real_models(level: OptLevel, shared_dir: Path) -> None:
    paths = sorted((shared_dir / "models" / "mlperf_tiny").glob("*_fp32.onnx"))
    assert paths
    for path in paths:
        faults = program_faults(program_of(path, "x86-64-v4", level))
        assert not faults, f"{path.stem}: {faults[:3]}"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs(max_ops=16))
def test_random_graphs(graph: Graph) -> None:
    level = LEVELS[OptLevel.O3]
    with np.errstate(all="ignore"):
        graph = PassManager(level.passes).run(graph)
    program = assemble(graph, "random", load_target("x86-64-v3"), level.schedule)
    assert program_faults(program) == []


def moved(program: Program, number: int, argument: int, by: int) -> Program:
    """The program with one arena argument of one call at another place."""
    call = program.calls[number]
    place = call.arguments[argument]
    places = list(call.arguments)
    places[argument] = Place(place.role, place.position + by)
    calls = list(program.calls)
    calls[number] = replace(call, arguments=tuple(places))
    return replace(program, calls=tuple(calls))


def test_every_moved_argument_is_found() -> None:
    program = program_of(MODELS / "digits_cnn.onnx", "x86-64-v4", OptLevel.O3)
    tried = 0
    for number, call in enumerate(program.calls):
        for argument, place in enumerate(call.arguments):
            if place.role is Role.ARENA:
                tried += 1
                assert program_faults(moved(program, number, argument, program.arena_bytes))
                assert program_faults(moved(program, number, argument, 4))
    assert tried >= 4


def test_swapped_calls_are_found() -> None:
    program = program_of(MODELS / "digits_cnn.onnx", "x86-64-v4", OptLevel.O3)
    backwards = replace(program, calls=program.calls[::-1])
    assert any("reads" in fault for fault in program_faults(backwards))
