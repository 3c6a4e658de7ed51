"""The ONNX backend interface (`onnx.backend.base`): models compiled for this machine and run here.

Every output is computed by generated machine code. What the compiler must know (shapes, axes,
pads) may come as graph inputs: a prepared model compiles itself anew for each value of those
inputs, and only of those; the rest stays run-time data. It keeps the code of the values used last.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.compiler import Compilation, CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, refuse
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel

# Inputs of a run: in the order of the model's inputs, or by name.
Inputs = Sequence[Array] | Mapping[str, Array] | NDArray[Any]
_Key = tuple[tuple[object, ...], ...]
# Each program kept holds machine code, the weights and an arena.
_MAX_PROGRAMS = 16


class LeptonBackend(Backend):
    """Compiles for this machine; subclasses choose the effort.

    `llvm_level` is LLVM's own level, 0 to 3; None is what `level` says.
    """

    level: ClassVar[OptLevel] = OptLevel.O3
    llvm_level: ClassVar[int | None] = None

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> "PreparedModel":
        """Compiles a model as far as that is possible without its inputs.

        Raises:
            BackendIsNotSupposedToImplementIt: the model needs what is not supported; the text is
                the compiler's refusal, which is also the exception's cause.
        """
        if not cls.supports_device(device):
            raise BackendIsNotSupposedToImplementIt(f"device {device!r} is not supported")
        llvm_level = LEVELS[cls.level].llvm_level if cls.llvm_level is None else cls.llvm_level
        prepared = PreparedModel(model, cls.level, llvm_level)
        prepared.compile_ahead()
        return prepared

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Compiles a model and runs it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Compiles a model of one node and runs it once; `opset_version` may be given."""
        arrays = [np.asarray(array) for array in inputs]
        names = list(dict.fromkeys(name for name in node.input if name))
        given = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays, strict=True)
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        opsets = [helper.make_opsetid("", onnx.defs.onnx_opset_version())]
        if "opset_version" in kwargs:
            opsets = [helper.make_opsetid("", kwargs["opset_version"])]
        if node.domain:
            opsets.append(helper.make_opsetid(node.domain, 1))
        graph = helper.make_graph([node], "node", given, results)
        return cls.run_model(helper.make_model(graph, opset_imports=opsets), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True for the CPU only."""
        return device.split(":")[0] == "CPU"


class PreparedModel(BackendRep):
    """A model, and machine code for the values of its compile-time inputs that were used last."""

    def __init__(self, model: onnx.ModelProto, level: OptLevel, llvm_level: int) -> None:
        self._model = model
        self._level = level
        self._llvm_level = llvm_level
        stored = {tensor.name for tensor in model.graph.initializer}
        self._inputs = tuple(info for info in model.graph.input if info.name not in stored)
        self._output_names = tuple(info.name for info in model.graph.output)
        # Inputs that the compiler has asked to know, in the order of asking.
        self._known: tuple[str, ...] = ()
        # In the order of last use, the latest at the end.
        self._code: dict[_Key, Executable] = {}

    @property
    def specialized_inputs(self) -> tuple[str, ...]:
        """Names of the inputs whose value the machine code is specialized for."""
        return self._known

    def compile_ahead(self) -> None:
        """Compiles without inputs; a model that needs their values or shapes waits for a run."""
        try:
            self._code[self._key({}, {})] = self._compiled({}, {})
        except Refused as refusal:
            if any(not _waits_for_inputs(diagnostic) for diagnostic in refusal.diagnostics):
                _unsupported(refusal)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Runs the machine code on inputs in the model's order (or by name); outputs in order.

        Raises:
            BackendIsNotSupposedToImplementIt: the model needs what is not supported.
        """
        arrays = self._named(inputs)
        dims = self._open_dims(arrays)
        try:
            executable = self._executable(arrays, dims)
            outputs = executable.run(arrays)
        except Refused as refusal:
            _unsupported(refusal)
        return tuple(outputs[name] for name in self._output_names)

    def _named(self, inputs: Inputs) -> dict[str, Array]:
        if isinstance(inputs, Mapping):
            return {name: np.asarray(array) for name, array in inputs.items()}
        listed = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(listed) != len(self._inputs):
            raise ValueError(f"the model has {len(self._inputs)} inputs, got {len(listed)}")
        pairs = zip(self._inputs, listed, strict=True)
        if any(isinstance(array, list | dict) or array is None for array in listed):
            _unsupported(
                refuse(Code.UNSUPPORTED_TYPE, "an input is a sequence, a map or an optional")
            )
        return {info.name: np.asarray(array) for info, array in pairs}

    def _open_dims(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """Sizes of the dimensions that the model leaves open, from the arrays' shapes."""
        dims: dict[str, int] = {}
        for info in self._inputs:
            shape = arrays[info.name].shape if info.name in arrays else ()
            declared = info.type.tensor_type.shape.dim
            for position, (dim, size) in enumerate(zip(declared, shape, strict=False)):
                if dim.WhichOneof("value") != "dim_value" or dim.dim_value == -1:
                    dims[dim.dim_param or f"{info.name}.{position}"] = size
        return dims

    def _executable(self, arrays: Mapping[str, Array], dims: Mapping[str, int]) -> Executable:
        """The machine code for these inputs: specialized further as long as the compiler asks."""
        while True:
            constants = {name: arrays[name] for name in self._known if name in arrays}
            key = self._key(constants, dims)
            executable = self._code.pop(key, None)
            if executable is None:
                try:
                    executable = self._compiled(constants, dims)
                except Refused as refusal:
                    self._learn(refusal)
                    continue
            self._code[key] = executable
            if len(self._code) > _MAX_PROGRAMS:
                del self._code[next(iter(self._code))]
            return executable

    def _learn(self, refusal: Refused) -> None:
        """Marks the inputs that a refusal asks for as compile-time inputs.

        Raises:
            Refused: it asks for nothing new, or for all inputs: then nothing would be left to
                compute at run time.
        """
        asked = [name for diagnostic in refusal.diagnostics for name in diagnostic.inputs]
        known = tuple(dict.fromkeys((*self._known, *asked)))
        if known == self._known or len(known) == len(self._inputs):
            raise refusal
        if any(not _waits_for_inputs(diagnostic) for diagnostic in refusal.diagnostics):
            raise refusal
        self._known = known

    def _compiled(self, constants: Mapping[str, Array], dims: Mapping[str, int]) -> Executable:
        target = load_target(HOST)
        options = CompileOptions(target, self._level, dims=dims, constants=constants)
        compilation = compile_model(self._model, options)
        if constants and not _computes(compilation):
            raise refuse(
                Code.UNSUPPORTED_FORM,
                "no output depends on anything but inputs that must be known at compile time",
            )
        return Executable(compilation.program, self._llvm_level)

    @staticmethod
    def _key(constants: Mapping[str, Array], dims: Mapping[str, int]) -> _Key:
        contents = (
            (name, array.dtype.str, array.shape, array.tobytes())
            for name, array in constants.items()
        )
        return (tuple(dims.items()), *contents)


def _waits_for_inputs(diagnostic: Diagnostic) -> bool:
    return bool(diagnostic.inputs) or diagnostic.code is Code.OPEN_DIMENSION


def _computes(compilation: Compilation) -> bool:
    """True if an output of the imported graph depends on one of its inputs."""
    graph: Graph = compilation.imported
    live: set[Value] = set(graph.inputs)
    for op in graph.ops:
        if any(operand in live for operand in op.inputs):
            live.update(op.results)
    return any(output in live for output in graph.outputs)


def _unsupported(refusal: Refused) -> NoReturn:
    raise BackendIsNotSupposedToImplementIt(str(refusal)) from refusal


prepare = LeptonBackend.prepare
run_model = LeptonBackend.run_model
run_node = LeptonBackend.run_node
supports_device = LeptonBackend.supports_device
