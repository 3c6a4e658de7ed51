"""The table of supported ONNX operators, made from the registry for `docs/onnx-operators.md`."""

import inspect

from lepton_cc.frontend.importer import OLDEST_OPSET
from lepton_cc.frontend.operators import REGISTRY
from lepton_cc.frontend.registry import Operator

_HEAD = """\
# ONNX operators

The operators that have an importer, made from the code by `make docs`. Opsets are those of the
operator's domain; a model may have any from {oldest} to the newest of the installed onnx package.
An operator that is not listed is expanded by the model's own function or by the body that ONNX
defines for it, if there is one, and refused otherwise.

| operator | opsets | form and limits |
|---|---|---|
"""


def render_op_table() -> str:
    """The page: one row for each operator and range of opsets, sorted by domain and name."""
    operators = REGISTRY.operators()
    newer = [*operators[1:], None]
    rows = [_row(entry, after) for entry, after in zip(operators, newer, strict=True)]
    return _HEAD.format(oldest=OLDEST_OPSET) + "".join(row for row in rows if row)


def _row(entry: Operator, after: Operator | None) -> str:
    """The row of an entry, which serves until the one `after` it if that is the same operator."""
    oldest = 1 if entry.domain else OLDEST_OPSET
    first = max(oldest, entry.since_version)
    opsets = f"{first}+"
    if after is not None and (after.domain, after.op_type) == (entry.domain, entry.op_type):
        if after.since_version <= first:
            return ""
        opsets = f"{first} to {after.since_version - 1}"
    name = f"{entry.domain}.{entry.op_type}" if entry.domain else entry.op_type
    text = " ".join((inspect.getdoc(entry.importer) or "").partition("\n\n")[0].split())
    return f"| {name} | {opsets} | {text.replace('|', chr(92) + '|')} |\n"
