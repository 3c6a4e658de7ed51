"""Fixtures and options that every room's tests share."""

from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the golden files with what the code prints now, for review with git diff",
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="run the tests that take many minutes too: fuzzing and random graphs by the thousand",
    )
    parser.addoption(
        "--quantized-graphs",
        type=int,
        default=200,
        help="how many random quantized graphs are compared on every target; 2000 takes an hour",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips `long` tests unless they are asked for."""
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason="takes many minutes: run with --long"))


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """True when golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout's top folder."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real models and data beside the checkout; skips where it is absent."""
    folder = PROJECT_ROOT.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("no ../shared/models beside the checkout")
    return folder
