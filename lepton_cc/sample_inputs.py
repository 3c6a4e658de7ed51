"""Inputs for a compiled model: from the user's arrays, or made up where there are none."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lepton_cc.codegen.program import Port
from lepton_cc.ir.diagnostics import Code, UsageError, refuse
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


def made_up_inputs(ports: Sequence[Port], seed: int = 0) -> dict[str, Array]:
    """Standard normal floats, zeros and ones for all other types; the same for the same seed."""
    generator = np.random.default_rng(seed)
    return {port.name: made_up(port.type, generator) for port in ports}


def made_up(type_: TensorType, generator: np.random.Generator) -> Array:
    """Standard normal floats, zeros and ones for all other types."""
    if type_.dtype.is_float:
        return generator.standard_normal(type_.dims).astype(type_.dtype.numpy)
    # Zero and one are legal indices, lengths and flags almost everywhere.
    return generator.integers(0, 2, type_.dims).astype(type_.dtype.numpy)


def read_inputs(words: Sequence[str]) -> dict[str, Array]:
    """Arrays from `name=FILE.npy` and `DATA.npz` (all that it holds), in the order given.

    Raises:
        UsageError: a word is neither.
        Refused: a file cannot be read.
    """
    arrays: dict[str, Array] = {}
    for word in words:
        name, equals, file = word.rpartition("=")
        if not equals and not word.endswith(".npz"):
            raise UsageError(f"{word!r} is neither NAME=FILE.npy nor DATA.npz")
        content = _load(Path(file))
        if isinstance(content, dict):
            if name:
                raise UsageError(f"{word!r}: an .npz names its arrays itself; give it alone")
            arrays.update(content)
        elif not name:
            raise UsageError(f"{word!r} does not say which input it is: NAME={word}")
        else:
            arrays[name] = content
    return arrays


def _load(path: Path) -> Array | dict[str, Array]:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError) as error:
        raise refuse(Code.BAD_INPUT_DATA, f"cannot read {path}: {error}") from error


def samples(ports: Sequence[Port], arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """One set of inputs after the other, from arrays of one sample or of many in front.

    `[n, *shape]` holds n samples of a `[*shape]` input; so does `[n, *rest]` of a `[1, *rest]` one.
    For a model with one input, the only array that fits is taken, whatever its name.

    Raises:
        Refused: an input is missing or has another shape, or the numbers of samples differ.
    """
    stacks = {port.name: _stack(port, _chosen(port, ports, arrays)) for port in ports}
    counts = {name: len(stack) for name, stack in stacks.items()}
    if len(set(counts.values())) > 1:
        raise refuse(Code.BAD_INPUT_DATA, f"the numbers of samples differ: {counts}")
    for number in range(max(counts.values(), default=1)):
        yield {name: np.asarray(stack[number]) for name, stack in stacks.items()}


def _chosen(port: Port, ports: Sequence[Port], arrays: Mapping[str, Array]) -> Array:
    if port.name in arrays:
        return arrays[port.name]
    fitting = [
        array
        for array in arrays.values()
        if num_stacked(port.type, array.dtype, array.shape) is not None
    ]
    if len(ports) == 1 and len(fitting) == 1:
        return fitting[0]
    given = ", ".join(arrays) or "nothing"
    raise refuse(
        Code.BAD_INPUT_DATA,
        f"input {port.name!r} ({port.type}) is missing; got {given}",
        hint=f"give {port.name}=FILE.npy, or an .npz with an array of that name",
    )


def num_stacked(
    type_: TensorType, dtype: np.dtype[np.generic], shape: tuple[int, ...]
) -> int | None:
    """How many samples of an input an array of this form holds; None if it does not fit."""
    dims = type_.dims
    if dtype != type_.dtype.numpy:
        return None
    if shape == dims:
        return 1
    if shape[1:] == dims or (dims[:1] == (1,) and shape[1:] == dims[1:]):
        return int(shape[0])
    return None


def _stack(port: Port, array: Array) -> Array:
    num_samples = num_stacked(port.type, array.dtype, array.shape)
    if num_samples is None:
        given = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        raise refuse(
            Code.BAD_INPUT_DATA,
            f"input {port.name!r} is {given}, the model takes {port.type}",
            hint="convert the array before the call; nothing is converted silently",
        )
    return array.reshape(num_samples, *port.type.dims)
