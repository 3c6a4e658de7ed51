"""Graph inputs: their types, open dimensions bound by name, and inputs given as constants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from lepton_cc.frontend.limits import MAX_RANK, MAX_TENSOR_BYTES
from lepton_cc.frontend.refusal import NodeRefusal
from lepton_cc.frontend.tensors import element_type
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import Dim, SymbolicDim, TensorType


@dataclass(slots=True)
class DimBindings:
    """Sizes by name of open dimensions; remembers which names the model has."""

    sizes: Mapping[str, int]
    known: dict[str, None] = field(default_factory=dict)

    def resolve(self, input_name: str, index: int, param: str) -> Dim:
        """The size of an open dimension, by its own name or as INPUT.INDEX; itself if unbound."""
        positional = f"{input_name}.{index}"
        name = param or positional
        self.known[name] = None
        for candidate in (name, positional):
            if candidate in self.sizes:
                self.known[candidate] = None
                return self._checked(candidate)
        return SymbolicDim(name)

    def _checked(self, name: str) -> int:
        size = self.sizes[name]
        if not 1 <= size <= MAX_TENSOR_BYTES:
            raise NodeRefusal(
                f"dimension {name!r} cannot be {size}", "give a positive size", Code.OPEN_DIMENSION
            )
        return size

    def unknown(self) -> tuple[str, ...]:
        """Names that were given a size although the model does not have them."""
        return tuple(name for name in self.sizes if name not in self.known)


def declared_type(info: onnx.ValueInfoProto, bindings: DimBindings) -> TensorType:
    """The type of a graph input, with its open dimensions bound as far as sizes are given.

    Raises:
        NodeRefusal: it is no tensor of numbers, has no shape, or is too big.
    """
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        what = (kind or "nothing").removesuffix("_type").replace("_", " ")
        raise NodeRefusal(f"is declared as {what}, not as a tensor", code=Code.UNSUPPORTED_TYPE)
    tensor = info.type.tensor_type
    dtype = element_type(tensor.elem_type)
    if not tensor.HasField("shape"):
        raise NodeRefusal(
            "is declared without a shape",
            "export the model with the shapes of its inputs",
            Code.OPEN_DIMENSION,
        )
    if len(tensor.shape.dim) > MAX_RANK:
        raise NodeRefusal(f"has {len(tensor.shape.dim)} dimensions", code=Code.LIMIT_EXCEEDED)
    shape = tuple(
        _declared_dim(info.name, index, dim, bindings) for index, dim in enumerate(tensor.shape.dim)
    )
    type_ = TensorType(dtype, shape)
    if type_.is_static and max((type_.size_bytes, *type_.dims)) > MAX_TENSOR_BYTES:
        raise NodeRefusal(f"{type_} is bigger than any device", code=Code.LIMIT_EXCEEDED)
    return type_


def _declared_dim(
    name: str, index: int, dim: onnx.TensorShapeProto.Dimension, bindings: DimBindings
) -> Dim:
    if dim.WhichOneof("value") == "dim_value" and dim.dim_value != -1:
        if dim.dim_value < 0:
            raise NodeRefusal(f"has dimension {dim.dim_value}", code=Code.MODEL_MALFORMED)
        return dim.dim_value
    return bindings.resolve(name, index, dim.dim_param)


def open_dimensions(name: str, type_: TensorType) -> Sequence[NodeRefusal]:
    """One refusal for each dimension of an input that is still open."""
    return [
        NodeRefusal(
            f"dimension {index} of input {name!r} ({type_}) is open",
            f"give it a size with --dim {dim.name}=VALUE",
            Code.OPEN_DIMENSION,
        )
        for index, dim in enumerate(type_.shape)
        if isinstance(dim, SymbolicDim)
    ]


def checked_constant(array: Array, type_: TensorType) -> Array:
    """An array that stands for an input, if it has the input's type.

    Raises:
        NodeRefusal: dtype or shape differ.
    """
    array = np.asarray(array)
    fits = array.ndim == type_.rank and all(
        isinstance(dim, SymbolicDim) or dim == size
        for dim, size in zip(type_.shape, array.shape, strict=True)
    )
    if array.dtype != type_.dtype.numpy or not fits:
        given = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        raise NodeRefusal(f"is given as {given}, the model takes {type_}", code=Code.BAD_INPUT_DATA)
    return array
