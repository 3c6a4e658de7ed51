"""Outlining: makes one `Fused` op of several ops; every fusion pass ends here.

Bodies are canonical: ops stand in the order in which a walk from the output finishes them, values
are named by position, equal constants are one. Ops that compute the same on the same types have
equal bodies, wherever they stand and whatever their values were called.
"""

from collections.abc import Mapping, Sequence

from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused


def outline(members: Sequence[Op], result: Value) -> Op:
    """One fused op that computes `result`, a result of the last of `members`.

    `members` are in topological order; fused ops among them are dissolved into the new body.
    Operands are what members read and no member makes, in the order of the walk.
    """
    outliner = _Outliner(members)
    output = outliner.body_value(None, result)
    body = Graph("body", tuple(outliner.inputs), (output,), ("y",), tuple(outliner.ops))
    locations = [op.location for op in members if not isinstance(op.kind, Constant)]
    return Op(Fused(body), tuple(outliner.operands), (result,), Location().merge(*locations))


class _Outliner:
    """The body under construction."""

    def __init__(self, members: Sequence[Op]) -> None:
        self.inputs: list[Value] = []
        self.operands: list[Value] = []
        self.ops: list[Op] = []
        self._producers = {result: op for op in members for result in op.results}
        self._inner: dict[int, Mapping[Value, Op]] = {}
        self._known: dict[tuple[int, Value], Value] = {}
        self._constants: dict[Constant, Value] = {}

    def body_value(self, scope: Op | None, value: Value) -> Value:
        """The body's value for a value of the graph, or of the body of the fused op `scope`."""
        key = (id(scope), value)
        if key not in self._known:
            self._known[key] = self._make(scope, value)
        return self._known[key]

    def _make(self, scope: Op | None, value: Value) -> Value:
        producer = self._producer(scope, value)
        if producer is None:
            return self._enter(scope, value)
        if isinstance(producer.kind, Fused):
            return self.body_value(producer, producer.kind.body.outputs[0])
        if isinstance(producer.kind, Constant) and producer.kind in self._constants:
            return self._constants[producer.kind]
        operands = tuple(
            None if v is None else self.body_value(scope, v) for v in producer.operands
        )
        result = Value(f"v{len(self.ops)}", value.type)
        self.ops.append(Op(producer.kind, operands, (result,), producer.location))
        if isinstance(producer.kind, Constant):
            self._constants[producer.kind] = result
        return result

    def _producer(self, scope: Op | None, value: Value) -> Op | None:
        if scope is None:
            return self._producers.get(value)
        if id(scope) not in self._inner:
            self._inner[id(scope)] = _body(scope).producers()
        return self._inner[id(scope)].get(value)

    def _enter(self, scope: Op | None, value: Value) -> Value:
        """The body's value for what comes from outside of `scope`."""
        if scope is not None:
            operand = scope.operands[_body(scope).inputs.index(value)]
            if operand is None:
                raise InternalError(f"fused op {scope.location} lacks an operand")
            return self.body_value(None, operand)
        entered = Value(f"x{len(self.inputs)}", value.type)
        self.inputs.append(entered)
        self.operands.append(value)
        return entered


def _body(op: Op) -> Graph:
    if not isinstance(op.kind, Fused):
        raise InternalError(f"{op.kind.mnemonic} has no body")
    return op.kind.body
