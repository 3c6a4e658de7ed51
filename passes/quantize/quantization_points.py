"""Where a float graph is quantized: which values get a scale, and from what it is known.

A pair of Quantize and Dequantize stands behind every point; `raise_integers` carries pairs over
what moves, clamps and joins, so that these get none. Rules, each with its reason:

- Results of contractions, sums, products, means, softmax: one pair each, behind the clamp (relu)
  that alone reads them, so that no integer is spent on what the clamp cuts off.
- Chains of functions of one tensor (hard swish, gelu): a pair before and a pair behind, which
  make one table of it.
- Movement and max pools keep the scale of what they read, and get no pair.
- What a concatenation (or a padding with something else than 0) alone reads is quantized once,
  with the scale of the joined tensor.
- Sigmoid, tanh and softmax have the scale of their function's whole range.
- What only floats read stays float if it is an accumulator, which is more exact.
- Results of LSTM and GRU layers get a pair only for ops that compute with integers: they have more
  bits. Their initial states are given 16 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape, Transpose
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.passes.quantize.activation_parameters import (
    SIGNED_UNIT_PARAMETERS,
    UNIT_PARAMETERS,
    ActivationParameters,
)
from lepton_cc.passes.quantize.integer_forms import COMPUTING, Form, IntegerForms, integer_forms


@dataclass(frozen=True, slots=True)
class QuantizationPoints:
    """Everything that is quantized in a float graph.

    `measured` values need a range, those that are `wide` become i16; `fixed` ones have their
    parameters. `contractions` are ops whose weights (and bias) are quantized, `layers` are LSTM and
    GRU layers whose weights are, `constants` are operands of ops that get one scale each, `moved`
    is what has the scale of what it is moved from.
    """

    measured: tuple[Value, ...]
    fixed: Mapping[Value, ActivationParameters]
    wide: frozenset[Value]
    contractions: tuple[Op, ...]
    layers: tuple[Op, ...]
    constants: frozenset[tuple[Value, Op]]
    moved: frozenset[Value]


def quantization_points(graph: Graph) -> QuantizationPoints:
    """Finds what to quantize; the graph is float, its batch normalizations are folded."""
    return _PointFinder(graph).run()


class _PointFinder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._forms: IntegerForms = integer_forms(graph)
        self._uses = graph.uses()
        self._outputs = frozenset(graph.outputs)
        self._wanted: set[Value] = set()
        self._useful: set[Value] = set(graph.outputs)
        self._available: set[Value] = set()
        self._states: set[Value] = set()

    def run(self) -> QuantizationPoints:
        self._look_backward()
        self._look_forward()
        measured: list[Value] = [v for v in self._graph.inputs if self._is_point(v, Form.FLOAT)]
        fixed: dict[Value, ActivationParameters] = {}
        for op in self._graph.ops:
            parameters = _fixed_parameters(op)
            for value in op.results:
                if not self._is_point(value, self._forms.of(op)):
                    continue
                if parameters is None:
                    measured.append(value)
                else:
                    fixed[value] = parameters
        return QuantizationPoints(
            tuple(measured),
            fixed,
            frozenset(v for v in measured if v in self._states and v not in self._wanted),
            self._of_form(Form.CONTRACTION),
            self._of_form(Form.RECURRENT),
            frozenset(self._constants()),
            frozenset(op.result for op in self._of_form(Form.MOVED)),
        )

    def _of_form(self, form: Form) -> tuple[Op, ...]:
        return tuple(op for op in self._graph.ops if self._forms.of(op) is form)

    def _look_backward(self) -> None:
        """Which values integers are made of: `wanted`, and `useful` if outputs count, too.

        Those that recurrent layers begin with are `states`.
        """
        for op in reversed(self._graph.ops):
            form = self._forms.of(op)
            if form in (Form.CONTRACTION, Form.COMPUTED):
                self._wanted.update(op.inputs)
                self._useful.update(op.inputs)
            elif form is Form.RECURRENT:
                self._wanted.add(op.inputs[0])
                self._useful.add(op.inputs[0])
                # The other operands of a GRU from there on are constants.
                begun = {v for v in op.operands[4:6] if v is not None}
                self._states.update(begun)
                self._useful.update(begun)
            elif form in (Form.FUNCTION, Form.CLAMPED, Form.MOVED, Form.JOINED):
                read = op.inputs[:1] if form is Form.MOVED else op.inputs
                followed = [self._wanted, self._useful]
                if form is Form.MOVED:
                    followed.append(self._states)
                for found in followed:
                    if op.result in found:
                        found.update(read)
            elif form is Form.ARGUMENT:
                self._useful.update(op.inputs)

    def _look_forward(self) -> None:
        """Which values are results of integers."""
        for op in self._graph.ops:
            form = self._forms.of(op)
            read = op.inputs[:1] if form is Form.MOVED else op.inputs
            follows = form in (Form.FUNCTION, Form.MOVED, Form.JOINED)
            if form in COMPUTING or (follows and not self._available.isdisjoint(read)):
                self._available.add(op.results[0])

    def _is_point(self, value: Value, form: Form) -> bool:
        if value.type.dtype is not DType.F32 or not value.type.num_elements:
            return False
        if form in (Form.NONE, Form.MOVED) or self._is_carried(value, form):
            return False
        if form in (Form.FLOAT, Form.RECURRENT):
            return value in self._wanted or value in self._states
        if form is Form.FUNCTION and self._is_inside_chain(value):
            return False
        if value not in self._useful and form is not Form.COMPUTED:
            return False
        return value in self._wanted or value in self._available

    def _is_inside_chain(self, value: Value) -> bool:
        sources = self._forms.sources
        readers = self._uses.get(value, ())
        if value in self._outputs or not readers:
            return False
        return all(
            self._forms.of(reader) is Form.FUNCTION and sources[reader.result] == sources[value]
            for reader in readers
        )

    def _is_carried(self, value: Value, form: Form) -> bool:
        """True if the pair behind the only reader serves this value, too."""
        if value in self._outputs or len(self._uses.get(value, ())) != 1:
            return False
        (reader,) = self._uses[value]
        if self._forms.of(reader) is Form.JOINED:
            return True
        if form not in COMPUTING:
            return False
        while isinstance(reader.kind, Transpose | Reshape):
            if reader.result in self._outputs or len(self._uses.get(reader.result, ())) != 1:
                return False
            (reader,) = self._uses[reader.result]
        if self._forms.of(reader) is Form.CLAMPED:
            return True
        return isinstance(reader.kind, Resample) and self._is_resampled(value)

    def _is_resampled(self, value: Value) -> bool:
        return any(isinstance(op.kind, Resample) and op.result == value for op in self._graph.ops)

    def _constants(self) -> set[tuple[Value, Op]]:
        """Constants that integers are computed of, but for weights and what chains apply."""
        found: set[tuple[Value, Op]] = set()
        for op in self._graph.ops:
            form = self._forms.of(op)
            if form is Form.COMPUTED and isinstance(op.kind, Binary | MatMul):
                found.update((value, op) for value in op.inputs[:2])
            elif form is Form.MOVED and op.result in self._wanted:
                found.add((op.inputs[0], op))
        known = self._forms.constants
        return {(v, op) for v, op in found if v in known and v.type.dtype is DType.F32}


def _fixed_parameters(op: Op) -> ActivationParameters | None:
    if isinstance(op.kind, Softmax):
        return UNIT_PARAMETERS
    if isinstance(op.kind, Unary) and op.kind.function is UnaryFunction.SIGMOID:
        return UNIT_PARAMETERS
    if isinstance(op.kind, Unary) and op.kind.function is UnaryFunction.TANH:
        return SIGNED_UNIT_PARAMETERS
    return None
