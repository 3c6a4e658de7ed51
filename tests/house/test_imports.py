"""Who may import what: the allow-lists that import-linter's contracts cannot express."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Room to the parts of lepton_cc that it may import; the driver, above them all, may import any.
ROOMS_BELOW = {
    "runtime_c": ("runtime_c",),
    "ir": ("ir",),
    "passes": ("ir", "passes"),
    "codegen": ("ir", "passes", "codegen", "runtime_c"),
}

# Library to the modules that may import it, themselves and all below them.
LIBRARY_HOMES = {
    "llvmlite": ("lepton_cc.codegen.llvm",),
    "onnx": (
        "lepton_cc.export",
        "lepton_cc.frontend",
        "lepton_cc.backend",
        "lepton_cc.train.torch_import",
        "lepton_cc.verify",
    ),
    "onnxruntime": ("lepton_cc.measure", "lepton_cc.verify"),
    "ortools": ("lepton_cc.passes.memory",),
    "torch": ("lepton_cc.train",),
}

IR_LIBRARIES = {"ml_dtypes", "numpy"}


def modules(root: Path) -> dict[str, Path]:
    """Dotted name to file of every module that is installed."""
    tops = {f"lepton_cc.{room}": root / room for room in ROOMS_BELOW} | {
        "lepton_cc": root / "lepton_cc"
    }
    found: dict[str, Path] = {}
    for package, top in tops.items():
        for source in sorted(top.rglob("*.py")):
            inside = source.relative_to(top).with_suffix("").parts
            if package == "lepton_cc" and (top / inside[0]).is_symlink():
                continue
            found[".".join((package, *inside)).removesuffix(".__init__")] = source
    return found


def imports(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Dotted names that a module's text imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join((*parts[:keep], *filter(None, [base])))
            # `from lepton_cc import codegen` imports lepton_cc.codegen.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(module: str, imported: str) -> Iterator[str]:
    """Reasons why `module` may not import `imported`."""
    top, *rest = imported.split(".")
    room = module.split(".")[1] if module.count(".") else ""
    if top in ROOMS_BELOW:
        yield f"{module} imports {top} by its folder's name; it is lepton_cc.{top}"
    if top == "lepton_cc" and room in ROOMS_BELOW and (rest or [""])[0] not in ROOMS_BELOW[room]:
        yield f"{module} imports {imported}: {room} may see only {ROOMS_BELOW[room]}"
    homes = LIBRARY_HOMES.get(top)
    if homes and not any(module == home or module.startswith(home + ".") for home in homes):
        yield f"{module} imports {top}, which belongs to {homes}"
    if room == "ir" and top not in IR_LIBRARIES | sys.stdlib_module_names | {"lepton_cc"}:
        yield f"{module} imports {top}: ir stands on {sorted(IR_LIBRARIES)} and the stdlib"


def test_every_import_is_allowed(project_root: Path) -> None:
    found = [
        reason
        for module, path in modules(project_root).items()
        for imported in imports(
            path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py"
        )
        for reason in violations(module, imported)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("lepton_cc.ir.types", "from lepton_cc.passes import manager"),
        ("lepton_cc.ir.types", "from ..codegen import kernel"),
        ("lepton_cc.ir.types", "from lepton_cc import codegen"),
        ("lepton_cc.ir.types", "def f():\n    import scipy.signal"),
        ("lepton_cc.ir.types", "import onnx"),
        ("lepton_cc.ir.types", "import lepton_cc"),
        ("lepton_cc.passes.fuse", "import lepton_cc.codegen.llvm"),
        ("lepton_cc.passes.fuse", "from onnx import helper"),
        ("lepton_cc.codegen.lower.conv", "from lepton_cc.frontend import load"),
        ("lepton_cc.codegen.lower.conv", "import llvmlite.ir"),
        ("lepton_cc.cli.main", "from llvmlite import binding"),
        ("lepton_cc.cli.main", "from ir import types"),
    ],
)
def test_a_wrong_import_is_seen(module: str, statement: str) -> None:
    found = [
        reason
        for imported in imports(statement, module, is_package=False)
        for reason in violations(module, imported)
    ]
    assert found


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("lepton_cc.ir.types", "import numpy as np\nimport ml_dtypes\nimport enum"),
        ("lepton_cc.ir.ops.conv", "from ..types import TensorType"),
        ("lepton_cc.codegen.llvm.emit", "from llvmlite import ir"),
        ("lepton_cc.frontend.conv", "import onnx\nfrom lepton_cc.ir.ops import conv"),
        ("lepton_cc.cli.main", "import click\nfrom lepton_cc.codegen import program"),
    ],
)
def test_a_right_import_passes(module: str, statement: str) -> None:
    found = [
        reason
        for imported in imports(statement, module, is_package=False)
        for reason in violations(module, imported)
    ]
    assert not found
