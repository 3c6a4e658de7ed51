"""Images for the control core: what does not fit is refused with advice, as is no tool chain."""

from pathlib import Path

import pytest

import lepton_cc
from lepton_cc.artifacts import firmware
from lepton_cc.ir.diagnostics import Refused, ToolchainError
from lepton_cc.linking import Toolchain


def small_target(project_root: Path, folder: Path, flash: int, sram: int) -> str:
    """A copy of rv32imc with other memories."""
    text = (project_root / "codegen" / "targets" / "rv32imc.toml").read_text(encoding="utf-8")
    head = text.partition("[regions]")[0]
    path = folder / "small.toml"
    path.write_text(f"{head}[regions]\nflash = {flash}\nsram = {sram}\n", encoding="utf-8")
    return str(path)


def refusal(project_root: Path, folder: Path, flash: int, sram: int) -> str:
    model = project_root / "models" / "digits_cnn.onnx"
    target = small_target(project_root, folder, flash, sram)
    with pytest.raises(Refused) as caught:
        lepton_cc.compile(model, target=target).save(folder / "out", emit=["lib"])
    assert not (folder / "out").exists()
    return str(caught.value)


def test_too_little_ram(project_root: Path, tmp_path: Path) -> None:
    text = refusal(project_root, tmp_path, 1 << 20, 5000)
    assert text.startswith("error[LPT4001]: the model needs ")
    assert "small has 5000" in text
    assert "max_pool (maxpool_1)" in text
    assert "buf.relu_1.out 4096" in text
    assert "; save " in text


def test_no_change_of_the_plan_would_help(project_root: Path, tmp_path: Path) -> None:
    text = refusal(project_root, tmp_path, 1 << 20, 300)
    assert "; choose a target with" in text


def test_flash_and_ram_are_refused_together(project_root: Path, tmp_path: Path) -> None:
    text = refusal(project_root, tmp_path, 20000, 5000)
    assert text.count("error[LPT4001]") == 2
    assert "bytes of flash" in text


def test_a_missing_tool_chain_says_what_to_install(
    project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*, march: str, mabi: str) -> Toolchain:
        raise ToolchainError(f"no C tool chain for {march} was found")

    monkeypatch.setattr(firmware, "find_toolchain", none)
    model = lepton_cc.compile(project_root / "models" / "digits_cnn.onnx", target="lepton-npu")
    with pytest.raises(ToolchainError, match=r"LPT3001.*pip install 'lepton-cc\[link\]'"):
        model.artifacts.firmware  # noqa: B018  # the property links
