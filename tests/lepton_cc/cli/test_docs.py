"""The commands and the Python of README.md and docs/cli.md run as they are printed."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.linking import find_toolchain
from tests.lepton_cc.cli.command_line import compile_, tool

PAGES = ("README.md", "docs/cli.md")
COMMANDS = ("run", "inspect", "verify", "eval", "blame", "bench", "compress", "distill", "opt")
COMMAND = re.compile(r"^    (lepton(?:-cc)?) (.+)$", re.MULTILINE)
PYTHON = re.compile(r"(?:^    .*\n|^\n)+", re.MULTILINE)


@pytest.fixture
def workplace(project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models in it and an image, as a reader has one."""
    try:
        find_toolchain()
    except ToolchainError as error:
        pytest.skip(str(error))
    (tmp_path / "models").symlink_to(project_root / "models")
    image = np.load(project_root / "models" / "digits_samples.npz")["x"][:1]
    np.save(tmp_path / "image.npy", image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_commands_run(project_root: Path, workplace: Path, page: str) -> None:
    found = COMMAND.findall((project_root / page).read_text(encoding="utf-8"))
    assert len(found) >= 4
    for name, line in found:
        run = compile_ if name == "lepton-cc" else tool
        result = run(*shlex.split(line))
        assert result.exit_code == 0, f"{name} {line}\n{result.output}"


def test_python_runs(
    project_root: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project_root / "README.md").read_text(encoding="utf-8")
    (block,) = (block for block in PYTHON.findall(text) if "import lepton_cc" in block)
    exec("\n".join(line[4:] for line in block.splitlines()), {})
    digit, sizes = capsys.readouterr().out.splitlines()
    assert digit == "3"
    assert len(sizes.split()) == 3
    assert (workplace / "build" / "digits" / "manifest.json").is_file()


def test_options_are_those_that_exist(project_root: Path) -> None:
    text = "".join((project_root / page).read_text(encoding="utf-8") for page in PAGES)
    help_text = compile_("--help").output + "".join(
        tool(name, "--help").output for name in COMMANDS
    )
    named = set(re.findall(r"(--[a-z][a-z-]+)", text)) - {"--help"}
    assert [option for option in sorted(named) if option not in help_text] == []
