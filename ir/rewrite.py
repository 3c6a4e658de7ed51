"""Pattern rewriting: rules named after their laws, swept over a graph until none fires.

Every pass that replaces ops by other ops is written as rules for this engine:

    @rule("transpose(transpose(x, p), q) = transpose(x, q of p)", Transpose)
    def merge_transposes(op: Op, rewriter: Rewriter) -> Replacement:
        inner = rewriter.match(op.operands[0], Transpose)
        ...
        return (rewriter.emit(Transpose(permutation), inner.operands[0]),)

A rule sees the op with operands of the new graph and gives the values that replace its results, or
None. What it emitted is kept only if it gave values. All ops are pure, so what a sweep leaves
unread is dropped.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import InternalError, TypeInferenceError
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import Quantization

Kind = TypeVar("Kind", bound=OpKind)
Replacement = tuple[Value, ...] | None
RuleFunction = Callable[[Op, "Rewriter"], Replacement]

# Rules are meant to shrink or to order; a graph of n ops that still changes after this many sweeps
# beyond n has rules that undo each other.
_EXTRA_SWEEPS = 32
_NUMBERING = re.compile(r"(\.[0-9]+)+$")


class Statistics:
    """What a pass did: how often each law was applied, in the order of first use."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, law: str, times: int = 1) -> None:
        """Notes that `law` was applied."""
        if times:
            self._counts[law] += times

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """(law, how often), in the order of first use."""
        return tuple(self._counts.items())

    @property
    def total(self) -> int:
        """How many rewrites there were."""
        return self._counts.total()


@dataclass(frozen=True, slots=True)
class Rule:
    """One law, and the function that applies it to ops of the given kinds (none given: to all)."""

    law: str
    function: RuleFunction
    kinds: tuple[type[OpKind], ...] = ()


def rule(law: str, *kinds: type[OpKind]) -> Callable[[RuleFunction], Rule]:
    """Makes a rule of the decorated function."""
    return lambda function: Rule(law, function, kinds)


def kind_of(op: Op, kind: type[Kind]) -> Kind:
    """The kind of an op that the rule's own declaration says is of this class."""
    if not isinstance(op.kind, kind):
        raise InternalError(f"a rule for {kind.__name__} was given {op.kind.mnemonic}")
    return op.kind


def same_type(op: Op, value: Value | None) -> Replacement:
    """`value` in the place of the op's result if it has its type, quantization included."""
    return (value,) if value is not None and value.type == op.result.type else None


class Rewriter:
    """What rules may ask about the graph and do to it: one sweep's state."""

    def __init__(self, graph: Graph) -> None:
        names = [v.name for v in graph.inputs]
        names += [result.name for op in graph.ops for result in op.results]
        self._builder = GraphBuilder(graph.name, names)
        self._new: dict[Value, Value] = {}
        self._uses = Counter(operand for op in graph.ops for operand in op.inputs)
        self._uses.update(graph.outputs)
        self._pending: list[Op] = []
        self._stems: dict[Value, str] = {}
        self._made: dict[Value, Op] = {}
        self._location = Location()
        for value in graph.inputs:
            self._new[value] = self._builder.input(value.name, value.type)

    def producer(self, value: Value | None) -> Op | None:
        """The op that made `value`; None for graph inputs and absent operands."""
        if value is None:
            return None
        return self._made.get(value) or self._builder.producer(value)

    def match(self, value: Value | None, kind: type[Kind]) -> tuple[Kind, Op] | None:
        """The producer of `value` if it is of the kind, as (its kind, the op).

        What the rule emits afterwards inherits the producer's location.
        """
        op = self.producer(value)
        if op is None or not isinstance(op.kind, kind):
            return None
        self._location = op.location.merge(self._location)
        return op.kind, op

    def constant_array(self, value: Value | None) -> Array | None:
        """The content of `value` if it is a constant."""
        op = self.producer(value)
        return op.kind.value.array if op is not None and isinstance(op.kind, Constant) else None

    def uniform(self, value: Value | None) -> Array | None:
        """The scalar array that all elements of a constant equal bit for bit, if there is one."""
        array = self.constant_array(value)
        if array is None or array.size == 0:
            return None
        first = array.reshape(-1)[:1]
        if array.size > 1 and np.any(_bytes(array) != _bytes(first)):
            return None
        return first.reshape(())

    def has_single_use(self, value: Value) -> bool:
        """True if one operand reads `value` (a graph output counts as a reader)."""
        return self._uses[value] == 1

    def emit(self, kind: OpKind, *operands: Value | None, name: str = "") -> Value:
        """Adds an op with one result and gives it."""
        (result,) = self.add(kind, operands, name)
        return result

    def add(
        self, kind: OpKind, operands: Sequence[Value | None], name: str = ""
    ) -> tuple[Value, ...]:
        """Adds an op and gives its results.

        The value that replaces a result takes its name; others are named after `name`.
        """
        types = kind.infer([None if v is None else v.type for v in operands])
        # A name that no parser accepts: it lives only until the rule has returned.
        index = len(self._made)
        results = tuple(Value(f"\0{index}.{i}", t) for i, t in enumerate(types))
        op = Op(kind, tuple(operands), results, self._location)
        self._pending.append(op)
        for result in results:
            self._made[result] = op
            # Numbers that an earlier rewrite appended would pile up.
            self._stems[result] = _NUMBERING.sub("", name) or kind.mnemonic
        return results

    def constant(
        self, array: Array, quantization: Quantization | None = None, name: str = "c"
    ) -> Value:
        """Adds a constant."""
        return self.emit(Constant(Tensor(np.asarray(array)), quantization), name=name)

    def _begin(self, op: Op) -> None:
        self._pending.clear()
        self._made.clear()
        self._stems.clear()
        self._location = op.location

    def _commit(self, op: Op, values: tuple[Value, ...], law: str) -> None:
        """Takes over what the rule emitted; results that stand for the op's take their names."""
        if tuple(v.type for v in values) != tuple(r.type for r in op.results):
            given = ", ".join(f"{v.type} {v.type.quantization or ''}" for v in values)
            raise InternalError(f"law '{law}' replaced {op.kind.mnemonic} {op.location} by {given}")
        named: dict[Value, Value] = {}
        for value, result in zip(values, op.results, strict=True):
            if value in self._made and value not in named:
                named[value] = result
        for made in self._pending:
            for result in made.results:
                if result not in named:
                    named[result] = Value(
                        self._builder.fresh_name(self._stems[result]), result.type
                    )
        for operand in op.inputs:
            self._uses[operand] -= 1
        for made in self._pending:
            operands = tuple(None if v is None else named.get(v, v) for v in made.operands)
            self._uses.update(operand for operand in operands if operand is not None)
            results = tuple(named[result] for result in made.results)
            self._builder.append(replace(made, operands=operands, results=results))
        for result, value in zip(op.results, values, strict=True):
            self._bind(result, named.get(value, value))

    def _bind(self, old: Value, new: Value) -> None:
        self._new[old] = new
        if new != old:
            self._uses[new] += self._uses.pop(old, 0)

    def _sweep(self, graph: Graph, index: "_RuleIndex", statistics: Statistics) -> Graph:
        for op in graph.ops:
            self._visit(self._with_new_operands(op), index, statistics)
        outputs = [self._new[value] for value in graph.outputs]
        return without_dead_ops(self._builder.finish(outputs, graph.output_names))

    def _visit(self, op: Op, index: "_RuleIndex", statistics: Statistics) -> None:
        for candidate in index.rules_for(type(op.kind)):
            self._begin(op)
            try:
                values = candidate.function(op, self)
            except TypeInferenceError as error:
                at = f"{op.kind.mnemonic} {op.location}"
                raise InternalError(f"law '{candidate.law}' at {at}: {error}") from error
            if values is not None:
                self._commit(op, values, candidate.law)
                statistics.count(candidate.law)
                return
        self._begin(op)
        self._builder.append(op)
        for result in op.results:
            self._bind(result, result)

    def _with_new_operands(self, op: Op) -> Op:
        operands = tuple(None if v is None else self._new[v] for v in op.operands)
        return op if operands == op.operands else replace(op, operands=operands)


class _RuleIndex:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_kind: dict[type[OpKind], tuple[Rule, ...]] = {}

    def rules_for(self, kind: type[OpKind]) -> tuple[Rule, ...]:
        if kind not in self._by_kind:
            self._by_kind[kind] = tuple(
                rule for rule in self._rules if not rule.kinds or issubclass(kind, rule.kinds)
            )
        return self._by_kind[kind]


def _bytes(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1, 1).view(np.uint8)


def without_dead_ops(graph: Graph) -> Graph:
    """The graph without the ops that contribute to no output; the same object if there are none."""
    live = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if any(result in live for result in op.results):
            live.update(op.inputs)
            kept.append(op)
    return graph if len(kept) == len(graph.ops) else graph.with_ops(tuple(reversed(kept)))


def rewrite(graph: Graph, rules: Sequence[Rule], statistics: Statistics) -> Graph:
    """Sweeps the rules over the graph until none fires; of several that match an op the first wins.

    Ops that no rule touches keep their value names and locations; what replaces ops inherits their
    locations. A sweep is linear in the number of ops. The last one neither rewrites nor drops
    anything, so rewriting the result again gives it back.

    Raises:
        InternalError: a rule changed a type, or the rules undo each other.
    """
    index = _RuleIndex(rules)
    # Ops that nothing reads must not count as readers of their operands.
    graph = without_dead_ops(graph)
    for _ in range(len(graph.ops) + _EXTRA_SWEEPS):
        sweep = Statistics()
        graph = Rewriter(graph)._sweep(graph, index, sweep)
        for law, times in sweep.counts:
            statistics.count(law, times)
        if not sweep.total:
            return graph
    laws = ", ".join(f"'{law}'" for law, _ in sweep.counts)
    raise InternalError(f"these laws undo each other in graph {graph.name!r}: {laws}")
