"""Numbers of several workers."""

from __future__ import annotations

import pytest
import torch

from pat.gather import global_mean, share_of
from tests.pat.two_workers import of_two_workers

OWN = torch.tensor([2.0, 6.0])


def test_alone_there_is_nothing_to_share() -> None:
    assert share_of(OWN[0]) is None and global_mean(OWN[0]) == 2


def test_a_mean_over_workers_leaves_their_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    own = list(OWN.clone())
    assert of_two_workers(lambda rank: global_mean(own[rank]).item(), monkeypatch) == [4, 4]
    assert own == OWN.tolist()


def test_a_share_is_the_own_number_over_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_two_workers(lambda rank: float(share_of(OWN[rank])), monkeypatch) == [0.5, 1.5]
    assert of_two_workers(lambda _: float(share_of(torch.tensor(0))), monkeypatch) == [0, 0], "nobody has any"
