"""Options that several commands share, and how their values are read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

# Bits of weights and of activations, by the names that every command has for them.
SCHEMES = ("w8a8", "w4a8", "w8a16", "w4a16")

_Function = TypeVar("_Function", bound=Callable[..., object])

level = click.option(
    "-O",
    "level",
    type=click.Choice(["0", "1", "2", "3", "s"]),
    default="3",
    show_default=True,
    help="How much to optimize, as in gcc.",
)
dims = click.option(
    "--dim", "dims", multiple=True, metavar="NAME=N", help="Bind an open dimension of the model."
)
interface = click.option(
    "--io",
    "interface",
    type=click.Choice(["model", "quantized"]),
    default="model",
    show_default=True,
    help="Types of inputs and outputs: the model's own, or the integers behind them.",
)
self_test = click.option(
    "--self-test",
    is_flag=True,
    help="Put a test into the payload that the engine's driver can run on the device.",
)
require_integer = click.option(
    "--require-integer", is_flag=True, help="Refuse the model if anything stays float; list it."
)
quantize = click.option(
    "--quantize",
    type=click.Choice(["none", *SCHEMES]),
    default=None,
    help="Make integers of a float model: 8 or 4 bits for weights, 8 or 16 for activations "
    "[default: w8a8 for lepton-npu, else none]",
)
calibrate = click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="DATA.npz",
    help="Samples of the inputs, for --quantize [default: random ones, a guess].",
)
calibration_method = click.option(
    "--calibration-method",
    type=click.Choice(["mse", "minmax", "percentile", "entropy"]),
    help="How ranges follow from the samples [default: mse].",
)
system = click.option(
    "--system",
    metavar="NAME|FILE.toml",
    help="The memories around the tensor engine; `lepton targets` lists the names.",
)
profile_machine = click.option(
    "--profile-machine",
    type=click.Choice(["native", "parity", "u55-clone"]),
    help="Which machine the tensor engine is, for comparisons [default: native, itself].",
)
sram_budget = click.option(
    "--sram-budget",
    is_flag=False,
    flag_value="curve",
    metavar="KIB|curve",
    help="Scratchpad that the tensor engine may use; curve: only print what more or less costs.",
)
metric = click.option(
    "--metric",
    type=click.Choice(["top1", "top5", "auc", "reconstruction-auc", "mse"]),
    default="top1",
    show_default=True,
    help="What is counted on the labels.",
)
labels = click.option(
    "--labels", default="y", show_default=True, metavar="NAME", help="The array with the labels."
)
divide_by = click.option(
    "--divide-by",
    default=0.0,
    metavar="X",
    help="Make float32 of other numbers in the data, divided by X (1, 255) [default: refuse them].",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def target(default: str) -> Callable[[_Function], _Function]:
    """The option --target."""
    return click.option(
        "--target",
        default=default,
        show_default=True,
        metavar="NAME|FILE.toml",
        help="What to compile for; `lepton targets` lists the names.",
    )


FILE = click.Path(path_type=Path)


def read_dims(words: Sequence[str]) -> Mapping[str, int]:
    """Sizes by name, from `NAME=N`."""
    sizes: dict[str, int] = {}
    for word in words:
        name, equals, size = word.rpartition("=")
        if not equals or not name or not size.isdecimal():
            raise click.BadParameter(f"{word!r} is not NAME=N", param_hint="--dim")
        sizes[name] = int(size)
    return sizes
