"""Images that are decoded ahead where there is little shared memory."""

from __future__ import annotations

import tempfile

import pytest

from pat.data import ahead as ahead_module
from pat.data.ahead import _say, ahead


@pytest.mark.parametrize(("free", "workers"), [(None, 2), (1 << 40, 2), (13_000, 2), (7_000, 1), (100, 0)])
def test_little_shared_memory(
    free: int | None, workers: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thing of about 1,000 bytes is held three times by each worker, in half of what is free."""
    _say.cache_clear()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    started: list[int] = []
    real = ahead_module.DataLoader

    def loader(*args: object, num_workers: int, **rest: object) -> object:
        started.append(num_workers)
        return real(*args, num_workers=0, **{k: v for k, v in rest.items() if k != "multiprocessing_context"})

    monkeypatch.setattr(ahead_module, "DataLoader", loader)
    monkeypatch.setattr(ahead_module, "shared_memory", lambda: free)
    for _ in range(2):
        assert [made[0] for made in ahead(lambda step: (step, b"x" * 1000), 5, 2)] == list(range(5))
    assert started == [workers] * 2 * (workers > 0)
    said = capsys.readouterr().err
    assert said == "" if workers == 2 else said.count("\n") == 1 and f"{workers or 'no'} of 2 processes" in said
