"""What a lowering works with: operands as sources, the result as a sink, parameters made on demand.

One `KernelContext` makes one kernel. Lowerings ask it for sources, packed constants, scratch and
registers; each becomes a parameter or a local the first time that it is used, in a fixed order.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr
from lepton_cc.codegen.kernel.ir import Block, Kernel, Matrix, Stmt, Store
from lepton_cc.codegen.kernel.schedule import Names
from lepton_cc.codegen.kernel.types import Buffer, Space
from lepton_cc.codegen.lower.representation import storage_type, to_storage
from lepton_cc.codegen.lower.source import Index, Source, linearize
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """What an optimization level lets the schedules do."""

    vectorize: bool = True
    tile: bool = True
    parallelize: bool = True
    small_code: bool = False


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory that a kernel needs while it runs; the planner gives it a place in the arena."""

    dtype: DType
    size: int


# What a kernel's parameter is bound to: a value of the graph, a constant, or scratch.
Binding = Value | Tensor | Scratch


@dataclass(frozen=True, slots=True)
class LoweredKernel:
    """A kernel, and what its parameters are bound to, in order."""

    kernel: Kernel
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Sink:
    """Where an anchor's result goes: through the fused pointwise ops that follow, to a buffer.

    `finish` turns the anchor's element at an index into the stored one.
    """

    type: TensorType
    buffer: Callable[[], Buffer]
    finish: Callable[[Index, Expr], Expr]

    def store(self, at: Index, value: Expr) -> Stmt:
        """Stores the element at an index."""
        return self.store_linear(linearize(at, self.type.dims), at, value)

    def store_linear(self, number: Expr, at: Index, value: Expr) -> Stmt:
        """Stores the element at an index whose row-major number is known."""
        return Store(self.buffer(), number, to_storage(self.finish(at, value), self.type.dtype))


class KernelContext:
    """Collects the parameters and locals of one kernel while a lowering builds its body."""

    def __init__(self, name: str, op: Op, target: Target, options: ScheduleOptions) -> None:
        self.op = op
        self.target = target
        self.options = options
        self.names = Names()
        self._name = name
        self._parameters: dict[Binding | tuple[str, int], tuple[Buffer, Binding]] = {}
        self._locals: list[Buffer] = []
        self._matrices: list[Matrix] = []
        self.sources: tuple[Source | None, ...] = ()
        self.sinks: tuple[Sink, ...] = ()
        self.values: tuple[Value | None, ...] = ()
        self.constants: dict[Value, Array] = {}
        # The graph's value for each input of a fused body.
        self.given: dict[Value, Value] = {}

    @property
    def sink(self) -> Sink:
        """The only result's sink."""
        (sink,) = self.sinks
        return sink

    def source(self, number: int) -> Source:
        """An operand that must be there."""
        source = self.sources[number]
        assert source is not None
        return source

    def optional_source(self, number: int) -> Source | None:
        """An operand, or None if it is absent."""
        return self.sources[number] if number < len(self.sources) else None

    def direct_buffer(self, number: int) -> Buffer:
        """The buffer of an operand that is a value in memory, for reads wider than an element."""
        value = self.values[number]
        assert value is not None
        return self.parameter(self.given.get(value, value))

    def constant_array(self, number: int) -> Array | None:
        """The content of an operand if it is a constant."""
        value = self.values[number] if number < len(self.values) else None
        return None if value is None else self.constants.get(value)

    def lanes(self, dtype: DType = DType.F32) -> int:
        """Vector lanes for elements of a type; 1 when this level or target has no vectors."""
        return self.target.lanes(dtype.size_bytes) if self.options.vectorize else 1

    def parameter(self, value: Value, *, written: bool = False) -> Buffer:
        """The buffer of a value of the graph."""
        return self._bound(value, value, value.type.dtype, value.type.num_elements, written)

    def constant(self, array: Array) -> Buffer:
        """The buffer of constant content, in any layout that the kernel likes."""
        tensor = Tensor(array)
        return self._bound(tensor, tensor, tensor.type.dtype, tensor.type.num_elements, False)

    def scratch(self, dtype: DType, size: int) -> Buffer:
        """Memory for the kernel's own use while it runs."""
        key = ("scratch", len(self._parameters))
        return self._bound(key, Scratch(dtype, size), dtype, size, True)

    def registers(self, stem: str, dtype: DType, size: int) -> Buffer:
        """A small local array; indexed by constants, unrolled variables and lanes only."""
        buffer = Buffer(self.names.fresh(stem), dtype, size, Space.REGISTERS, written=True)
        self._locals.append(buffer)
        return buffer

    def stack(self, stem: str, dtype: DType, size: int) -> Buffer:
        """A local array in memory, each thread's own."""
        buffer = Buffer(self.names.fresh(stem), dtype, size, Space.STACK, written=True)
        self._locals.append(buffer)
        return buffer

    def matrix(self, stem: str, rows: int, words: int) -> Matrix:
        """A matrix register; the target says how many a kernel may have."""
        matrix = Matrix(self.names.fresh(stem), rows, words)
        self._matrices.append(matrix)
        return matrix

    def _bound(
        self,
        key: Binding | tuple[str, int],
        binding: Binding,
        dtype: DType,
        size: int,
        written: bool,
    ) -> Buffer:
        known = self._parameters.get(key)
        if known is None:
            name = f"p{len(self._parameters)}"
            buffer = Buffer(name, storage_type(dtype), size, Space.MEMORY, written)
            known = (buffer, binding)
            self._parameters[key] = known
        return known[0]

    def finish(self, body: Block) -> LoweredKernel:
        """The kernel with the given body."""
        buffers = tuple(buffer for buffer, _ in self._parameters.values())
        bindings = tuple(binding for _, binding in self._parameters.values())
        kernel = Kernel(self._name, buffers, tuple(self._locals), body, tuple(self._matrices))
        return LoweredKernel(kernel, bindings)
