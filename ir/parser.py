"""Text to graph: reads what `ir.printer` writes, `parse(print(g)) == g`.

    graph    = "graph" name "(" {%name ":" type} ")" "{" {op} "return" {%name "as" name} "}"
    op       = {%name} "=" mnemonic "(" {%name | "_"} ")" [fields] [":" types] loc
             | %name "=" "constant" type content loc
    fields   = "{" {name "=" value} "}"
    loc      = ["loc" "(" {string} ")"]

Lists are separated by commas; `//` begins a comment. Types that are left out are inferred.
Whatever the text is, the parser gives a graph or refuses; the verifier judges the graph.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from lepton_cc.ir.attribute_parser import AttributeParser, field_types
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops import REGISTRY
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.scanner import Scanner
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.ir.verifier import INFERENCE_ERRORS

Environment = dict[str, Value]


def parse_graph(
    text: str, constants: Mapping[str, Array] | None = None, source: str = "IR text"
) -> Graph:
    """The graph that the text describes; `constants` holds the big ones by digest.

    Raises:
        Refused: the text is no graph; the diagnostic gives line and column in `source`.
    """
    scanner = Scanner(text, source)
    graph = _GraphParser(scanner, constants or {}).graph(0)
    if not scanner.at_end():
        raise scanner.unexpected("the end of the text")
    return graph


class _GraphParser:
    def __init__(self, scanner: Scanner, constants: Mapping[str, Array]) -> None:
        self._scanner = scanner
        self._attributes = AttributeParser(scanner, constants, self.graph)

    def graph(self, depth: int) -> Graph:
        scanner, values = self._scanner, Environment()
        scanner.expect_keyword("graph")
        name = scanner.name("the graph's name")
        scanner.expect_symbol("(")
        inputs: list[Value] = []
        while not scanner.take_symbol(")"):
            if inputs:
                scanner.expect_symbol(",")
            at = scanner.here()
            input_name = self._value_name()
            scanner.expect_symbol(":")
            inputs += self._define([input_name], [self._attributes.type()], values, at)
        scanner.expect_symbol("{")
        ops: list[Op] = []
        while not scanner.take_word("return"):
            ops.append(self._op(values, depth))
        outputs, output_names = self._outputs(values)
        scanner.expect_symbol("}")
        return Graph(name, tuple(inputs), outputs, output_names, tuple(ops))

    def _outputs(self, values: Environment) -> tuple[tuple[Value, ...], tuple[str, ...]]:
        outputs: list[Value] = []
        names: list[str] = []
        more = self._stands_here("%")
        while more:
            outputs.append(self._use(values))
            self._scanner.expect_keyword("as")
            names.append(self._scanner.name("the output's name"))
            more = self._scanner.take_symbol(",")
        return tuple(outputs), tuple(names)

    def _stands_here(self, symbol: str) -> bool:
        before = self._scanner.position
        found = self._scanner.take_symbol(symbol)
        self._scanner.position = before
        return found

    def _value_name(self) -> str:
        self._scanner.expect_symbol("%")
        return self._scanner.name("a value's name")

    def _use(self, values: Environment) -> Value:
        at = self._scanner.here()
        name = self._value_name()
        if name not in values:
            raise self._scanner.fail(f"%{name} is not defined before its use", at)
        return values[name]

    def _define(
        self, names: Sequence[str], types: Sequence[TensorType], values: Environment, at: int
    ) -> tuple[Value, ...]:
        if len(names) != len(types):
            raise self._scanner.fail(f"{len(names)} results have {len(types)} types", at)
        defined = tuple(Value(name, type_) for name, type_ in zip(names, types, strict=True))
        for value in defined:
            if value.name in values:
                raise self._scanner.fail(f"%{value.name} is defined twice", at)
            values[value.name] = value
        return defined

    def _op(self, values: Environment, depth: int) -> Op:
        scanner = self._scanner
        at = scanner.here()
        if not self._stands_here("%"):
            raise scanner.unexpected("an op or 'return'")
        names = [self._value_name()]
        while scanner.take_symbol(","):
            names.append(self._value_name())
        scanner.expect_symbol("=")
        mnemonic_at = scanner.here()
        mnemonic = scanner.word("an op's mnemonic")
        if mnemonic not in REGISTRY:
            raise scanner.fail(f"there is no op {mnemonic!r}", mnemonic_at)
        operands: tuple[Value | None, ...] = ()
        kind: OpKind
        types: Sequence[TensorType]
        if mnemonic != Constant.MNEMONIC or self._stands_here("("):
            operands = self._operands(values)
            kind = self._kind(mnemonic, depth)
            types = self._types(kind, operands, at)
        else:
            type_ = self._attributes.type()
            kind = Constant(self._attributes.content(type_), type_.quantization)
            types = (type_,)
        results = self._define(names, types, values, at)
        return Op(kind, operands, results, self._location())

    def _operands(self, values: Environment) -> tuple[Value | None, ...]:
        self._scanner.expect_symbol("(")
        operands: list[Value | None] = []
        while not self._scanner.take_symbol(")"):
            if operands:
                self._scanner.expect_symbol(",")
            operands.append(None if self._scanner.take_symbol("_") else self._use(values))
        return tuple(operands)

    def _kind(self, mnemonic: str, depth: int) -> OpKind:
        registration = REGISTRY[mnemonic]
        at = self._scanner.here()
        fixed = dict(registration.fixed)
        types = {
            name: hint
            for name, hint in field_types(registration.definition).items()
            if name not in fixed
        }
        make = partial(registration.definition, **fixed)
        if self._scanner.take_symbol("{"):
            return self._attributes.record(make, types, depth)
        return self._attributes.made(make, {}, at)

    def _types(
        self, kind: OpKind, operands: Sequence[Value | None], at: int
    ) -> Sequence[TensorType]:
        if not self._scanner.take_symbol(":"):
            try:
                return kind.infer([None if v is None else v.type for v in operands])
            except INFERENCE_ERRORS as error:
                raise self._scanner.fail(f"{kind.mnemonic}: {error}", at) from None
        types = [self._attributes.type()]
        while self._scanner.take_symbol(","):
            types.append(self._attributes.type())
        return types

    def _location(self) -> Location:
        if not self._scanner.take_word("loc"):
            return Location()
        self._scanner.expect_symbol("(")
        nodes = [self._scanner.string("the name of an ONNX node")]
        while self._scanner.take_symbol(","):
            nodes.append(self._scanner.string("the name of an ONNX node"))
        self._scanner.expect_symbol(")")
        return Location(tuple(nodes))
