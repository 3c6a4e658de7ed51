"""Prints what verification of a quantized model found: tables of steps for people, or JSON."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.ir.diagnostics import Diagnostic
    from lepton_cc.verify.difference import Difference
    from lepton_cc.verify.quantized import InterpreterCheck, QuantizedReport, RuntimeCheck
    from lepton_cc.verify.steps import StepDifference

HEADINGS = ("", "elements", "different", "max abs", "max rel", "max ulp", "argmax flips", "beyond")


def difference_rows(differences: "Sequence[Difference]") -> list[tuple[str | int | float, ...]]:
    """Rows under `HEADINGS`."""
    return [
        (
            one.name,
            one.num_elements,
            one.num_different,
            one.max_abs,
            one.max_rel,
            one.max_ulp,
            f"{one.argmax_flips} of {one.num_rows}",
            one.num_beyond,
        )
        for one in differences
    ]


def print_quantized(report: "QuantizedReport") -> None:
    """All tables; of layers that are equal, only their number."""
    print_interpreter_check(report.interpreter, report.num_layer_samples)
    for mode in report.runtime:
        _print_mode(mode, report)
    if report.accuracy is not None:
        rows = [("lepton-cc", _percent(report.accuracy))]
        rows += [
            (f"ONNX Runtime, {mode.mode.value}", _percent(mode.accuracy)) for mode in report.runtime
        ]
        print_table(f"accuracy, {report.num_samples} samples", ("", "top-1"), rows)


def print_interpreter_check(check: "InterpreterCheck", num_samples: int) -> None:
    """Outputs and layers against the interpreter; of layers that are equal, only their number."""
    few = f"{num_samples} samples"
    _print_outputs(f"outputs against the interpreter, in steps, {few}", check.outputs)
    _print_layers(f"layers against the interpreter, in steps, {few}", check.layers)
    if check.float_layers:
        print_table(
            f"float layers against NumPy, {few}", HEADINGS, difference_rows(check.float_layers)
        )


def _print_mode(check: "RuntimeCheck", report: "QuantizedReport") -> None:
    mode = check.mode
    name = f"ONNX Runtime, {mode.value} ({mode.description})"
    title = f"outputs against {name}, in steps, {report.num_samples} samples"
    _print_outputs(title, check.outputs)
    if check.float_outputs:
        title = f"float outputs against {name}, {report.num_samples} samples"
        print_table(title, HEADINGS, difference_rows(check.float_outputs))
    title = f"integer tensors against {name}, in steps, {report.num_layer_samples} samples"
    _print_layers(title, check.layers)


def _print_layers(title: str, layers: "Sequence[StepDifference]") -> None:
    from lepton_cc.verify.steps import first_diverging

    if not layers:
        return
    different = [one for one in layers if one.num_different]
    first = first_diverging(tuple(layers))
    if first is None:
        click.echo(f"{title}: all {len(layers)} are equal\n")
        return
    nodes = [" ".join(one.nodes) for one in different]
    _print_steps(title, different, ("ONNX nodes", nodes))
    click.echo(f"{len(layers) - len(different)} others are equal")
    click.echo(f"first to diverge: {first.name} ({' '.join(first.nodes) or 'no ONNX node'})\n")


def _print_outputs(title: str, outputs: "Sequence[StepDifference]") -> None:
    if not outputs:
        return
    flips = [f"{one.argmax_flips} of {one.num_rows}" for one in outputs]
    _print_steps(title, outputs, ("argmax flips", flips))
    click.echo()


def _print_steps(
    title: str, rows: "Sequence[StepDifference]", last: tuple[str, Sequence[str]]
) -> None:
    """A column for each class that occurs; `last` is one more column."""
    from lepton_cc.verify.steps import STEP_CLASSES

    used = [
        number
        for number in range(len(STEP_CLASSES))
        if number == 0 or any(row.histogram[number] for row in rows)
    ]
    heading, cells = last
    print_table(
        title,
        ("", "elements", *(STEP_CLASSES[number] for number in used), "max", heading),
        [
            (
                row.name,
                row.num_elements,
                *(row.histogram[number] for number in used),
                row.max_steps,
                cell,
            )
            for row, cell in zip(rows, cells, strict=True)
        ],
    )


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.2%}"


def quantized_fields(report: "QuantizedReport") -> dict[str, object]:
    """The report as JSON."""
    from lepton_cc.verify.steps import STEP_CLASSES

    return {
        "quantized": True,
        "samples": report.num_samples,
        "layer_samples": report.num_layer_samples,
        "step_classes": list(STEP_CLASSES),
        "accuracy": report.accuracy,
        "interpreter": interpreter_fields(report.interpreter),
        "onnxruntime": [_mode_fields(mode) for mode in report.runtime],
    }


def interpreter_fields(check: "InterpreterCheck") -> dict[str, object]:
    """The interpreter's check as JSON."""
    diverging = check.diverging()
    return {
        "outputs": [_step_fields(one, check.exact) for one in check.outputs],
        "layers": [_step_fields(one, check.exact) for one in check.layers],
        "float_layers": [dataclasses.asdict(one) for one in check.float_layers],
        "first_diverging": _place(diverging[0]) if diverging else None,
    }


def _mode_fields(check: "RuntimeCheck") -> dict[str, object]:
    first = check.first_diverging
    return {
        "mode": check.mode.value,
        "setting": check.mode.description,
        "accuracy": check.accuracy,
        "outputs": [dataclasses.asdict(one) for one in check.outputs],
        "float_outputs": [dataclasses.asdict(one) for one in check.float_outputs],
        "layers": [dataclasses.asdict(one) for one in check.layers],
        "first_diverging": None if first is None else _place(first),
    }


def _step_fields(one: "StepDifference", exact: frozenset[str]) -> dict[str, object]:
    return {**dataclasses.asdict(one), "exact": one.name in exact}


def _place(one: "StepDifference") -> dict[str, object]:
    return {"name": one.name, "nodes": list(one.nodes), "max_steps": one.max_steps}


def divergences(check: "InterpreterCheck") -> "list[Diagnostic]":
    """Every layer and output that has other integers than the interpreter."""
    from lepton_cc.ir.diagnostics import Code, Diagnostic

    return [
        Diagnostic(
            Code.CHECK_FAILED,
            f"{one.name} differs from the interpreter in {one.num_different} of "
            f"{one.num_elements} elements, by up to {one.max_steps} steps",
            node=" ".join(one.nodes),
            hint="integers must be equal to the byte: please report it with the model",
        )
        for one in check.diverging()
    ]


def complaints(report: "QuantizedReport") -> "list[Diagnostic]":
    """What makes the check fail: another integer than the interpreter's, or far from all modes."""
    from lepton_cc.ir.diagnostics import Code, Diagnostic

    found = divergences(report.interpreter)
    found += [
        Diagnostic(
            Code.CHECK_FAILED,
            f"output {name!r} is at least {steps} steps away from every mode of ONNX Runtime, "
            f"whose own are within {allowed}",
            hint="the tables of `lepton verify` name the tensor where it begins",
        )
        for name, steps, allowed in report.too_far()
    ]
    found += [
        Diagnostic(
            Code.CHECK_FAILED,
            f"output {one.name!r}: {one.num_beyond} of {one.num_elements} elements are too far "
            f"from every mode of ONNX Runtime, by up to {one.max_abs:.3g}",
            hint="the tables of `lepton verify` name the tensor where it begins",
        )
        for one in report.floats_too_far()
    ]
    return found
