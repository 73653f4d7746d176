"""Lines while a command works, in short seconds."""

from __future__ import annotations

import time

import pytest

from sweeps.meanwhile import still


def test_what_goes_on_says_so_until_it_ends() -> None:
    said: list[str] = []
    with still("at work", said.append, every=0.01):
        while len(said) < 3:
            time.sleep(0.01)
    heard = len(said)
    time.sleep(0.05)
    assert len(said) == heard and all(line == "at work: 0 s so far" for line in said)


def test_what_is_over_at_once_says_nothing_and_an_error_is_its_own() -> None:
    said: list[str] = []
    with pytest.raises(KeyError), still("at work", said.append):
        raise KeyError
    assert not said
