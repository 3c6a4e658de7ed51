"""Building the emulator: where it lies, what rebuilds it, what happens without a compiler."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.npu import library


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a loader that does not remember."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lepton-cc"


def test_it_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.load_library.__wrapped__()
    (built,) = cache.iterdir()
    before = built.stat().st_mtime_ns
    monkeypatch.setattr(library, "_build", lambda *_: pytest.fail("built again"))
    library.load_library.__wrapped__()
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [before]


def test_its_name_depends_on_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "emulator"
    shutil.copytree(library.source_files()[0].parent, copied)
    compiler = library._find_compiler()
    original = library._fingerprint(compiler)
    monkeypatch.setattr(library, "_SOURCES", copied)
    assert library._fingerprint(compiler) == original
    with (copied / "state.h").open("a") as header:
        header.write("/* another */\n")
    assert library._fingerprint(compiler) != original


def test_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_candidates", lambda: iter(()))
    with pytest.raises(ToolchainError, match="C compiler"):
        library.load_library.__wrapped__()


def test_sources_that_do_not_compile(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "emulator"
    broken.mkdir()
    (broken / "device.c").write_text("this is no C\n")
    monkeypatch.setattr(library, "_SOURCES", broken)
    with pytest.raises(ToolchainError, match="could not build"):
        library.load_library.__wrapped__()
    assert list(cache.iterdir()) == []


@pytest.mark.slow
def test_zig_builds_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("no ziglang")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    loaded = library.load_library.__wrapped__()
    assert loaded.lpt_crc32c(0, b"123456789", 9) & 0xFFFFFFFF == 0xE3069283
