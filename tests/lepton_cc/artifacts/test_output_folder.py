"""Publishing files: all or none, nothing of the user's lost, stale files of ours gone."""

import os
from pathlib import Path

import pytest

from lepton_cc.artifacts.output_folder import FORMAT, MANIFEST, publish
from lepton_cc.ir.diagnostics import Refused

DOCUMENT = {"format": FORMAT}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_new_folder_appears_with_everything(tmp_path: Path) -> None:
    publish(tmp_path / "a" / "b", {"m.a": b"1"}, DOCUMENT)
    assert set(contents(tmp_path / "a" / "b")) == {"m.a", MANIFEST}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_stale_files_of_ours_go_and_foreign_ones_stay(tmp_path: Path) -> None:
    publish(tmp_path / "out", {"m.a": b"1", "m.s": b"2"}, DOCUMENT)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    publish(tmp_path / "out", {"m.a": b"3"}, DOCUMENT)
    found = contents(tmp_path / "out")
    assert set(found) == {"m.a", "notes.txt", MANIFEST}
    assert found["m.a"] == b"3"


def test_a_file_that_is_not_ours_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "m.c").write_text("int main(void);")
    with pytest.raises(Refused, match=r"holds m\.c, which no build"):
        publish(tmp_path, {"m.c": b"generated", "m.a": b"1"}, DOCUMENT)
    assert contents(tmp_path) == {"m.c": b"int main(void);"}


def test_another_programs_manifest_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"format": "browser extension", "files": {"m.a": {}}}')
    with pytest.raises(Refused, match=r"manifest\.json"):
        publish(tmp_path, {"m.a": b"1"}, DOCUMENT)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    out = tmp_path / "out"
    publish(out, {"m.a": b"1"}, DOCUMENT)
    text = (out / MANIFEST).read_text()
    (out / MANIFEST).write_text(text.replace('"m.a"', '"../victim"'))
    with pytest.raises(Refused, match=r"m\.a"):
        publish(out, {"m.a": b"2"}, DOCUMENT)
    (out / "m.a").unlink()
    publish(out, {"m.a": b"2"}, DOCUMENT)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    out = tmp_path / "out"
    if existing:
        publish(out, {"m.a": b"old"}, DOCUMENT)
    before = contents(out) if existing else None
    whole = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "m.s":
            whole(path, data[:1])
            raise OSError(28, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Refused, match="No space left on device"):
        publish(out, {"m.a": b"new", "m.s": b"long"}, DOCUMENT)
    assert (contents(out) if out.exists() else None) == before
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if existing else [])


def test_an_interrupt_leaves_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, data: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "out", {"m.a": b"1"}, DOCUMENT)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_renamed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "out", {"m.a": b"1"}, DOCUMENT)
    renamed: list[str] = []
    whole = os.replace

    def noted(source: Path, target: Path) -> None:
        renamed.append(target.name)
        whole(source, target)

    monkeypatch.setattr(os, "replace", noted)
    publish(tmp_path / "out", {"m.a": b"2", "z": b"3"}, DOCUMENT)
    assert renamed == ["m.a", "z", MANIFEST]


def test_renames_do_not_leave_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another file system may be mounted on it.
    def inside(source: Path, target: Path) -> None:
        assert tmp_path in source.parents
        source.rename(target)

    monkeypatch.setattr(os, "replace", inside)
    publish(tmp_path, {"m.a": b"1"}, DOCUMENT)
    assert set(contents(tmp_path)) == {"m.a", MANIFEST}


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(Refused, match="is a file"):
        publish(tmp_path / "out", {"m.a": b"1"}, DOCUMENT)
    with pytest.raises(Refused, match="cannot write"):
        publish(tmp_path / "out" / "below", {"m.a": b"1"}, DOCUMENT)


def test_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    publish(Path(), {"m.a": b"1"}, DOCUMENT)
    assert set(contents(tmp_path / "here")) == {"m.a", MANIFEST}
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
