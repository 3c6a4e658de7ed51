"""Publishes files into an output folder: all written aside first, then renamed into place.

A failure or an interrupt before the first rename leaves the folder as it was. The manifest is
renamed last and holds a hash of each file, so that a reader can tell a folder that was cut off
between two renames. Files of an earlier build that this one does not write are removed; files that
no manifest lists are never touched.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lepton_cc.ir.diagnostics import Code, refuse

MANIFEST = "manifest.json"
FORMAT = "lepton-cc-manifest"


def file_record(content: bytes) -> dict[str, object]:
    """What the manifest says of a file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def publish(folder: Path, files: Mapping[str, bytes], manifest: Mapping[str, object]) -> None:
    """Writes `files` and the manifest, to which it adds the record of each file.

    Raises:
        Refused: the folder cannot be written, or a file there is not ours and would be lost.
    """
    folder = folder.resolve()
    records = {name: file_record(files[name]) for name in sorted(files)}
    text = json.dumps({**manifest, "files": records}, indent=2, ensure_ascii=False) + "\n"
    try:
        ours = owned_files(folder)
        _refuse_foreign(folder, files, ours)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_and_rename(folder, {**files, MANIFEST: text.encode()}, ours)
    except OSError as error:
        raise refuse(
            Code.OUTPUT_FAILED,
            f"cannot write to {folder}: {error.strerror or error}",
            hint="nothing was changed there unless the manifest no longer matches its files",
        ) from error


def owned_files(folder: Path) -> frozenset[str]:
    """Names of the files in a folder that an earlier build wrote."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return frozenset()
    listed = document.get("files", {})
    names = listed if isinstance(listed, dict) else {}
    return frozenset({MANIFEST, *(name for name in names if Path(name).name == name)})


def _refuse_foreign(folder: Path, files: Mapping[str, bytes], ours: frozenset[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise refuse(Code.OUTPUT_FAILED, f"{folder} is a file", hint="choose another -o folder")
    lost = [
        name
        for name in sorted({*files, MANIFEST} - ours)
        if (folder / name).exists() and (folder / name).read_bytes() != files.get(name)
    ]
    if lost:
        raise refuse(
            Code.OUTPUT_FAILED,
            f"{folder} holds {', '.join(lost)}, which no build of lepton-cc wrote",
            hint="choose another -o folder, or remove them",
        )


def _write_and_rename(folder: Path, files: Mapping[str, bytes], ours: frozenset[str]) -> None:
    # A folder that is there may be one that something is mounted on: renames must not leave it.
    aside = folder if folder.exists() else folder.parent
    staging = Path(tempfile.mkdtemp(dir=aside, prefix=f".{folder.name}.", suffix=".new"))
    try:
        for name, content in files.items():
            (staging / name).write_bytes(content)
        if not folder.exists():
            staging.chmod(0o755)
            staging.rename(folder)
            return
        for name in files:
            os.replace(staging / name, folder / name)
        for name in ours - files.keys():
            (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
