"""Writes what is made from the code: `ops.md`, `onnx-operators.md`, `passes.md`, `npu_isa.h`.

`make docs` runs it; tests compare the pages with the code.
"""

import inspect
import sys
from dataclasses import MISSING, fields
from pathlib import Path

from lepton_cc.codegen.npu.isa.header import header_text
from lepton_cc.codegen.npu.isa.tables import fill_marks
from lepton_cc.frontend.op_table import render_op_table
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops import REGISTRY
from lepton_cc.passes.catalogue import PASSES
from lepton_cc.passes.manager import Pass

OPS_PAGE = Path(__file__).resolve().parent / "ops.md"
ONNX_OPERATORS_PAGE = OPS_PAGE.with_name("onnx-operators.md")
PASSES_PAGE = OPS_PAGE.with_name("passes.md")
NPU_PAGE = OPS_PAGE.with_name("lepton-npu.md")
NPU_HEADER = OPS_PAGE.parents[1] / "runtime_c" / "include" / "lepton" / "npu_isa.h"

_HEAD = """\
# Ops

The ops of the graph, made from their definitions by `make docs`.
An operand that ends in `?` may be absent, one in `*` repeats.
"""


_PASSES_HEAD = """\
# Passes

The passes that `lepton opt -p` takes, made from their definitions by `make docs`.
"""


def families() -> dict[str, dict[type[OpKind], list[str]]]:
    """Module of each op family, in order of name, to its definitions and their mnemonics."""
    found: dict[str, dict[type[OpKind], list[str]]] = {}
    for mnemonic in REGISTRY.mnemonics():
        definition = REGISTRY[mnemonic].definition
        of_family = found.setdefault(definition.__module__, {})
        of_family.setdefault(definition, []).append(mnemonic)
    return dict(sorted(found.items()))


def ops_page() -> str:
    """The text of `docs/ops.md`."""
    parts = [_HEAD]
    for module, definitions in families().items():
        parts.append(f"## {_first_line(inspect.getdoc(sys.modules[module]))}\n")
        by_name = sorted(definitions.items(), key=lambda item: item[0].__name__)
        parts += [_op_section(definition, mnemonics) for definition, mnemonics in by_name]
    return "\n".join(parts)


def _op_section(definition: type[OpKind], mnemonics: list[str]) -> str:
    rows = [
        ("text form", ", ".join(f"`{mnemonic}`" for mnemonic in mnemonics)),
        ("operands", ", ".join(f"`{operand}`" for operand in definition.OPERANDS)),
        ("attributes", ", ".join(f"`{field.name}`" for field in fields(definition))),
        ("traits", ", ".join(trait.name.lower() for trait in Trait if trait in definition.TRAITS)),
    ]
    listed = "".join(f"- {heading}: {text}\n" for heading, text in rows if text)
    return f"### {definition.__name__}\n\n{listed}\n```text\n{inspect.getdoc(definition)}\n```\n"


def passes_page() -> str:
    """The text of `docs/passes.md`."""
    return "\n".join([_PASSES_HEAD, *(_pass_section(PASSES[name]) for name in PASSES.names())])


def _pass_section(pass_class: type[Pass]) -> str:
    # Options without a plain default are tables, which only the compiler gives.
    defaults = [
        (field.name, str(field.default).lower())
        for field in fields(pass_class)
        if field.default is not MISSING
    ]
    options = "".join(f"- `{name}={default}`\n" for name, default in defaults)
    manual = inspect.getdoc(pass_class)
    listed = f"{options}\n" if options else ""
    return f"## {pass_class.NAME}\n\n{listed}```text\n{manual}\n```\n"


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0].rstrip(".")


def main() -> None:
    """Write the pages and the header."""
    OPS_PAGE.write_text(ops_page(), encoding="utf-8")
    PASSES_PAGE.write_text(passes_page(), encoding="utf-8")
    ONNX_OPERATORS_PAGE.write_text(render_op_table(), encoding="utf-8")
    NPU_PAGE.write_text(fill_marks(NPU_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    NPU_HEADER.write_text(header_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
