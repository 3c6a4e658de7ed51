"""The documentation agrees with the code, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from docs.build import NPU_PAGE, OPS_PAGE, PASSES_PAGE, ops_page, passes_page
from lepton_cc.codegen.npu.isa.tables import TABLES, fill_marks

FOLDERS = ("", "docs", "docs/decisions", "models", "benchmarks", "examples")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def test_ops_page_is_made_from_the_code() -> None:
    assert OPS_PAGE.read_text(encoding="utf-8") == ops_page(), "run `make docs`"


def test_passes_page_is_made_from_the_code() -> None:
    assert PASSES_PAGE.read_text(encoding="utf-8") == passes_page(), "run `make docs`"


def test_tables_of_the_npu_page_are_made_from_the_code() -> None:
    page = NPU_PAGE.read_text(encoding="utf-8")
    assert page == fill_marks(page), "run `make docs`"
    assert [name for name in TABLES if f"<!-- generated: {name} -->" not in page] == []


def test_relative_links_resolve(project_root: Path) -> None:
    pages = [page for folder in FOLDERS for page in (project_root / folder).glob("*.md")]
    assert project_root / "README.md" in pages
    broken = [
        f"{page.relative_to(project_root)}: {target}"
        for page in pages
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


@pytest.mark.parametrize("target", ["demo", "test", "lint", "type", "fmt", "bench", "docs"])
def test_make_documents_its_targets(project_root: Path, target: str) -> None:
    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*## \w", makefile, flags=re.MULTILINE)


def test_make_runs_only_what_exists(project_root: Path) -> None:
    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    modules = re.findall(r"python -m ((?:docs|benchmarks)\.\w+)", makefile)
    scripts = re.findall(r"python ([\w/]+\.py)", makefile)
    assert modules
    assert scripts
    wanted = [module.replace(".", "/") + ".py" for module in modules] + scripts
    assert [path for path in wanted if not (project_root / path).is_file()] == []
