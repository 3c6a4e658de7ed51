"""Reading types and attribute values of the IR's text form, each by the type of its field.

Counterpart of `ir.attribute_text`.
"""

import dataclasses
import enum
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from lepton_cc.ir.attribute_text import MAX_FULL_ELEMENTS, read_element
from lepton_cc.ir.diagnostics import Refused, TypeInferenceError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.scanner import Scanner
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import Dim, Quantization, SymbolicDim, TensorType

T = TypeVar("T")
GraphReader = Callable[[int], Graph]

_SIZES = re.compile(r"[0-9]{1,9}(?:x[0-9]{1,9})*")
_STEPS = re.compile(r"-?[0-9]{1,9}(?::-?[0-9]{1,9})?(?:x-?[0-9]{1,9}(?::-?[0-9]{1,9})?)*")
_ELEMENT = re.compile(r"true|false|-?(?:inf|nan|[0-9][0-9.]*(?:e[-+]?[0-9]{1,8})?)")
_DTYPES = {dtype.value: dtype for dtype in DType}


class AttributeParser:
    """Reads values at the scanner's position; `depth` bounds the nesting of graphs and records."""

    MAX_DEPTH: ClassVar[int] = 8

    def __init__(
        self, scanner: Scanner, constants: Mapping[str, Array], read_graph: GraphReader
    ) -> None:
        self._scanner = scanner
        self._constants = constants
        self._read_graph = read_graph

    def dtype(self) -> DType:
        """An element type."""
        at = self._scanner.here()
        word = self._scanner.word("an element type")
        if word not in _DTYPES:
            raise self._scanner.fail(f"there is no element type {word!r}", at)
        return _DTYPES[word]

    def type(self) -> TensorType:
        """A tensor type with its quantization."""
        dtype = self.dtype()
        self._scanner.expect_symbol("[")
        shape: list[Dim] = []
        while not self._scanner.take_symbol("]"):
            if shape:
                self._scanner.expect_symbol(",")
            shape.append(self._dim())
        quantization = self._quantization() if self._scanner.take_word("scale") else None
        return TensorType(dtype, tuple(shape), quantization)

    def _dim(self) -> Dim:
        if self._scanner.take_symbol("?"):
            return SymbolicDim(self._scanner.name("a dimension's name"))
        return self._scanner.integer()

    def _quantization(self) -> Quantization:
        scales = self._scales()
        self._scanner.expect_keyword("zero")
        if self._scanner.take_symbol("("):
            zeros = self._list(self._scanner.integer)
        else:
            zeros = (self._scanner.integer(),) * len(scales)
        axis = self._scanner.integer() if self._scanner.take_word("axis") else None
        return Quantization(scales, zeros, axis)

    def _scales(self) -> tuple[float, ...]:
        at = self._scanner.here()
        digest = self._scanner.digest()
        if digest is None:
            if self._scanner.take_symbol("("):
                return self._list(self._scale)
            return (self._scale(),)
        raw = self._constants.get(digest)
        if raw is None or raw.dtype != np.float64:
            raise self._scanner.fail(f"the side file has no scales #{digest}", at)
        return tuple(float(scale) for scale in raw.reshape(-1))

    def _scale(self) -> float:
        scale = float(self._scanner.number())
        with np.errstate(over="ignore"):
            return scale if self._scanner.take_symbol("d") else float(np.float32(scale))

    def _list(self, item: Callable[[], T]) -> tuple[T, ...]:
        items: list[T] = []
        while not self._scanner.take_symbol(")"):
            if items:
                self._scanner.expect_symbol(",")
            items.append(item())
        return tuple(items)

    def content(self, type_: TensorType) -> Tensor:
        """Elements of a tensor of that type: `(1, 2)`, `full 0`, `#digest`."""
        at = self._scanner.here()
        if not type_.is_static or min(type_.dims, default=0) < 0:
            raise self._scanner.fail("a constant has no open dimension", at)
        digest = self._scanner.digest()
        if digest is not None:
            return self._external(digest, type_, at)
        size = math.prod(type_.dims)
        try:
            if self._scanner.take_word("full"):
                if size > MAX_FULL_ELEMENTS:
                    raise self._scanner.fail(f"full constants end at {MAX_FULL_ELEMENTS}", at)
                flat = np.repeat(self._element(type_.dtype), size)
            else:
                self._scanner.expect_symbol("(")
                flat = self._elements(type_.dtype)
            return Tensor(flat.reshape(type_.dims))
        except ValueError as error:
            raise self._scanner.fail(f"not the elements of {type_}: {error}", at) from None

    def _element(self, dtype: DType) -> Array:
        return read_element(self._scanner.expect(_ELEMENT, "an element")[0], dtype)

    def _elements(self, dtype: DType) -> Array:
        parts = self._list(lambda: self._element(dtype))
        return np.concatenate(parts) if parts else np.zeros(0, dtype.numpy)

    def _external(self, digest: str, type_: TensorType, at: int) -> Tensor:
        raw = self._constants.get(digest)
        if raw is None:
            raise self._scanner.fail(f"the side file has no constant #{digest}", at)
        if raw.shape != type_.shape or raw.dtype.itemsize != type_.dtype.numpy.itemsize:
            raise self._scanner.fail(f"constant #{digest} is no {type_}", at)
        tensor = Tensor(raw.view(type_.dtype.numpy))
        if tensor.digest != digest:
            raise self._scanner.fail(f"constant #{digest} was changed or is no {type_}", at)
        return tensor

    def record(self, definition: Callable[..., T], fields: Mapping[str, object], depth: int) -> T:
        """`name = value, ...}` after the brace; `fields` maps each to its type, or to its value.

        The definition is a dataclass; fields that are left out take their defaults.
        """
        at = self._scanner.here()
        values: dict[str, object] = {}
        while not self._scanner.take_symbol("}"):
            if values:
                self._scanner.expect_symbol(",")
            name_at = self._scanner.here()
            name = self._scanner.word("an attribute's name")
            if name not in fields or name in values:
                raise self._scanner.fail(f"unknown or repeated attribute {name!r}", name_at)
            self._scanner.expect_symbol("=")
            values[name] = self.value(fields[name], depth)
        return self.made(definition, values, at)

    def made(self, definition: Callable[..., T], values: Mapping[str, object], at: int) -> T:
        """The record of these fields, or a refusal that says what it lacks."""
        try:
            return definition(**values)
        except (TypeError, ValueError, TypeInferenceError) as error:
            raise self._scanner.fail(f"not all attributes are there or fit: {error}", at) from None

    def value(self, hint: object, depth: int = 0) -> object:
        """A value of the annotated type."""
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self._alternative(get_args(hint), depth)
        if origin is tuple:
            return self._tuple(get_args(hint), depth)
        scalar = self._scalar(hint)
        if scalar is not None:
            return scalar
        return self._structure(hint, depth)

    def _scalar(self, hint: object) -> object | None:
        if hint is bool:
            return self._choice({"true": True, "false": False})
        if hint is int:
            return self._scanner.integer()
        if hint is float:
            text = self._scanner.number()
            # The one NaN object: a graph with a NaN attribute must equal itself.
            return math.nan if text == "nan" else float(text)
        if hint is str:
            return self._scanner.string()
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._choice({member.name.lower(): member for member in hint})
        return None

    def _choice(self, choices: Mapping[str, T]) -> T:
        at = self._scanner.here()
        word = self._scanner.word("one of " + ", ".join(choices))
        if word not in choices:
            raise self._scanner.fail(f"{word!r} is none of {', '.join(choices)}", at)
        return choices[word]

    def _alternative(self, hints: Sequence[object], depth: int) -> object:
        if types.NoneType in hints and self._scanner.take_word("none"):
            return None
        start = self._scanner.position
        failure: Refused | None = None
        for hint in hints:
            if hint is not types.NoneType:
                try:
                    return self.value(hint, depth)
                except Refused as error:
                    failure = failure or error
                    self._scanner.position = start
        raise failure or self._scanner.unexpected("'none'")

    def _tuple(self, hints: tuple[object, ...], depth: int) -> tuple[object, ...]:
        self._scanner.expect_symbol("(")
        at = self._scanner.here()
        if len(hints) == 2 and hints[1] is Ellipsis:
            return self._list(lambda: self.value(hints[0], depth))
        remaining = iter(hints)
        try:
            values = self._list(lambda: self.value(next(remaining), depth))
        except StopIteration:
            raise self._scanner.fail(f"more than {len(hints)} values", at) from None
        if len(values) != len(hints):
            raise self._scanner.fail(f"{len(values)} values instead of {len(hints)}", at)
        return values

    def _structure(self, hint: object, depth: int) -> object:
        if depth >= self.MAX_DEPTH:
            raise self._scanner.fail(f"nested deeper than {self.MAX_DEPTH}")
        if hint is Tensor:
            return self.content(self.type())
        if hint is Graph:
            return self._read_graph(depth + 1)
        if hint is TensorType:
            return self.type()
        if hint is Quantization:
            self._scanner.expect_keyword("scale")
            return self._quantization()
        if hint is SymbolicDim:
            self._scanner.expect_symbol("?")
            return SymbolicDim(self._scanner.name("a dimension's name"))
        if hint is Window and not self._scanner.take_symbol("{"):
            return self._window()
        if hint is not Window:
            self._scanner.expect_symbol("{")
        if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
            raise self._scanner.fail(f"the text form has no notation for {hint}")
        return self.record(hint, field_types(hint), depth + 1)

    def _window(self) -> Window:
        at = self._scanner.here()
        sizes = self._scanner.expect(_SIZES, "a window such as 3x3")[0]
        size = tuple(int(part) for part in sizes.split("x"))
        ones = ((1, 1),) * len(size)
        strides, dilations, pads = ones, ones, ((0, 0),) * len(size)
        if self._scanner.take_word("stride"):
            strides = self._per_dimension(len(size), at)
        if self._scanner.take_word("dilation"):
            dilations = self._per_dimension(len(size), at)
        if self._scanner.take_word("pad"):
            pads = self._per_dimension(len(size), at)
        low, high = (tuple(pad[side] for pad in pads) for side in (0, 1))
        return Window(size, tuple(s for s, _ in strides), tuple(d for d, _ in dilations), low, high)

    def _per_dimension(self, rank: int, at: int) -> tuple[tuple[int, int], ...]:
        text = self._scanner.expect(_STEPS, "a number for each dimension")[0]
        pairs = [part.split(":") for part in text.split("x")]
        values = tuple((int(pair[0]), int(pair[-1])) for pair in pairs)
        if len(values) == 1:
            return values * rank
        if len(values) != rank:
            raise self._scanner.fail(f"a window of rank {rank} has {len(values)} numbers", at)
        return values


def field_types(definition: type) -> Mapping[str, object]:
    """The annotated types of a dataclass's fields, by name."""
    if definition not in _FIELD_TYPES:
        hints = get_type_hints(definition)
        fields = dataclasses.fields(definition)
        _FIELD_TYPES[definition] = {field.name: hints[field.name] for field in fields}
    return _FIELD_TYPES[definition]


# Resolving annotations is slow, and the set of definitions is fixed.
_FIELD_TYPES: dict[type, Mapping[str, object]] = {}
