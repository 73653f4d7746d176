"""What the tests of sweeps share: one Ray for all tests that need one, and runs that are replayed, not trained."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.report import write_tables_only
from pat import options
from pat.config import RunConfig
from pat.io import IO
from pat.methods import base as methods
from pat.plugins import VARIABLE
from pat.train import Outcome

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray of our own with two CPUs, however many there are; it ends with the tests."""
    import small

    from sweeps.engine.cluster import own_python, ray

    os.environ["RAY_worker_niceness"] = "0"  # other work on this machine must not starve the workers
    ray.cloudpickle.register_pickle_by_value(small)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=128 * 1024**2,
        log_to_driver=False,
        runtime_env=own_python(),
    )
    yield
    ray.shutdown()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study ends with its tables; the figures take most of the time of a report."""
    monkeypatch.setattr("sweeps.commands.grid.write_report", write_tables_only)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process are replayed."""
    import small

    import sweeps.engine.runs

    monkeypatch.setattr(sweeps.engine.runs, "train", small.fake_train)


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs in this process are replayed; gives the ids of those that were, in order."""
    import siblings

    import sweeps.engine.runs

    trained: list[str] = []

    def train(config: RunConfig, world: IO, **rest: Any) -> Outcome:
        trained.append(config.run_id)
        return siblings.exporting_train(config, world, **rest)

    monkeypatch.setattr(sweeps.engine.runs, "train", train)
    return trained


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test announces, named own_…, is not known to the next one."""
    monkeypatch.setenv(VARIABLE, "[]")
    monkeypatch.setattr(methods, "_methods", dict(methods._methods))
    monkeypatch.setattr(options, "_declared", {kind: dict(known) for kind, known in options._declared.items()})
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("own_"):
            del sys.modules[name]
