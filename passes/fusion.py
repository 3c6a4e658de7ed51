"""The engine of the fusion passes: grows groups of ops around a root and outlines each into one op.

A group has one result that is read outside of it, so it can stand where its last op stood. It grows
forward from an anchor, over the pointwise ops that follow it, and backward from any op, over
producers whose elements can be computed where they are read (`passes.fusion_laws`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Cast
from lepton_cc.ir.ops.integer import Requantize
from lepton_cc.ir.ops.movement import Broadcast, Concat, Reshape
from lepton_cc.ir.rewrite import without_dead_ops
from lepton_cc.passes.fusion_laws import (
    FOLLOWED,
    WINDOWED,
    anchor,
    expression_size,
    is_cheap_to_repeat,
    is_movement,
    is_pointwise,
    is_repeatable,
    is_scalar_constant,
    num_parts,
    operand_reads,
    reads_repeatedly,
    wants_constant,
)
from lepton_cc.passes.outline import outline


@dataclass(frozen=True, slots=True)
class FusionLimits:
    """How big one body may become: ops without constants, distinct operands, and the expression.

    The expression of one output element counts an op as often as it is read: a chain of ops that
    each read the one before twice doubles it with every op.
    """

    max_ops: int = 24
    max_operands: int = 12
    max_expression: int = 128


@dataclass(frozen=True, slots=True)
class Reads:
    """How a group computes the elements of a member: how many, and whether a row several times."""

    num_elements: int
    repeated: bool


# Whether an op may join a group, given the values inside the group.
MayFollow = Callable[[Op, frozenset[Value]], bool]


class Fusion:
    """A graph whose ops are being grouped; state of one fusion pass.

    Ops are known by their index in the given graph; a fused op takes the index of its last member,
    so the order of the ops stays.
    """

    def __init__(self, graph: Graph, limits: FusionLimits) -> None:
        self._graph = graph
        self._limits = limits
        self._ops: dict[int, Op] = dict(enumerate(graph.ops))
        self._producers: dict[Value, int] = {}
        self._readers: dict[Value, Counter[int]] = {}
        self._outputs = frozenset(graph.outputs)
        for index, op in self._ops.items():
            self._enter(index, op)

    def indices(self) -> tuple[int, ...]:
        """Indices of the ops that are there now, last first."""
        return tuple(sorted(self._ops, reverse=True))

    def op(self, index: int) -> Op | None:
        """The op at an index; None if it went into a group."""
        return self._ops.get(index)

    def finish(self) -> Graph:
        """The graph as grouped so far, without constants that went into bodies."""
        ordered = tuple(self._ops[index] for index in sorted(self._ops))
        return without_dead_ops(self._graph.with_ops(ordered))

    def follow(self, root: int, may_follow: MayFollow) -> bool:
        """Fuses the anchor at `root` with the pointwise ops after it; True if there were any.

        `may_follow` sees an op and the values inside the group, and says whether it may join.
        """
        members = [root]
        closed = 1
        shape = self._ops[root].result.type.shape
        rejected: set[int] = set()
        while (index := self._next_reader(members, rejected)) is not None:
            op = self._ops[index]
            inside = frozenset(result for i in members for result in self._ops[i].results)
            fits = (
                len(op.results) == 1
                and is_pointwise(op)
                and op.result.type.shape == shape
                and may_follow(op, inside)
                and self._may_wait(members, index)
                and self._within_limits([*members, index])
            )
            if not fits:
                rejected.add(index)
                continue
            members.append(index)
            if self._escaping(members) == {op.result}:
                closed = len(members)
        return self._fuse(members[:closed])

    def follow_anchors(self, may_follow: MayFollow) -> Iterator[Op]:
        """Fuses every anchor that can be with what follows it; gives the anchors that grew."""
        for index in self.indices():
            op = self.op(index)
            found = None if op is None else anchor(op)
            if found is None or not isinstance(found.kind, FOLLOWED):
                continue
            if self.follow(index, may_follow):
                yield found

    def reads_only(self, op: Op, inside: frozenset[Value]) -> bool:
        """For `follow`: the op reads nothing but the group's values and scalar constants.

        A requantization may read its scales too: it makes a byte of an accumulator. What makes 32
        bits of a byte is left to the op that wants them.
        """
        if isinstance(op.kind, Cast) and op.kind.dtype is DType.I32:
            return op.inputs[0].type.dtype.bits > 8
        may_read = self._is_constant if isinstance(op.kind, Requantize) else self._is_scalar
        return all(v in inside or may_read(v) for v in op.inputs)

    def reads_anything(self, op: Op, inside: frozenset[Value]) -> bool:
        """For `follow`: the op may read what it likes."""
        return True

    def pull(self, root: int) -> bool:
        """Fuses the op at `root` with producers that can be computed in place; True if it grew."""
        group = [root]
        reads = {root: Reads(self._ops[root].result.type.num_elements, repeated=False)}
        while (found := self._next_producer(group, reads)) is not None:
            index, its_reads = found
            group.append(index)
            reads[index] = its_reads
        return self._fuse(self._without_outer_views(group, root))

    def _next_producer(self, group: list[int], reads: dict[int, Reads]) -> tuple[int, Reads] | None:
        """The last producer outside of the group that may join it, and how it would be read."""
        producers = {
            self._producers[value]
            for index in group
            for value in self._ops[index].inputs
            if value in self._producers
        }
        for index in sorted(producers - set(group), reverse=True):
            its_reads = self._reads_by(group, reads, index)
            if (
                its_reads is not None
                and self._may_be_pulled(group, index, its_reads)
                and self._within_limits([*group, index])
            ):
                return index, its_reads
        return None

    def _reads_by(self, group: list[int], reads: dict[int, Reads], index: int) -> Reads | None:
        """How the group would read the op's elements; None if it reads a buffer somewhere."""
        op = self._ops[index]
        if len(op.results) != 1 or isinstance(op.kind, Constant):
            return None
        in_place, moved, repeated = 0, 0, False
        for reader_index in group:
            reader, known = self._ops[reader_index], reads[reader_index]
            counts = operand_reads(reader, known.num_elements)
            for position, operand in enumerate(reader.operands):
                count = counts[position]
                if operand != op.result:
                    continue
                if count is None:
                    return None
                repeated |= known.repeated or reads_repeatedly(reader, position)
                if is_pointwise(reader):
                    in_place = max(in_place, count)
                else:
                    moved += count
        return Reads(in_place + moved, repeated)

    def _may_be_pulled(self, group: list[int], index: int, reads: Reads) -> bool:
        op = self._ops[index]
        if anchor(op) is not None or (reads.repeated and not is_cheap_to_repeat(op)):
            return False
        if not is_repeatable(op) and self._is_needed_beside(group, op):
            return False
        if not is_movement(op) and reads.num_elements > op.result.type.num_elements:
            return False
        group_anchor = anchor(self._ops[group[0]])
        if group_anchor is None or is_pointwise(op):
            return True
        if isinstance(group_anchor.kind, WINDOWED):
            return isinstance(op.kind, Broadcast)
        return not isinstance(op.kind, Concat)

    def _is_needed_beside(self, group: list[int], op: Op) -> bool:
        """True if the op's result must exist even if the op joins the group."""
        surviving: set[int] = set()
        for index in sorted(group[1:], reverse=True):
            if self._is_read_outside(self._ops[index], set(group) - surviving):
                surviving.add(index)
        return self._is_read_outside(op, set(group) - surviving)

    def _is_read_outside(self, op: Op, group: set[int]) -> bool:
        return op.result in self._outputs or bool(self._readers[op.result].keys() - group)

    def _without_outer_views(self, group: list[int], root: int) -> list[int]:
        """The group without reshapes of what stays outside: as views they cost nothing there."""
        kept = list(group)
        for index in sorted(group):
            op = self._ops[index]
            inner = any(self._producers.get(v) in kept for v in op.inputs)
            if isinstance(op.kind, Reshape) and index != root and not inner:
                kept.remove(index)
        return kept

    def _may_wait(self, members: list[int], index: int) -> bool:
        """True if the anchor may run as late as `index` without more bytes being alive."""
        root = self._ops[members[0]]
        between = (i for i in range(members[0] + 1, index) if i in self._ops)
        if all(i in members or isinstance(self._ops[i].kind, Constant) for i in between):
            return True
        kept_alive = 0
        for value in set(root.inputs):
            producer = self._producers.get(value)
            constant = producer is not None and isinstance(self._ops[producer].kind, Constant)
            if not constant and max(self._readers[value]) < index:
                kept_alive += value.type.size_bytes
        return kept_alive <= root.result.type.size_bytes

    def _next_reader(self, members: list[int], rejected: set[int]) -> int | None:
        readers = {
            reader
            for index in members
            for result in self._ops[index].results
            for reader in self._readers.get(result, ())
        }
        return min(readers - rejected - set(members), default=None)

    def _escaping(self, members: Iterable[int]) -> set[Value]:
        """Results of the members that are read outside of the group."""
        group = set(members)
        return {
            result
            for index in group
            for result in self._ops[index].results
            if result in self._outputs or self._readers.get(result, Counter()).keys() - group
        }

    def _within_limits(self, members: Iterable[int]) -> bool:
        group = sorted(set(members))
        ops = [self._ops[index] for index in group]
        fused = outline(ops, ops[-1].result)
        return (
            sum(num_parts(op) for op in ops) <= self._limits.max_ops
            and sum(not self._is_scalar(v) for v in fused.inputs) <= self._limits.max_operands
            and expression_size(fused) <= self._limits.max_expression
        )

    def _is_scalar(self, value: Value) -> bool:
        producer = self._producers.get(value)
        return producer is not None and is_scalar_constant(self._ops[producer])

    def _is_constant(self, value: Value) -> bool:
        producer = self._producers.get(value)
        return producer is not None and isinstance(self._ops[producer].kind, Constant)

    def _fuse(self, members: list[int]) -> bool:
        group = set(members)
        if sum(not isinstance(self._ops[i].kind, Constant) for i in group) < 2:
            return False
        group |= self._scalars_of(group)
        last = max(group)
        ops = [self._ops[index] for index in sorted(group)]
        fused = outline(ops, self._ops[last].result)
        for index in sorted(group):
            self._leave(index)
        for index in sorted(group - {last}, reverse=True):
            op = self._ops[index]
            if isinstance(op.kind, Constant) or self._is_read(op):
                self._enter(index, op)
            else:
                del self._ops[index]
        self._ops[last] = fused
        self._enter(last, fused)
        return True

    def _is_read(self, op: Op) -> bool:
        return any(result in self._outputs or self._readers.get(result) for result in op.results)

    def _scalars_of(self, group: set[int]) -> set[int]:
        """Constants of one element that may stand in the body of the group."""
        scalars: set[int] = set()
        for value in {v for index in group for v in self._ops[index].inputs}:
            producer = self._producers.get(value)
            if producer is None or not is_scalar_constant(self._ops[producer]):
                continue
            readers = [self._ops[i] for i in group if value in self._ops[i].inputs]
            if all(
                wants_constant(reader, position)
                for reader in readers
                for position, operand in enumerate(reader.operands)
                if operand == value
            ):
                scalars.add(producer)
        return scalars

    def _enter(self, index: int, op: Op) -> None:
        for result in op.results:
            self._producers[result] = index
        for operand in op.inputs:
            self._readers.setdefault(operand, Counter())[index] += 1

    def _leave(self, index: int) -> None:
        for operand in set(self._ops[index].inputs):
            del self._readers[operand][index]
