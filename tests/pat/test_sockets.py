"""Folders for temporary files whose paths leave no room for those of sockets."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pat import sockets
from pat.config import ConfigError
from pat.data.ahead import ahead
from pat.sockets import LONGEST, room_for_sockets


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """TMPDIR is a folder of more than 107 bytes."""
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_another_folder_is_taken(long: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(ahead(abs, 3, workers=2)) == [0, 1, 2]
    said = capsys.readouterr().err
    assert str(long) in said and said.count("\n") == 1
    assert len(os.environ["TMPDIR"]) <= LONGEST and tempfile.gettempdir() == os.environ["TMPDIR"]
    room_for_sockets()
    assert not capsys.readouterr().err


def test_there_is_no_other_folder(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_PLACES", ("/nowhere",))
    with pytest.raises(ConfigError, match="TMPDIR = '.*yyy': a folder of at most 40 bytes is needed"):
        room_for_sockets()


def test_a_folder_with_room_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * (LONGEST - 1))
    room_for_sockets()
    assert tempfile.gettempdir() == "/" + "x" * (LONGEST - 1)
