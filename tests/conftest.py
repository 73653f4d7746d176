"""Shared by all tests: a data set of seconds, small models, no Ray state left in the home folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")

from tests import tiny  # noqa: E402,F401  (registers the data set)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share two cores with Ray's processes."""
    torch.set_num_threads(1)
    yield


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Weights and images that a test draws are the same each time, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained (one epoch) ConvNeXt teacher for the tiny set."""
    folder = tmp_path_factory.mktemp("teacher")
    tiny.run(tiny.config(tiny.CNN, epochs=1), folder)
    return folder / "student.safetensors"
