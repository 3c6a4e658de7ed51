"""Where zeros may stand: anywhere, two in four, or in whole blocks; and which to choose."""

import enum
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.tensor import Array


class PatternKind(enum.Enum):
    """The shapes of zeros in a matrix of weights."""

    UNSTRUCTURED = "unstructured"
    TWO_OF_FOUR = "2:4"
    BLOCKS = "blocks"


# Rows of a 2:4 group.
GROUP = 4


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of zeros; `rows` x `columns` weights of a block are zero together."""

    kind: PatternKind = PatternKind.UNSTRUCTURED
    rows: int = 1
    columns: int = 1

    def fits(self, channels: int, columns: int) -> bool:
        """Whether a layer with so many channels for each tap can have such zeros."""
        if self.kind is PatternKind.TWO_OF_FOUR:
            return channels % GROUP == 0
        return channels % self.rows == 0 and columns % self.columns == 0

    def kept(self, scores: Array, sparsity: float) -> Array:
        """Which elements stay, bool[rows, columns]: those whose zeros would cost the most.

        scores: f64[rows, columns], what it costs to make each element zero. `sparsity` of them go;
        a 2:4 pattern takes half of them, whatever it is.
        """
        if self.kind is PatternKind.TWO_OF_FOUR:
            groups = scores.reshape(-1, GROUP, scores.shape[1])
            order = np.argsort(np.argsort(groups, axis=1, kind="stable"), axis=1)
            return np.asarray(order >= GROUP // 2).reshape(scores.shape)
        height, width = scores.shape[0] // self.rows, scores.shape[1] // self.columns
        blocks = scores.reshape(height, self.rows, width, self.columns).sum(axis=(1, 3))
        dropped = np.argsort(blocks, axis=None, kind="stable")[: round(sparsity * blocks.size)]
        keeps = np.ones(blocks.size, bool)
        keeps[dropped] = False
        grid = keeps.reshape(blocks.shape)
        return np.repeat(np.repeat(grid, self.rows, axis=0), self.columns, axis=1)


UNSTRUCTURED = Pattern()
