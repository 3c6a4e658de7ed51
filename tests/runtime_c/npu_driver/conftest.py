"""The driver's library and payloads, built once."""

import ctypes

import pytest

from tests.runtime_c.npu_driver import bindings
from tests.runtime_c.npu_driver.payloads import Sample, sample


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Driver and emulated engine in this process."""
    return bindings.library(tmp_path_factory.mktemp("npu_driver"))


@pytest.fixture(scope="session")
def payload() -> Sample:
    """A payload that runs."""
    return sample(seed=3)
