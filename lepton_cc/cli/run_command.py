"""`lepton run DIR`: runs what was compiled, on this machine or in the target's emulator."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.emulator import EmulatedRun
    from lepton_cc.ir.tensor import Array
    from lepton_cc.saved_model import SavedModel

_MAX_VALUES_SHOWN = 16
_PROFILED_RUNS = 100


@click.command(cls=GuardedCommand)
@click.argument("folder", type=options.FILE, metavar="DIR")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE.npy|DATA.npz",
    help="An input, or a file with all of them.",
)
@click.option("--profile", is_flag=True, help="Show each layer's part of the first sample.")
@click.option("--output", type=options.FILE, metavar="FILE.npz", help="Write the outputs there.")
@options.as_json
def run(
    *,
    folder: Path,
    inputs: tuple[str, ...],
    profile: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Runs the model in DIR once for each sample of the inputs."""
    from lepton_cc.cli.profile_table import print_profile, profile_fields
    from lepton_cc.ir.diagnostics import Code, refuse
    from lepton_cc.measure.saved_profile import saved_profile
    from lepton_cc.sample_inputs import read_inputs, samples
    from lepton_cc.saved_model import SavedModel

    arrays = read_inputs(inputs)
    model = SavedModel(folder)
    ports = model.build.interface.inputs
    given = list(samples(ports, arrays))
    results = [(model.run(sample), _last(model)) for sample in given]
    if not results:
        raise refuse(Code.BAD_INPUT_DATA, "the inputs hold no sample")
    if output is not None:
        _write_outputs(output, [outputs for outputs, _ in results])
    rows = saved_profile(model, given[0], _PROFILED_RUNS) if profile else ()
    if as_json:
        documents = [_fields(*result) for result in results]
        if rows:
            documents[0]["profile"] = profile_fields(rows)
        click.echo(json.dumps(documents))
        return
    for number, result in enumerate(results):
        _print_result(number, *result)
    if rows:
        click.echo()
        print_profile("layers, sample 0", rows)


def _last(model: "SavedModel") -> "EmulatedRun | None":
    return None if model.emulated is None else model.emulated.last


def _write_outputs(path: Path, results: list[dict[str, "Array"]]) -> None:
    """One sample as it is, several stacked."""
    import numpy as np

    from lepton_cc.array_file import npz_bytes
    from lepton_cc.ir.lir_file import write_atomically

    one = len(results) == 1
    arrays = {
        name: results[0][name] if one else np.stack([result[name] for result in results])
        for name in results[0]
    }
    write_atomically(npz_bytes(arrays), path)


def _fields(outputs: Mapping[str, "Array"], run_: "EmulatedRun | None") -> dict[str, object]:
    fields: dict[str, object] = {
        "outputs": {name: _values(array) for name, array in outputs.items()}
    }
    if run_ is not None:
        fields["instructions"] = run_.instructions
        fields["stack_high_water_bytes"] = run_.stack_high_water_bytes
    return fields


def _values(array: "Array") -> object:
    import numpy as np

    # Types of ml_dtypes have no Python counterpart; every one of their values is a float's.
    return array.tolist() if array.dtype.kind in "biuf" else array.astype(np.float64).tolist()


def _print_result(number: int, outputs: Mapping[str, "Array"], run_: "EmulatedRun | None") -> None:
    import numpy as np

    rows = []
    for name, array in outputs.items():
        flat = array.reshape(-1)
        wide = flat.astype(np.float64)
        shown = " ".join(f"{value:.6g}" for value in wide[:_MAX_VALUES_SHOWN])
        more = " ..." if flat.size > _MAX_VALUES_SHOWN else ""
        largest = str(int(wide.argmax())) if flat.size else ""
        shape = ", ".join(map(str, array.shape))
        rows.append((name, f"{array.dtype}[{shape}]", largest, f"{shown}{more}"))
    print_table(f"sample {number}", ("output", "type", "argmax", "values"), rows)
    if run_ is not None:
        click.echo(
            f"{run_.instructions:,} instructions, {run_.stack_high_water_bytes:,} bytes of stack"
        )
