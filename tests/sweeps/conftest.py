"""What the tests of sweeps share: one Ray for all tests that need one, and runs that are replayed, not trained."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray of our own with two CPUs, however many there are; it ends with the tests."""
    import small

    from sweeps.engine.cluster import ray

    os.environ["RAY_worker_niceness"] = "0"  # other work on this machine must not starve the workers
    ray.cloudpickle.register_pickle_by_value(small)
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=128 * 1024**2, log_to_driver=False
    )
    yield
    ray.shutdown()


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process are replayed."""
    import small

    import sweeps.engine.runs

    monkeypatch.setattr(sweeps.engine.runs, "train", small.fake_train)
