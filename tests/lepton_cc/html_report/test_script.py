"""The page's script, run on a document of stubs where Node is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

EXPECTED = """\
zoom 100+800 100+800 100 260 420 580 740 900
drag 200+800 200+800
move 200+800 200+800
out 0+1000 0+1000
all 0+1000 0+1000
layer marked - mine
nothing - - -
"""


def test_zooms_moves_and_marks(project_root: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node here")
    harness = Path(__file__).with_name("page_harness.js")
    script = project_root / "lepton_cc" / "html_report" / "page.js"
    run = subprocess.run(
        [node, str(harness), str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == EXPECTED
