"""Lowering of topk: each element is inserted into a sorted list of the best k so far."""

from lepton_cc.codegen.kernel.expr import Expr, Var, index, load, minimum, select
from lepton_cc.codegen.kernel.ir import Block, If, Let, Store
from lepton_cc.codegen.kernel.schedule import loop, nest
from lepton_cc.codegen.kernel.types import INDEX, Buffer, is_float
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.topk import TopK

# An element and its index.
Entry = tuple[Expr, Expr]


def _greater(lhs: Expr, rhs: Expr) -> Expr:
    """Lhs > rhs, where NaN is greater than every number."""
    if not is_float(lhs.type):
        return lhs > rhs
    return (lhs > rhs) | (lhs.differs(lhs) & rhs.equals(rhs))


def _precedes(lhs: Entry, rhs: Entry, *, largest: bool) -> Expr:
    """True if lhs comes before rhs: a strict order, since no two indices are equal."""
    better = _greater(lhs[0], rhs[0]) if largest else _greater(rhs[0], lhs[0])
    worse = _greater(rhs[0], lhs[0]) if largest else _greater(lhs[0], rhs[0])
    return better | ((lhs[1] < rhs[1]) & worse.equals(0))


def lower_topk(context: KernelContext) -> Block:
    """Lowers TopK: n k steps at worst, far fewer if k is small."""
    kind = context.op.kind
    assert isinstance(kind, TopK)
    x = context.source(0)
    dims, axis = x.type.dims, kind.axis
    if kind.k == 0:
        return ()
    dtype = compute_type(x.type.dtype)
    best = context.scratch(dtype, kind.k)
    where = context.scratch(DType.I32, kind.k)
    kept = [a for a in range(len(dims)) if a != axis]
    names = context.names

    def line(outer: tuple[Expr, ...]) -> Block:
        place = dict(zip(kept, outer, strict=True))

        def at(position: Expr) -> tuple[Expr, ...]:
            return tuple(position if a == axis else place[a] for a in range(len(dims)))

        def consider(position: Expr) -> Block:
            return _insert(context, kind, (best, where), x.at(at(position)), position)

        def store(rank: Expr) -> Block:
            values, indices = context.sinks
            return (
                values.store(at(rank), load(best, rank)),
                indices.store(at(rank), load(where, rank).cast(DType.I64)),
            )

        return loop(names, "n", 0, dims[axis], consider) + loop(names, "k", 0, kind.k, store)

    return nest(names, [dims[a] for a in kept], line)


def _insert(
    context: KernelContext, kind: TopK, kept: tuple[Buffer, Buffer], element: Expr, position: Expr
) -> Block:
    """Takes the element at `position` into the sorted list; what it pushes out moves on."""
    best, where = kept
    names = context.names
    carried = context.registers("carried", best.dtype, 1)
    carried_from = context.registers("from", DType.I32, 1)
    zero = index(0)
    value = Var(best.dtype, names.fresh("v"))
    number = Var(DType.I32, names.fresh("n"))
    count = Var(INDEX, names.fresh("count"))

    def step(rank: Expr) -> Block:
        there = Var(best.dtype, names.fresh("a")), Var(DType.I32, names.fresh("b"))
        here = Var(best.dtype, names.fresh("c")), Var(DType.I32, names.fresh("d"))
        wins = Var(DType.BOOL, names.fresh("w"))
        return (
            Let(there[0], load(best, rank)),
            Let(there[1], load(where, rank)),
            Let(here[0], load(carried, zero)),
            Let(here[1], load(carried_from, zero)),
            Let(wins, _precedes(here, there, largest=kind.largest)),
            Store(best, rank, select(wins, here[0], there[0])),
            Store(where, rank, select(wins, here[1], there[1])),
            Store(carried, zero, select(wins, there[0], here[0])),
            Store(carried_from, zero, select(wins, there[1], here[1])),
        )

    last = index(kind.k - 1)
    full = position >= kind.k
    beaten = _precedes((value, number), (load(best, last), load(where, last)), largest=kind.largest)
    append = (
        Store(best, count, load(carried, zero)),
        Store(where, count, load(carried_from, zero)),
    )
    sift = (
        Store(carried, zero, value),
        Store(carried_from, zero, number),
        Let(count, minimum(position, kind.k)),
        *loop(names, "r", 0, count, step),
        If(full.equals(0), append),
    )
    return (
        Let(value, element),
        Let(number, position.cast(DType.I32)),
        If(full.equals(0) | beaten, sift),
    )
