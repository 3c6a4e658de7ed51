"""The registry of operators, and the page that is made from it."""

from collections.abc import Sequence
from pathlib import Path

import onnx.defs
import pytest

from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.op_table import render_op_table
from lepton_cc.frontend.operators import REGISTRY
from lepton_cc.frontend.registry import Operator, OperatorRegistry
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.graph import Value


def _import_nothing(node: NodeView) -> Sequence[Value | None]:
    return ()


def test_the_page_is_made_from_the_code(project_root: Path) -> None:
    page = (project_root / "docs" / "onnx-operators.md").read_text(encoding="utf-8")
    assert page == render_op_table(), "run `make docs`"


def test_lookup_takes_the_newest_entry_that_is_not_too_new() -> None:
    entries = [Operator("", "Op", version, _import_nothing) for version in (1, 11, 13)]
    registry = OperatorRegistry(entries)
    assert registry.lookup("", "Op", 12) is entries[1]
    assert registry.lookup("", "Op", 13) is entries[2]
    assert registry.lookup("", "Op", 0) is None
    assert registry.lookup("other", "Op", 13) is None


def test_a_duplicate_is_refused() -> None:
    with pytest.raises(InternalError, match="registered twice"):
        OperatorRegistry([Operator("", "Op", 1, _import_nothing)] * 2)


# ONNX Runtime writes these two into ai.onnx, where ONNX has them later or never.
ONNX_RUNTIMES_OWN = {"LayerNormalization", "SimplifiedLayerNormalization"}


def test_every_operator_of_onnx_is_registered_under_its_name_and_version() -> None:
    names = {entry.op_type for entry in REGISTRY.operators() if entry.domain == ""}
    for entry in REGISTRY.operators():
        if entry.domain == "" and entry.op_type not in ONNX_RUNTIMES_OWN:
            assert onnx.defs.has(entry.op_type, max(entry.since_version, 7)), entry
    assert len(names) > 150
