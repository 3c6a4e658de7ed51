"""Prints how good a float model is that was quantized here: a table for people, or JSON."""

import dataclasses
import math
from typing import TYPE_CHECKING

import click

from lepton_cc.cli.tables import print_table
from lepton_cc.cli.verify_report import (
    divergences,
    interpreter_fields,
    print_interpreter_check,
)

if TYPE_CHECKING:
    from lepton_cc.verify.post_training import OutputQuality, PostTrainingReport


def print_post_training(report: "PostTrainingReport") -> None:
    """The interpreter's check, a row for each output, and the accuracy."""
    if report.interpreter is not None:
        print_interpreter_check(report.interpreter, report.num_samples)
    title = f"outputs against the float model in ONNX Runtime, {report.num_samples} samples"
    print_table(
        title,
        ("", "elements", "SQNR, dB", "max abs", "max steps", "argmax flips"),
        [
            (
                one.name,
                one.steps.num_elements,
                one.sqnr_decibels,
                one.max_abs,
                one.steps.max_steps,
                f"{one.steps.argmax_flips} of {one.steps.num_rows}",
            )
            for one in report.outputs
        ],
    )
    if report.accuracy is not None and report.float_accuracy is not None:
        rows = [
            ("lepton-cc", f"{report.accuracy:.2%}"),
            ("float model", f"{report.float_accuracy:.2%}"),
        ]
        click.echo()
        print_table(f"accuracy, {report.num_samples} samples", ("", "top-1"), rows)


def post_training_fields(report: "PostTrainingReport") -> dict[str, object]:
    """The report as JSON."""
    check = report.interpreter
    return {
        "quantized": True,
        "post_training": True,
        "samples": report.num_samples,
        "accuracy": report.accuracy,
        "float_accuracy": report.float_accuracy,
        "outputs": [_output_fields(one) for one in report.outputs],
        "interpreter": None if check is None else interpreter_fields(check),
    }


def _output_fields(one: "OutputQuality") -> dict[str, object]:
    fields = dataclasses.asdict(one)
    # JSON has no infinity.
    fields["sqnr_decibels"] = one.sqnr_decibels if math.isfinite(one.sqnr_decibels) else None
    return fields


def refuse_if_integers_differ(report: "PostTrainingReport") -> None:
    """Refuses code whose integers are not the interpreter's.

    Raises:
        Refused: with every layer that differs.
    """
    from lepton_cc.ir.diagnostics import Refused

    if report.interpreter is not None and (found := divergences(report.interpreter)):
        raise Refused(found)
