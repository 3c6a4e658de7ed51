"""Options of targets with a tensor engine: the system around it, the scratchpad's budget."""

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.compiler import Compilation
    from lepton_cc.ir.target import Target

CURVE = "curve"
_KIB = 1024


def read_budget(text: str | None) -> int | None:
    """KiB of a budget; None without one, or if the curve is wanted.

    Raises:
        BadParameter: it is no number above 0.
    """
    if text is None or text == CURVE:
        return None
    if not text.isdecimal() or not int(text):
        raise click.BadParameter(f"{text!r} is neither KiB nor {CURVE}", param_hint="--sram-budget")
    return int(text)


def with_engine_options(
    target: "Target", system: str | None, machine_name: str | None, budget: str | None = None
) -> "Target":
    """The target in another system, as another machine, with so many KiB of scratchpad to use.

    Raises:
        UsageError: the target has no engine.
        Refused: there is no such system or machine, or the engine has less scratchpad.
    """
    from lepton_cc.codegen.npu.systems.loader import machine_of
    from lepton_cc.ir.diagnostics import Code, refuse

    budget_kib = read_budget(budget)
    if target.engine is None:
        given = {
            "--system": system, "--profile-machine": machine_name, "--sram-budget": budget
        }  # fmt: skip
        for option, value in given.items():
            if value is not None:
                raise click.UsageError(f"{option}: {target.name} has no tensor engine")
        return target
    engine = target.engine
    if system is not None:
        engine = dataclasses.replace(engine, system=system)
    if machine_name is not None:
        engine = dataclasses.replace(engine, profile=machine_name)
    machine = machine_of(engine)
    if budget_kib is not None:
        if budget_kib * _KIB > machine.member.spm_bytes:
            raise refuse(
                Code.TARGET_UNSUPPORTED,
                f"{target.name} has {machine.member.spm_bytes // _KIB} KiB of scratchpad, "
                f"less than the {budget_kib} of --sram-budget",
                hint="choose a larger member of the family, or a smaller budget",
            )
        engine = dataclasses.replace(engine, spm_bytes=budget_kib * _KIB)
    return dataclasses.replace(target, engine=engine)


def print_curve(compilation: "Compilation", *, as_json: bool) -> None:
    """Prints what budgets of scratchpad cost in cycles.

    Raises:
        Refused: nothing runs on the engine, or not even the whole scratchpad is enough.
    """
    from lepton_cc.codegen.npu.systems.loader import machine_of
    from lepton_cc.codegen.npu.trade_off import trade_off
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.ir.ops.segment import EngineSegment

    engine = compilation.program.target.engine
    assert engine is not None
    bodies = [op.kind.body for op in compilation.graph.ops if isinstance(op.kind, EngineSegment)]
    if not bodies:
        raise refuse(
            Code.TARGET_UNSUPPORTED,
            "nothing of the model runs on the tensor engine",
            hint="it computes integers: give a quantized model, or --quantize w8a8",
        )
    points = trade_off(bodies, machine_of(engine))
    if not points:
        raise refuse(Code.DOES_NOT_FIT, "the whole scratchpad is not enough for the model")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(point) for point in points], indent=2))
        return
    fastest = min(point.cycles for point in points)
    print_table(
        f"{compilation.program.name}: scratchpad and cycles",
        ("budget, KiB", "used, bytes", "cycles", "slower"),
        [(p.budget_kib, p.used_bytes, p.cycles, f"{p.cycles / fastest - 1:.1%}") for p in points],
    )
