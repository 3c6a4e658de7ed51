"""Building graphs: fresh names, type inference, constants; for the frontend and for passes."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType


class GraphBuilder:
    """Collects ops in topological order and names their results.

    State that grows while a graph is made; `finish` gives the immutable graph.
    """

    def __init__(self, name: str, reserved_names: Iterable[str] = ()) -> None:
        self._name = name
        self._names: set[str] = set(reserved_names)
        self._counters: dict[str, int] = {}
        self._inputs: list[Value] = []
        self._ops: list[Op] = []
        self._producers: dict[Value, Op] = {}

    def input(self, name: str, type_: TensorType) -> Value:
        """Adds a graph input; its name is kept as it is."""
        value = Value(name, type_)
        self._names.add(name)
        self._inputs.append(value)
        return value

    def add(
        self,
        kind: OpKind,
        operands: Sequence[Value | None],
        location: Location = Location(),
        names: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """Adds an op and gives its results, typed by inference and named after `names` if given.

        Raises:
            TypeInferenceError: the operands do not fit the op.
        """
        types = kind.infer([None if v is None else v.type for v in operands])
        stems = [*names, *[kind.mnemonic] * (len(types) - len(names))]
        results = tuple(
            Value(self.fresh_name(stem), t) for stem, t in zip(stems, types, strict=True)
        )
        self.append(Op(kind, tuple(operands), results, location))
        return results

    def emit(
        self,
        kind: OpKind,
        *operands: Value | None,
        location: Location = Location(),
        name: str = "",
    ) -> Value:
        """Adds an op with one result and gives it."""
        (result,) = self.add(kind, operands, location, (name,) if name else ())
        return result

    def constant(self, array: Array, location: Location = Location(), name: str = "") -> Value:
        """Adds a constant."""
        return self.emit(Constant(Tensor(np.asarray(array))), location=location, name=name or "c")

    def append(self, op: Op) -> None:
        """Appends an op whose results are named already."""
        self._ops.append(op)
        for result in op.results:
            self._names.add(result.name)
            self._producers[result] = op

    def producer(self, value: Value | None) -> Op | None:
        """The op that made `value`; None for inputs and for absent operands."""
        return None if value is None else self._producers.get(value)

    def constant_array(self, value: Value | None) -> Array | None:
        """The content of `value` if it is a constant."""
        producer = self.producer(value)
        if producer is not None and isinstance(producer.kind, Constant):
            return producer.kind.value.array
        return None

    def fresh_name(self, stem: str) -> str:
        """A name that no value has yet, made from `stem`; its first user gets it as it is."""
        stem = re.sub(r"[^A-Za-z0-9_.]", "_", stem) or "v"
        if stem not in self._names:
            self._names.add(stem)
            return stem
        while True:
            self._counters[stem] = self._counters.get(stem, 0) + 1
            name = f"{stem}.{self._counters[stem]}"
            if name not in self._names:
                self._names.add(name)
                return name

    def finish(self, outputs: Sequence[Value], output_names: Sequence[str]) -> Graph:
        """The graph."""
        return Graph(
            self._name, tuple(self._inputs), tuple(outputs), tuple(output_names), tuple(self._ops)
        )
