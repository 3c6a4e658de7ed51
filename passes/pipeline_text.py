"""Pipelines as text, for `lepton opt -p`: `a,b{limit=16,fast=true},(c,d)*`.

    pipeline = step {"," step}
    step     = name ["{" field "=" value {"," field "=" value} "}"] | "(" pipeline ")*"

Names are those of the registry, fields the pass's own (`-` may stand for `_`), values integers,
numbers, `true`, `false`, enum values or plain words. `(...)*` repeats until nothing changes.
"""

import dataclasses
import enum
import re
from typing import get_type_hints

from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.passes.manager import Pass, Repeat, Step
from lepton_cc.passes.registry import PassRegistry

_TOKEN = re.compile(r"\s*([A-Za-z0-9_.+-]+|[{}(),=*])")
_MAX_DEPTH = 16

OptionValue = bool | int | float | str | enum.Enum


def parse_pipeline(text: str, registry: PassRegistry) -> tuple[Step, ...]:
    """The steps that the text names.

    Raises:
        UsageError: the text is no pipeline, or a pass, a field or a value does not exist.
    """
    reader = _PipelineReader(text, registry)
    steps = reader.pipeline(0)
    reader.expect("")
    return steps


class _PipelineReader:
    def __init__(self, text: str, registry: PassRegistry) -> None:
        self._text = text
        self._registry = registry
        self._tokens = self._split(text)
        self._next = 0

    def _split(self, text: str) -> tuple[str, ...]:
        tokens: list[str] = []
        position = 0
        text = text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise UsageError(f"pipeline {text!r}: unexpected {text[position]!r}")
            tokens.append(found[1])
            position = found.end()
        return tuple(tokens)

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def expect(self, token: str) -> None:
        """Takes the token (empty: the end) or refuses what stands there."""
        found = self._take()
        if found != token:
            wanted, got = (repr(t) if t else "the end" for t in (token, found))
            raise UsageError(f"pipeline {self._text!r}: expected {wanted}, found {got}")

    def pipeline(self, depth: int) -> tuple[Step, ...]:
        """Steps up to the end or the closing parenthesis."""
        steps = [self._step(depth)]
        while self._peek() == ",":
            self._take()
            steps.append(self._step(depth))
        return tuple(steps)

    def _step(self, depth: int) -> Step:
        if self._peek() != "(":
            return self._pass()
        if depth == _MAX_DEPTH:
            raise UsageError(f"pipeline groups are nested deeper than {_MAX_DEPTH}")
        self._take()
        steps = self.pipeline(depth + 1)
        self.expect(")")
        self.expect("*")
        return Repeat(steps)

    def _pass(self) -> Pass:
        pass_class = self._registry[self._take()]
        options: dict[str, OptionValue] = {}
        if self._peek() == "{":
            separator = self._take()
            while separator != "}":
                name = self._take().replace("-", "_")
                self.expect("=")
                options[name] = _option(pass_class, name, self._take())
                separator = self._peek()
                self.expect("}" if separator != "," else ",")
        return pass_class(**options)


def _option(pass_class: type[Pass], name: str, text: str) -> OptionValue:
    fields = [field.name for field in dataclasses.fields(pass_class)]
    if name not in fields:
        known = ", ".join(fields) or "none"
        raise UsageError(f"pass {pass_class.NAME} has no option {name!r}; it has {known}")
    wanted = get_type_hints(pass_class)[name]
    try:
        return _value(wanted, text)
    except (ValueError, KeyError):
        what = getattr(wanted, "__name__", str(wanted))
        raise UsageError(f"pass {pass_class.NAME}: {name}={text} is not of type {what}") from None


def _value(wanted: object, text: str) -> OptionValue:
    if wanted is bool:
        return {"true": True, "false": False}[text]
    if wanted is int:
        return int(text)
    if wanted is float:
        return float(text)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return wanted(text)
    if wanted is str:
        return text
    raise ValueError(text)
