"""The geometry of a depthwise convolution by dot products: bands of output rows share their words.

A word holds four input rows of one column and channel; three taps in four rows are one word for two
output rows, the fourth byte of each meeting a zero weight.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, index, maximum, minimum
from lepton_cc.codegen.lower.conv_shape import ConvShape
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array

# Bytes of a word.
WORD_BYTES = 4


@dataclass(frozen=True)
class Band:
    """`rows` neighbouring output rows that share their words of inputs.

    The output rows of band number i are first + i * rows and those after it.
    """

    shape: ConvShape
    rows: int
    first: int
    count: int

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The input rows that a band reads, from the first tap of its first row on."""
        return tuple(sorted({self._offset(row, tap) for row in self._rows for tap in self._taps}))

    @property
    def num_words(self) -> int:
        """Words that hold one column of the band's input rows."""
        return -(-len(self.offsets) // WORD_BYTES)

    def tap(self, row: int, place: int) -> int | None:
        """The tap of an output row that reads the input row at a place of `offsets`."""
        taps = [tap for tap in self._taps if self._offset(row, tap) == self.offsets[place]]
        return taps[0] if taps else None

    def meets(self, row: int, word: int) -> bool:
        """Whether an output row has taps among the input rows of a word."""
        return any(self.tap(row, place) is not None for place in self.places(word))

    def places(self, word: int) -> range:
        """The places of a word's input rows in `offsets`."""
        return range(word * WORD_BYTES, min((word + 1) * WORD_BYTES, len(self.offsets)))

    def origin(self, number: Expr) -> Expr:
        """The input row of the first tap of a band; it may lie in the padding."""
        window = self.shape.window
        first = (number * self.rows + self.first) * window.strides[0]
        return first - window.low[0]

    def inside(self, number: int) -> tuple[bool, ...]:
        """Which of a band's input rows are not padding."""
        window = self.shape.window
        origin = (number * self.rows + self.first) * window.strides[0] - window.low[0]
        return tuple(0 <= origin + offset < self.shape.dims[0] for offset in self.offsets)

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """How many bands at either end read padding; all are at the first if all do."""
        whole = [number for number in range(self.count) if all(self.inside(number))]
        return (whole[0], self.count - 1 - whole[-1]) if whole else (self.count, 0)

    @property
    def borders(self) -> tuple[tuple[bool, ...], ...]:
        """The different `inside`, in the bands' order."""
        head, tail = self._ends
        numbers = (*range(min(head + 1, self.count)), *range(self.count - tail, self.count))
        return tuple(self.inside(number) for number in numbers)

    def border(self, number: Expr) -> Expr:
        """The place of a band's `inside` in `borders`."""
        head, tail = self._ends
        if len(self.borders) == 1:
            return index(0)
        at = minimum(number, head)
        return at + maximum(number - (self.count - 1 - tail), 0) if tail else at

    def met_taps(self, row: int, inside: tuple[bool, ...], taps: Array) -> Array:
        """Weights [place, tap column, channel] that an output row has for input rows, if inside."""
        met = np.zeros((self.num_words * WORD_BYTES, *taps.shape[1:]), np.int64)
        for place, is_inside in enumerate(inside):
            tap = self.tap(row, place)
            if is_inside and tap is not None:
                met[place] = taps[tap]
        return met

    @property
    def _rows(self) -> range:
        return range(self.rows)

    @property
    def _taps(self) -> range:
        return range(self.shape.window.size[0])

    def _offset(self, row: int, tap: int) -> int:
        window = self.shape.window
        return row * window.strides[0] + tap * window.dilations[0]


def as_image(shape: ConvShape) -> ConvShape:
    """The same with rows and columns: a sequence is an image of one column."""
    if shape.window.rank == 2:
        return shape
    window = shape.window
    wide = Window(
        (*window.size, 1),
        (*window.strides, 1),
        (*window.dilations, 1),
        (*window.low, 0),
        (*window.high, 0),
    )
    dims, outputs = (*shape.dims, 1), (*shape.outputs, 1)
    return ConvShape(shape.batch, dims, outputs, 1, 1, shape.groups, wide)
