"""Where zeros may stand: anywhere, some of every few, or in whole blocks; and which to choose."""

import enum
import re
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.tensor import Array


class PatternKind(enum.Enum):
    """The shapes of zeros in a matrix of weights."""

    UNSTRUCTURED = "unstructured"
    N_OF_M = "n:m"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of zeros.

    Of blocks, `rows` x `columns` weights are zero together; of n:m, `nonzeros` of `rows`
    neighbouring input channels stay, for each output.
    """

    kind: PatternKind = PatternKind.UNSTRUCTURED
    rows: int = 1
    columns: int = 1
    nonzeros: int = 0

    @property
    def name(self) -> str:
        """As users write it: unstructured, 2:4, blocks-1x16."""
        if self.kind is PatternKind.N_OF_M:
            return f"{self.nonzeros}:{self.rows}"
        if self.kind is PatternKind.BLOCKS:
            return f"blocks-{self.rows}x{self.columns}"
        return str(self.kind.value)

    @property
    def share(self) -> float | None:
        """The share of zeros, if the pattern states it."""
        return 1 - self.nonzeros / self.rows if self.kind is PatternKind.N_OF_M else None

    def fits(self, channels: int, columns: int) -> bool:
        """Whether a layer with so many channels for each tap can have such zeros."""
        return channels % self.rows == 0 and columns % self.columns == 0

    def kept(self, scores: Array, sparsity: float) -> Array:
        """Which elements stay, bool[rows, columns]: those whose zeros would cost the most.

        scores: f64[rows, columns], what it costs to make each element zero. `sparsity` of them go;
        an n:m pattern takes its own share, whatever it is.
        """
        if self.kind is PatternKind.N_OF_M:
            groups = scores.reshape(-1, self.rows, scores.shape[1])
            order = np.argsort(np.argsort(groups, axis=1, kind="stable"), axis=1)
            return np.asarray(order >= self.rows - self.nonzeros).reshape(scores.shape)
        height, width = scores.shape[0] // self.rows, scores.shape[1] // self.columns
        blocks = scores.reshape(height, self.rows, width, self.columns).sum(axis=(1, 3))
        dropped = np.argsort(blocks, axis=None, kind="stable")[: round(sparsity * blocks.size)]
        keeps = np.ones(blocks.size, bool)
        keeps[dropped] = False
        grid = keeps.reshape(blocks.shape)
        return np.repeat(np.repeat(grid, self.rows, axis=0), self.columns, axis=1)


UNSTRUCTURED = Pattern()
TWO_OF_FOUR = Pattern(PatternKind.N_OF_M, 4, nonzeros=2)


def named_pattern(name: str) -> Pattern | None:
    """The pattern of a `Pattern.name`; None if there is none of that name."""
    if name == PatternKind.UNSTRUCTURED.value:
        return UNSTRUCTURED
    if found := re.fullmatch(r"(\d+):(\d+)", name):
        nonzeros, rows = map(int, found.groups())
        return Pattern(PatternKind.N_OF_M, rows, nonzeros=nonzeros) if 0 < nonzeros < rows else None
    if found := re.fullmatch(r"blocks-(\d+)x(\d+)", name):
        rows, columns = map(int, found.groups())
        return Pattern(PatternKind.BLOCKS, rows, columns) if rows and columns else None
    return None
