"""How values, types and attributes are written in the text form; `ir.printer` puts them together.

Numbers are written as short as they can be read back bit for bit. Tensors of more than
`MAX_INLINE_ELEMENTS` elements are written as `#digest`, and collected for the side file.
"""

import dataclasses
import enum
import json
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import Dim, Quantization, SymbolicDim, TensorType

MAX_INLINE_ELEMENTS = 8
# A uniform constant up to this size is written as `full`; the bound keeps hostile text harmless.
MAX_FULL_ELEMENTS = 4096

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.]+")

GraphWriter = Callable[[Graph], str]


def name_text(name: str) -> str:
    """A name as it is, or quoted when it holds more than letters, digits, `_` and `.`."""
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def read_element(text: str, dtype: DType) -> Array:
    """The one-element array that an element's text stands for.

    Raises:
        ValueError: it is no element of that type.
    """
    if dtype is DType.BOOL:
        if text not in ("true", "false"):
            raise ValueError(f"{text} is no bool")
        return np.array([text == "true"])
    if dtype.is_integer:
        low, high = integer_bounds(dtype)
        if not low <= int(text) <= high:
            raise ValueError(f"{text} is no {dtype.value}")
        wide = np.array([int(text)], np.uint64 if low == 0 else np.int64)
        return wide.astype(dtype.numpy)
    with np.errstate(all="ignore"):
        return np.array([float(text)], np.float64).astype(dtype.numpy)


def _element_text(array: Array, dtype: DType) -> str | None:
    """Text of a one-element array, None when no text gives its bits (NaNs with a payload)."""
    if dtype is DType.BOOL:
        return "true" if array[0] else "false"
    if dtype.is_integer:
        return str(int(array[0]))
    exact = float(array[0])
    shortest = str(array[0]) if dtype in (DType.F64, DType.F32, DType.F16) else repr(exact)
    for text in (shortest, repr(exact)):
        if read_element(text, dtype).tobytes() == array.tobytes():
            return text
    return None


def _is_uniform(flat: Array) -> bool:
    return np.repeat(flat[:1], flat.size).tobytes() == flat.tobytes()


def number_text(value: float) -> str:
    """A Python number, shortest form that reads back as the same number."""
    return str(value) if isinstance(value, int) else repr(float(value))


def scale_text(scale: float) -> str:
    """A scale: the short form of a binary32 value, or the binary64 value marked by `d`."""
    text = _element_text(np.array([scale], np.float32), DType.F32)
    if text is not None and float(np.float32(scale)) == scale:
        return text
    return f"{scale!r}d"


@dataclasses.dataclass(frozen=True, slots=True)
class TextWriter:
    """Writes attributes; `constants` collects the tensors that go to the side file, by digest."""

    constants: dict[str, Tensor]
    write_graph: GraphWriter

    def type(self, type_: TensorType) -> str:
        """A tensor type: `f32[1, ?N]`, `i8[2] scale 0.5 zero 3`, `scale (1, 2) zero 0 axis 1`."""
        dims = ", ".join(_dim_text(dim) for dim in type_.shape)
        plain = f"{type_.dtype.value}[{dims}]"
        if type_.quantization is None:
            return plain
        return f"{plain} {self.quantization(type_.quantization)}"

    def quantization(self, quantization: Quantization) -> str:
        """Scales and zero points; equal zero points are written once."""
        scales, zeros = quantization.scales, quantization.zero_points
        same = len(scales) == len(zeros) > 0 and len(set(zeros)) == 1
        axis = "" if quantization.axis is None else f" axis {quantization.axis}"
        zero = str(zeros[0]) if same else _listed(map(str, zeros))
        return f"scale {self._scales(scales)} zero {zero}{axis}"

    def _scales(self, scales: Sequence[float]) -> str:
        if len(scales) == 1:
            return scale_text(scales[0])
        if len(scales) <= MAX_INLINE_ELEMENTS:
            return _listed(map(scale_text, scales))
        return self._external(Tensor(np.array(scales, np.float64)))

    def content(self, tensor: Tensor) -> str:
        """A tensor's elements: `(1.0, 2.0)`, `full 0.5`, or `#digest`."""
        array, dtype = tensor.array, tensor.type.dtype
        if array.size <= MAX_INLINE_ELEMENTS:
            flat = array.reshape(-1)
            texts = [_element_text(flat[i : i + 1], dtype) for i in range(flat.size)]
            known = [text for text in texts if text is not None]
            if len(known) == len(texts):
                return _listed(known)
        elif array.size <= MAX_FULL_ELEMENTS:
            flat = array.reshape(-1)
            first = _element_text(flat[:1], dtype)
            if first is not None and _is_uniform(flat):
                return f"full {first}"
        return self._external(tensor)

    def _external(self, tensor: Tensor) -> str:
        self.constants[tensor.digest] = tensor
        return f"#{tensor.digest}"

    def attribute(self, value: object) -> str:
        """Any attribute.

        Raises:
            InternalError: the text form does not know this kind of attribute.
        """
        match value:
            case None:
                return "none"
            case bool():
                return "true" if value else "false"
            case int() | float():
                return number_text(value)
            case str():
                return json.dumps(value)
            case enum.Enum():
                return value.name.lower()
            case tuple():
                return _listed(map(self.attribute, value))
            case _:
                return self._structure(value)

    def _structure(self, value: object) -> str:
        match value:
            case Tensor():
                return f"{self.type(value.type)} {self.content(value)}"
            case Graph():
                return self.write_graph(value)
            case TensorType():
                return self.type(value)
            case Quantization():
                return self.quantization(value)
            case SymbolicDim():
                return _dim_text(value)
            case Window() if _is_regular(value):
                return window_text(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return f"{{{', '.join(self.fields(value))}}}"
        raise InternalError(f"the IR's text form has no notation for {type(value).__name__}")

    def fields(self, record: object, skip: Iterable[str] = ()) -> list[str]:
        """`name = value` for each field of a dataclass that differs from its default."""
        assert dataclasses.is_dataclass(record)
        texts = []
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if field.name not in skip and not _is_default(value, field.default):
                texts.append(f"{field.name} = {self.attribute(value)}")
        return texts


def _is_default(value: object, default: object) -> bool:
    # The text decides, because 0.0 == -0.0 and 1 == True.
    return default is not dataclasses.MISSING and (
        value is default or (value == default and repr(value) == repr(default))
    )


def _listed(texts: Iterable[str]) -> str:
    return f"({', '.join(texts)})"


def _dim_text(dim: Dim) -> str:
    return f"?{name_text(dim.name)}" if isinstance(dim, SymbolicDim) else str(dim)


def _is_regular(window: Window) -> bool:
    fields = (window.strides, window.dilations, window.low, window.high)
    return window.rank > 0 and all(len(values) == window.rank for values in fields)


def window_text(window: Window) -> str:
    """`3x3 stride 2 dilation 2 pad 1`; padding that differs by side is `low:high` a dimension."""
    parts = ["x".join(map(str, window.size))]
    if set(window.strides) != {1}:
        parts.append(f"stride {_per_dimension(window.strides)}")
    if set(window.dilations) != {1}:
        parts.append(f"dilation {_per_dimension(window.dilations)}")
    pads = [
        str(low) if low == high else f"{low}:{high}"
        for low, high in zip(window.low, window.high, strict=True)
    ]
    if set(pads) != {"0"}:
        parts.append(f"pad {_per_dimension(pads)}")
    return " ".join(parts)


def _per_dimension(values: Sequence[int | str]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))
