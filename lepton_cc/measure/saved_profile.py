"""The profile of a saved model, on this machine or in the emulator of its target."""

from collections.abc import Mapping

from lepton_cc.artifacts.engine_files import read_payload_file
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.tensor import Array
from lepton_cc.measure.engine_profile import MeasuredLayer, engine_profile
from lepton_cc.measure.layer_times import LayerTime, counted_layers, timed_layers
from lepton_cc.saved_model import SavedModel


def saved_profile(
    model: SavedModel, inputs: Mapping[str, Array], num_runs: int
) -> tuple[LayerTime, ...]:
    """Runs a folder's code and gives each layer's part.

    Raises:
        UsageError: the code was compiled without --profile.
    """
    _check_hooks(model)
    if model.emulated is not None:
        model.run(inputs)
        return emulated_profile(model)
    call = model.prepare(inputs)
    return timed_layers(call.run_profiled, call.ticks, model.build.layers, num_runs)


def saved_engine_profile(
    model: SavedModel, inputs: Mapping[str, Array]
) -> tuple[MeasuredLayer, ...]:
    """Runs a folder's image; what its tensor engine took for each layer.

    Raises:
        Refused: that is not what the compiler estimated.
    """
    assert model.emulated is not None
    assert model.engine is not None
    model.run(inputs)
    return engine_profile(model.engine, read_payload_file(model.build), model.emulated.packets)


def emulated_profile(model: SavedModel) -> tuple[LayerTime, ...]:
    """Instructions of each layer in the last run.

    Raises:
        UsageError: the code was compiled without --profile, which keeps the layers apart.
    """
    _check_hooks(model)
    assert model.emulated is not None
    assert model.emulated.last is not None
    by_function = model.emulated.last.instructions_by_function
    return counted_layers(by_function, model.build.layers, model.build.interface.name)


def _check_hooks(model: SavedModel) -> None:
    if not model.build.profile:
        raise UsageError(f"{model.build.folder} has no hooks: compile it with --profile")
