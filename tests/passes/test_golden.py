"""Golden texts of passes: `tests/golden/passes/*.lir`, each a pipeline, a graph, and what it gives.

// passes: propagate-layout
graph before(...) { ... }
// gives:
graph before(...) { ... }
"""

from pathlib import Path

import pytest

from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.printer import print_graph
from lepton_cc.passes.catalogue import PASSES
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.pipeline_text import parse_pipeline

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "passes"
HEADER = "// passes: "
SEPARATOR = "\n// gives:\n"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.lir")))
def test_golden(name: str, update_golden: bool) -> None:
    path = FOLDER / f"{name}.lir"
    text = path.read_text(encoding="utf-8")
    before, _, expected = text.partition(SEPARATOR)
    pipeline = before.partition("\n")[0].removeprefix(HEADER)
    graph = parse_graph(before, source=path.name)
    got = print_graph(PassManager(parse_pipeline(pipeline, PASSES)).run(graph))
    if update_golden:
        path.write_text(f"{before.rstrip()}\n{SEPARATOR}{got}", encoding="utf-8")
    else:
        assert got == expected
