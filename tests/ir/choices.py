"""What drawing any random graph needs: choices by hypothesis, and the values so far."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.graph import Value

T = TypeVar("T")


class Choices:
    """A graph in the making: the builder, the values so far, and the source of choices."""

    def __init__(self, draw: st.DrawFn, name: str) -> None:
        self.draw = draw
        self.builder = GraphBuilder(name)
        self.values: list[Value] = []

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def boolean(self) -> bool:
        return self.draw(st.booleans())

    def one_of(self, options: Sequence[T]) -> T:
        return self.draw(st.sampled_from(options))
