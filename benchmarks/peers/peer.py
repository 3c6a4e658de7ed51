"""What a library must do to be measured beside us: load one form of a network, run it, be timed."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lepton_cc.ir.tensor import Array


class Form(enum.Enum):
    """The type of the activations; both are the same network."""

    S8 = "s8"
    U8 = "u8"


@dataclass(frozen=True, slots=True)
class Forms:
    """The files of one quantized network, and the float inputs that all of them are run on.

    `onnx` holds both forms; `tflite` is the file that the ONNX models were made from, if any: the
    same numbers, but int8 at its borders, and images as [N, H, W, C].
    """

    name: str
    onnx: Mapping[Form, Path]
    inputs: Mapping[str, Array]
    tflite: Path | None = None


class Absent(Exception):  # a finding, and not an error
    """A library cannot take part; the text says why."""


class Loaded(Protocol):
    """A network in a library, its inputs and outputs bound to buffers."""

    @property
    def output(self) -> Array:
        """The first output of a run, as floats, in any shape."""

    def seconds(self, num_runs: int) -> float:
        """Seconds of one run, the mean of so many, without those of a call that does nothing."""


class Peer(Protocol):
    """A library in one way of using it."""

    @property
    def name(self) -> str:
        """Head of its column."""

    @property
    def version(self) -> str:
        """Name and version of the library; the name alone where it is not installed."""

    def load(self, forms: Forms, num_threads: int) -> Loaded:
        """Loads a network.

        Raises:
            Absent: the library is not installed, has no file of this network, or refuses it.
        """
