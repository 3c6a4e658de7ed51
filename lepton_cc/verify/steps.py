"""How two quantized tensors differ: a histogram of whole steps (LSB), in classes that double."""

from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.tensor import Array

# Classes of |difference| in steps: 0, 1, 2, 3-4, 5-8, ... and all that is more.
STEP_CLASSES = ("0", "1", "2", "3-4", "5-8", "9-16", "17-32", "33-64", "65-128", ">128")
_LARGEST_OF_CLASS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128])


@dataclass(frozen=True, slots=True)
class StepDifference:
    """How many elements are how many steps away from their reference, over all samples.

    `histogram` counts elements by the classes of `STEP_CLASSES`; `max_steps` is the largest
    distance. `argmax_flips` counts the rows (along the last axis) whose largest element is another
    one, of `num_rows`. `nodes` are the ONNX nodes that the tensor comes from.
    """

    name: str
    nodes: tuple[str, ...]
    num_elements: int
    histogram: tuple[int, ...]
    max_steps: int
    argmax_flips: int
    num_rows: int

    @property
    def num_different(self) -> int:
        """Elements that are at least a step away."""
        return self.num_elements - self.histogram[0]


def step_difference(
    name: str, got: Array, reference: Array, *, scale: float = 1.0, nodes: tuple[str, ...] = ()
) -> StepDifference:
    """Compares integers, or reals that are integers times `scale`; NaN is far from everything.

    Reals that differ at all differ by one step at least.
    """
    steps = _steps(got, reference, scale)
    classes = np.searchsorted(_LARGEST_OF_CLASS, steps)
    flips, rows = argmax_flips(got, reference)
    return StepDifference(
        name,
        nodes,
        int(steps.size),
        tuple(int(count) for count in np.bincount(classes, minlength=len(STEP_CLASSES))),
        int(steps.max(initial=0)),
        flips,
        rows,
    )


def _steps(got: Array, reference: Array, scale: float) -> Array:
    """Whole steps between two arrays, int64[num_elements]."""
    lhs, rhs = got.reshape(-1), reference.reshape(-1)
    if lhs.dtype.kind in "iu" and lhs.dtype.itemsize <= 4 and scale == 1.0:
        return np.abs(lhs.astype(np.int64) - rhs.astype(np.int64))
    wide_lhs, wide_rhs = lhs.astype(np.float64), rhs.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(wide_lhs - wide_rhs) / scale
        same = (lhs == rhs) | (np.isnan(wide_lhs) & np.isnan(wide_rhs))
    far = float(np.iinfo(np.int32).max)
    whole = np.clip(np.rint(np.nan_to_num(distance, nan=far, posinf=far)), 1, far)
    return np.where(same, 0, whole).astype(np.int64)


def argmax_flips(got: Array, reference: Array) -> tuple[int, int]:
    """Rows along the last axis whose largest element is another one, and all rows."""
    if got.ndim == 0 or got.shape[-1] < 2 or not got.size or got.dtype == np.bool_:
        return 0, 0
    left = np.argmax(got.astype(np.float64), axis=-1)
    right = np.argmax(reference.astype(np.float64), axis=-1)
    return int(np.count_nonzero(left != right)), int(left.size)


def merged_steps(first: StepDifference, second: StepDifference) -> StepDifference:
    """The difference over the samples of both."""
    return StepDifference(
        first.name,
        first.nodes,
        first.num_elements + second.num_elements,
        tuple(a + b for a, b in zip(first.histogram, second.histogram, strict=True)),
        max(first.max_steps, second.max_steps),
        first.argmax_flips + second.argmax_flips,
        first.num_rows + second.num_rows,
    )


class StepTally:
    """Collects differences by name, in the order in which the names come first."""

    def __init__(self) -> None:
        self._found: dict[str, StepDifference] = {}

    def add(self, one: StepDifference) -> None:
        """Takes in one sample's difference."""
        before = self._found.get(one.name)
        self._found[one.name] = one if before is None else merged_steps(before, one)

    def differences(self) -> tuple[StepDifference, ...]:
        """One difference a name."""
        return tuple(self._found.values())


def first_diverging(differences: tuple[StepDifference, ...]) -> StepDifference | None:
    """The first that is not equal to its reference."""
    return next((one for one in differences if one.num_different), None)
