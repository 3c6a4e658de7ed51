"""Schedules: how the iterations of a kernel run: nests, vector blocks with tails, unrolled tiles.

Each function takes a description of the body (a function from index expressions to statements)
and gives the loops around it. Bodies are made anew for every copy, so that no loop variable is
bound twice.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

from lepton_cc.codegen.kernel.expr import Expr, Var, index
from lepton_cc.codegen.kernel.ir import Block, For, If, LoopKind
from lepton_cc.codegen.kernel.types import INDEX

Body = Callable[[Expr], Block]


class Names:
    """Fresh, deterministic names of variables and locals within one kernel."""

    def __init__(self) -> None:
        self._counter: Iterator[int] = itertools.count()

    def variable(self, stem: str) -> Var:
        """A new index variable."""
        return Var(INDEX, self.fresh(stem))

    def fresh(self, stem: str) -> str:
        """A new name."""
        return f"{stem}{next(self._counter)}"


def loop(
    names: Names,
    stem: str,
    begin: int | Expr,
    end: int | Expr,
    body: Body,
    kind: LoopKind = LoopKind.SERIAL,
) -> Block:
    """for stem in [begin, end): body; nothing at all if the bounds are constants and empty."""
    first = index(begin) if isinstance(begin, int) else begin
    last = index(end) if isinstance(end, int) else end
    if isinstance(begin, int) and isinstance(end, int):
        if end <= begin:
            return ()
        if end - begin == 1 and kind is not LoopKind.VECTOR:
            return body(first)
    variable = names.variable(stem)
    return (For(variable, first, last, body(variable), kind),)


def nest(
    names: Names,
    extents: Sequence[int],
    body: Callable[[tuple[Expr, ...]], Block],
    *,
    parallel: bool = False,
) -> Block:
    """Serial loops over `extents`, outermost first; `body` gets one index for each.

    With `parallel` the outermost loop that runs more than once may be split between threads.
    """
    if not extents:
        return body(())
    here = parallel and extents[0] > 1

    def inner(outer: Expr) -> Block:
        rest = extents[1:]
        return nest(names, rest, lambda at: body((outer, *at)), parallel=parallel and not here)

    kind = LoopKind.PARALLEL if here else LoopKind.SERIAL
    return loop(names, "i", 0, extents[0], inner, kind)


def pieces(
    names: Names, whole: int, main: Body, rest: Callable[[], Block] | None, *, parallel: bool
) -> Block:
    """`main` for each of `whole` equal pieces, then `rest` for what is left.

    With `parallel` all of it is one loop that may be split between threads.
    """
    if rest is None:
        return nest(names, (whole,), lambda at: main(at[0]), parallel=parallel)
    if not parallel or whole == 0:
        return loop(names, "i", 0, whole, main) + rest()

    def piece(number: Expr) -> Block:
        return (If(number < whole, main(number), rest()),)

    return loop(names, "i", 0, whole + 1, piece, LoopKind.PARALLEL)


def lanes_of(names: Names, base: Expr, lanes: int, body: Body) -> Block:
    """One vector: `body` at base + lane for all lanes at once."""
    if lanes == 1:
        return body(base)
    variable = names.variable("l")
    return (For(variable, index(0), index(lanes), body(base + variable), LoopKind.VECTOR),)


def vectorized(names: Names, extent: int, lanes: int, body: Body, unroll: int = 1) -> Block:
    """A loop over [0, extent) in vectors of `lanes`, `unroll` of them an iteration, and the rest.

    The rest runs in one narrower vector (or scalar loop where there are no vectors).
    """
    if lanes == 1:
        return loop(names, "i", 0, extent, body)
    block = lanes * unroll
    whole = extent // block

    def blocks(start: Expr, count: int) -> Block:
        return tuple(
            statement
            for number in range(count)
            for statement in lanes_of(names, start + number * lanes, lanes, body)
        )

    main = loop(names, "b", 0, whole, lambda number: blocks(number * block, unroll))
    left = extent - whole * block
    rest = blocks(index(whole * block), left // lanes)
    tail = left % lanes
    last = lanes_of(names, index(extent - tail), tail, body) if tail else ()
    return main + rest + last
