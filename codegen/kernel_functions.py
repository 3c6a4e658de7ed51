"""A program's kernels: `assemble` asks for that of each step; what does the same is there once."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from lepton_cc.codegen.in_place import overwritable_operands
from lepton_cc.codegen.kernel.printer import print_kernel
from lepton_cc.codegen.program import KernelFunction
from lepton_cc.codegen.program_step import ProgramStep
from lepton_cc.ir.graph import Op, Value


class KernelFunctions:
    """The program's kernels: one that does the same as an earlier one is that one."""

    def __init__(self, steps: Sequence[ProgramStep]) -> None:
        # Only ops that are alike can have the same kernel; most have no like, and need no text.
        self._alike = Counter(_likeness(step.op) for step in steps)
        self._by_text: dict[str, KernelFunction] = {}
        self._all: list[KernelFunction] = []

    def of(self, step: ProgramStep) -> KernelFunction:
        """The kernel of a step."""
        assert step.lowered is not None
        aliased = _aliased_parameters(step)
        if self._alike[_likeness(step.op)] == 1:
            return self._new(step, aliased)
        text = print_kernel(replace(step.lowered.kernel, name="k"))
        key = f"{text}{sorted(aliased)}"
        if key not in self._by_text:
            self._by_text[key] = self._new(step, aliased)
        return self._by_text[key]

    def all(self) -> tuple[KernelFunction, ...]:
        """All kernels, in the order of their first call."""
        return tuple(self._all)

    def _new(self, step: ProgramStep, aliased: frozenset[str]) -> KernelFunction:
        assert step.lowered is not None
        kernel = replace(step.lowered.kernel, name=f"k{len(self._all)}")
        self._all.append(KernelFunction(kernel, aliased))
        return self._all[-1]


def _likeness(op: Op) -> Hashable:
    types = (None if value is None else value.type for value in op.operands)
    return (op.kind, *types, *(result.type for result in op.results))


def _aliased_parameters(step: ProgramStep) -> frozenset[str]:
    """Parameters that an in-place plan may give one storage: the result and what it overwrites."""
    overwritable = set(overwritable_operands(step.op)) if len(step.op.results) == 1 else set()
    if not overwritable or step.lowered is None:
        return frozenset()
    shared = {*overwritable, *step.op.results}
    return frozenset(
        buffer.name
        for buffer, binding in zip(
            step.lowered.kernel.parameters, step.lowered.bindings, strict=True
        )
        if isinstance(binding, Value) and binding in shared
    )
