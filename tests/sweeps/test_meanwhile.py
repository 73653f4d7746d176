"""Lines while a command works, in short seconds."""

from __future__ import annotations

import time

import pytest

from sweeps.meanwhile import one_by_one, still


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


def test_how_many_are_done_is_said_now_and_then() -> None:
    said: list[str] = []
    assert list(one_by_one("abc", "letters", said.append, every=0)) == ["a", "b", "c"]
    assert said == [f"letters: {done} of 3 so far" for done in range(3)]
    assert list(one_by_one("abc", "letters", said.append)) == ["a", "b", "c"] and len(said) == 3
