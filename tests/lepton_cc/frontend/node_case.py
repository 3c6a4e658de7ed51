"""One ONNX node as a test case: imported, interpreted, and compared with an oracle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.verifier import Stage, verify


@dataclass(frozen=True)
class NodeCase:
    """A node: operands in order (None: left out); those in `known` are initializers."""

    op_type: str
    operands: Sequence[Array | np.generic | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    known: tuple[int, ...] = ()
    num_outputs: int = 1
    opset: int = 22
    domain: str = ""
    onnxruntime: bool = False
    rtol: float = 1e-5
    atol: float = 1e-5

    @property
    def arrays(self) -> tuple[Array | None, ...]:
        """The operands, scalars as arrays of rank 0."""
        return tuple(None if x is None else np.asarray(x) for x in self.operands)

    def model(self) -> onnx.ModelProto:
        """The model that holds only the node; its outputs are y0, y1, ..."""
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(self.arrays)]
        outputs = [f"y{i}" for i in range(self.num_outputs)]
        node = helper.make_node(
            self.op_type, names, outputs, domain=self.domain, **dict(self.attributes)
        )
        inputs, stored = [], []
        for index, (name, x) in enumerate(zip(names, self.arrays, strict=True)):
            if x is None:
                continue
            if index in self.known:
                stored.append(numpy_helper.from_array(x, name))
            else:
                number = helper.np_dtype_to_tensor_dtype(x.dtype)
                inputs.append(helper.make_tensor_value_info(name, number, x.shape))
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([node], "case", inputs, infos, stored)
        opsets = [helper.make_opsetid("", self.opset)]
        if self.domain:
            opsets.append(helper.make_opsetid(self.domain, 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    @property
    def feeds(self) -> dict[str, Array]:
        """The graph's inputs."""
        return {
            f"x{i}": x for i, x in enumerate(self.arrays) if x is not None and i not in self.known
        }

    def expected(self) -> list[Array]:
        """What the oracle gives."""
        model = self.model()
        if not self.onnxruntime:
            return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, self.feeds)]
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return [np.asarray(y) for y in session.run(None, self.feeds)]

    def graph(self) -> Graph:
        """The node imported; the graph has been verified."""
        graph = import_model(self.model())
        verify(graph, Stage.IMPORTED)
        return graph

    def check_refused(self) -> None:
        """The import is refused, and says of which node."""
        with pytest.raises(Refused) as refusal:
            import_model(self.model())
        assert self.op_type in refusal.value.diagnostics[0].node

    def interpreted(self, graph: Graph | None = None) -> list[Array]:
        """What our interpreter gives."""
        results = interpret(graph or self.graph(), self.feeds)
        return [results[f"y{i}"] for i in range(self.num_outputs)]

    def check(self, graph: Graph | None = None) -> None:
        """Compares interpreter and oracle: dtype, shape, values."""
        pairs = zip(self.interpreted(graph), self.expected(), strict=True)
        for got, want in pairs:
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            np.testing.assert_allclose(
                got.astype(np.float64), want.astype(np.float64), self.rtol, self.atol
            )


def floats(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    """Normally distributed numbers, the same for the same arguments."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def integers(low: int, high: int, *shape: int, seed: int = 0, dtype: str = "int64") -> Array:
    """Integers in [low, high)."""
    return np.random.default_rng((seed, *shape)).integers(low, high, shape).astype(dtype)
