"""Builds the emulator of `runtime_c/npu/emulator` for this machine, once, and loads it.

The library lies in the user's cache, under a name made of the sources, the compiler and its flags.
It appears there by a rename, so that processes may build it at the same time.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lepton_cc import runtime_c
from lepton_cc.ir.diagnostics import ToolchainError

_ROOT = Path(runtime_c.__file__).parent
_SOURCES = _ROOT / "npu" / "emulator"
_INCLUDE = _ROOT / "include"
_FLAGS = (
    "-std=c99", "-O3", "-fPIC", "-shared",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
_ZIG_FLAGS = ("-mcpu=baseline", "-fno-sanitize=undefined")
_BUILD_SECONDS = 300
_QUERY_SECONDS = 60


def source_files() -> tuple[Path, ...]:
    """The emulator's C files, in the order of their names."""
    return tuple(sorted(_SOURCES.glob("*.c")))


def include_folders() -> tuple[Path, ...]:
    """Where the emulator's headers are."""
    return (_INCLUDE, _SOURCES)


@functools.cache
def load_library() -> ctypes.CDLL:
    """The emulator as a shared library; builds it if the cache does not have it.

    Raises:
        ToolchainError: there is no C compiler, or it fails.
    """
    compiler = _find_compiler()
    out = _cache_folder() / f"npu-emulator-{_fingerprint(compiler)}.so"
    if not out.is_file():
        _build(compiler, out)
    return ctypes.CDLL(str(out))


def _find_compiler() -> tuple[str, ...]:
    for command in _candidates():
        try:
            answer = subprocess.run(
                (*command, "--version"), capture_output=True, timeout=_QUERY_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0:
            return command
    raise ToolchainError(
        "the emulator of lepton-npu needs a C compiler (cc, clang, gcc or zig)",
        hint="pip install ziglang",
    )


def _candidates() -> Iterator[tuple[str, ...]]:
    for name in ("cc", "clang", "gcc"):
        path = shutil.which(name)
        if path is not None:
            yield (path,)
    if importlib.util.find_spec("ziglang") is not None:
        yield (sys.executable, "-m", "ziglang", "cc", *_ZIG_FLAGS)
    zig = shutil.which("zig")
    if zig is not None:
        yield (zig, "cc", *_ZIG_FLAGS)


def _fingerprint(compiler: tuple[str, ...]) -> str:
    version = subprocess.run((*compiler, "--version"), capture_output=True, check=True).stdout
    digest = hashlib.sha256()
    for part in (*compiler, *_FLAGS, platform.machine(), sys.platform):
        digest.update(part.encode() + b"\0")
    digest.update(version)
    for path in (*source_files(), *sorted(_SOURCES.glob("*.h")), *sorted(_INCLUDE.rglob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _cache_folder() -> Path:
    """The user's cache, or a folder of this process if that cannot be written."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "lepton-cc"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="lepton-cc-"))
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp(prefix="lepton-cc-"))


def _build(compiler: tuple[str, ...], out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        unfinished = Path(folder) / out.name
        result = subprocess.run(
            (
                *compiler,
                *_FLAGS,
                *(f"-I{folder}" for folder in include_folders()),
                *map(str, source_files()),
                "-o",
                str(unfinished),
            ),
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise ToolchainError(
                f"{' '.join(compiler)} could not build the emulator of lepton-npu: "
                f"{result.stderr.strip()}"
            )
        unfinished.replace(out)
