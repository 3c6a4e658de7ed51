"""What pyproject.toml installs is what lies on the disk, under the names the project promises."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOMS = {
    "lepton_cc.codegen": "codegen",
    "lepton_cc.ir": "ir",
    "lepton_cc.passes": "passes",
    "lepton_cc.runtime_c": "runtime_c",
}


@pytest.fixture(scope="module")
def pyproject(project_root: Path) -> dict[str, Any]:
    return tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))


def _package_folders(project_root: Path) -> dict[str, Path]:
    """Dotted name to folder of every folder that holds Python, links not followed."""
    found: dict[str, Path] = {}
    for package, folder in {"lepton_cc": "lepton_cc", **ROOMS}.items():
        top = project_root / folder
        for source in top.rglob("*.py"):
            inside = source.parent.relative_to(top).parts
            if folder == "lepton_cc" and inside[:1] and (top / inside[0]).is_symlink():
                continue
            found[".".join((package, *inside))] = source.parent
    return found


def test_packages_list_equals_the_disk(pyproject: dict[str, Any], project_root: Path) -> None:
    on_disk = sorted(_package_folders(project_root))
    listed = pyproject["tool"]["setuptools"]["packages"]
    right = "packages = [\n" + "".join(f'    "{name}",\n' for name in on_disk) + "]"
    assert listed == on_disk, f"pyproject.toml, [tool.setuptools], should say:\n{right}"


def test_every_package_has_an_init(project_root: Path) -> None:
    bare = [
        str(folder.relative_to(project_root))
        for folder in _package_folders(project_root).values()
        if not (folder / "__init__.py").is_file()
    ]
    assert not bare, f"these folders hold Python but no __init__.py: {sorted(bare)}"


def test_rooms_are_mapped_and_linked(pyproject: dict[str, Any], project_root: Path) -> None:
    mapped = pyproject["tool"]["setuptools"]["package-dir"]
    assert mapped == {"lepton_cc": "lepton_cc", **ROOMS}
    for package, folder in ROOMS.items():
        link = project_root / package.replace(".", "/")
        assert link.is_symlink(), f"{link.name} is not a link"
        assert link.readlink() == Path("..") / folder


def _locked(lock: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            found[_normalized(name)] = _release(version)
    return found


def test_lock_satisfies_the_lower_bounds(pyproject: dict[str, Any], project_root: Path) -> None:
    locked = _locked(project_root / "requirements-ci.lock")
    trained = _locked(project_root / "requirements-train.lock")
    assert not locked.keys() & trained.keys()
    locked |= trained
    extras = pyproject["project"]["optional-dependencies"]
    wanted = [
        *pyproject["project"]["dependencies"],
        *extras["dev"],
        *extras["link"],
        *extras["exact"],
        *extras["train"],
        *pyproject["build-system"]["requires"],
    ]
    for requirement in wanted:
        name, bound = requirement.split(">=")
        assert locked[_normalized(name)] >= _release(bound), requirement


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.mark.parametrize("name", ["requirements-ci.lock", "requirements-train.lock"])
def test_lock_names_no_host(project_root: Path, name: str) -> None:
    lock = (project_root / name).read_text(encoding="utf-8")
    assert "//" not in lock
    assert "@" not in lock
    assert "--" not in lock
