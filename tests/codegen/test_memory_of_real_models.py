"""The memory plans of whole models: proven minimal, legal, and what the calls really use."""

from collections.abc import Iterator

import pytest

from lepton_cc.codegen import assemble
from lepton_cc.codegen.program import Program, Role
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.levels import OptLevel
from lepton_cc.passes.memory import MemoryPlan, MemoryProblem, plan_memory
from tests import real_models
from tests.passes.memory.plan_checker import plan_faults
from tests.real_models import Kind, RealModel


def _cases() -> Iterator[object]:
    for model in real_models.ALL:
        # A target with wide vectors, which aligns buffers to cache lines, and one without.
        for target in ("x86-64-v4", "rv32imc"):
            slow = model.kind not in (Kind.REPOSITORY, Kind.TINY)
            # Without their batch normalizations these are the same networks.
            variant = model.kind is Kind.TINY_BATCH_NORM
            marks = [pytest.mark.long if variant else pytest.mark.slow] if slow else []
            yield pytest.param(model, target, id=f"{model}-{target}", marks=marks)


@pytest.mark.parametrize(("model", "target"), list(_cases()))
def test_arena_is_the_lower_bound(
    model: RealModel, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[MemoryProblem] = []

    def recording(problem: MemoryProblem) -> MemoryPlan:
        problems.append(problem)
        return plan_memory(problem)

    path = model.require()
    monkeypatch.setattr(assemble, "plan_memory", recording)
    options = CompileOptions(load_target(target), OptLevel.O3)
    program = compile_model(path, options).program
    (problem,) = problems
    assert program.plan.gap_bytes == 0
    assert program.plan.proven_optimal
    assert plan_faults(problem, program.plan.to_json()) == []
    assert calls_outside_their_buffers(program) == []


def calls_outside_their_buffers(program: Program) -> list[str]:
    """Arena arguments for which the plan holds no buffer of their size at that step."""
    kernels = program.kernels_by_name()
    faults = []
    for step, call in enumerate(program.calls):
        parameters = kernels[call.kernel].kernel.parameters
        for place, parameter in zip(call.arguments, parameters, strict=True):
            size = parameter.size * parameter.dtype.size_bytes
            if place.role is Role.ARENA and not any(
                placement.offset == place.position
                and placement.buffer.size_bytes >= size
                and placement.buffer.first_step <= step <= placement.buffer.last_step
                for placement in program.plan.placements
            ):
                faults.append(f"{call.kernel} at step {step}: {parameter.name} at {place.position}")
    return faults
