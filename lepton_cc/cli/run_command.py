"""`lepton run DIR`: runs what was compiled, on this machine or in the target's emulator."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lepton_cc.cli import options
from lepton_cc.cli.guard import GuardedCommand
from lepton_cc.cli.tables import print_table

if TYPE_CHECKING:
    from lepton_cc.ir.tensor import Array
    from lepton_cc.measure.engine_profile import MeasuredLayer
    from lepton_cc.measure.layer_times import LayerTime
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
    from lepton_cc.ir.diagnostics import Code, refuse
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
    profiles = _profiles(model, given[0]) if profile else _Profiles()
    if as_json:
        documents = [_fields(*result) for result in results]
        documents[0].update(profiles.fields())
        click.echo(json.dumps(documents))
        return
    for number, result in enumerate(results):
        _print_result(number, *result)
    profiles.print()


@dataclass(frozen=True, slots=True)
class _Profiles:
    """Where the time of the first sample went: on the processor, and on the tensor engine."""

    layers: "Sequence[LayerTime]" = ()
    engine: "Sequence[MeasuredLayer]" = ()

    def fields(self) -> dict[str, object]:
        from lepton_cc.cli.profile_table import engine_profile_fields, profile_fields

        fields: dict[str, object] = {}
        if self.layers:
            fields["profile"] = profile_fields(self.layers)
        if self.engine:
            fields["engine_profile"] = engine_profile_fields(self.engine)
        return fields

    def print(self) -> None:
        from lepton_cc.cli.profile_table import print_engine_profile, print_profile

        if self.layers:
            click.echo()
            print_profile("layers, sample 0", self.layers)
        if self.engine:
            click.echo()
            print_engine_profile("tensor engine, sample 0", self.engine)


def _profiles(model: "SavedModel", sample: Mapping[str, "Array"]) -> _Profiles:
    """The engine's layers need no hooks; what the core does is told apart only with them."""
    from lepton_cc.measure.saved_profile import saved_engine_profile, saved_profile

    if model.engine is None or not model.engine.segments:
        return _Profiles(saved_profile(model, sample, _PROFILED_RUNS))
    engine = saved_engine_profile(model, sample)
    if not model.build.profile:
        click.echo(
            "note: only code compiled with --profile tells the core's layers apart", err=True
        )
        return _Profiles(engine=engine)
    return _Profiles(saved_profile(model, sample, _PROFILED_RUNS), engine)


@dataclass(frozen=True, slots=True)
class _Costs:
    """What an emulated run took; `engine_cycles`: None without a tensor engine."""

    instructions: int
    stack_high_water_bytes: int
    engine_cycles: int | None

    def __str__(self) -> str:
        engine = (
            "" if self.engine_cycles is None else f", {self.engine_cycles:,} cycles of the engine"
        )
        return (
            f"{self.instructions:,} instructions{engine}, "
            f"{self.stack_high_water_bytes:,} bytes of stack"
        )


def _last(model: "SavedModel") -> _Costs | None:
    if model.emulated is None or model.emulated.last is None:
        return None
    last = model.emulated.last
    has_engine = model.engine is not None and model.engine.segments
    cycles = model.emulated.engine_cycles if has_engine else None
    return _Costs(last.instructions, last.stack_high_water_bytes, cycles)


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


def _fields(outputs: Mapping[str, "Array"], costs: _Costs | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "outputs": {name: _values(array) for name, array in outputs.items()}
    }
    if costs is not None:
        given = dataclasses.asdict(costs)
        fields.update({name: value for name, value in given.items() if value is not None})
    return fields


def _values(array: "Array") -> object:
    import numpy as np

    # Types of ml_dtypes have no Python counterpart; every one of their values is a float's.
    return array.tolist() if array.dtype.kind in "biuf" else array.astype(np.float64).tolist()


def _print_result(number: int, outputs: Mapping[str, "Array"], costs: _Costs | None) -> None:
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
    if costs is not None:
        click.echo(str(costs))
