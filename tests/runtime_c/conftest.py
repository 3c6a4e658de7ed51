"""The C compilers of this machine, for the tests of what users compile."""

import shutil

import pytest


@pytest.fixture(params=["gcc", "clang"])
def compiler(request: pytest.FixtureRequest) -> str:
    """The path of each compiler in turn; skips one that is not there."""
    path = shutil.which(str(request.param))
    if path is None:
        pytest.skip(f"no {request.param}")
    return path
