"""A checkpoint that finds no room is told as the disk tells it, wherever in the file that is."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from pat.io import LocalFiles, LocalIO

STATE = {str(number): torch.zeros(5_000) for number in range(4)}


class Small(io.BytesIO):
    """A file on a disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


class SmallDisk(LocalFiles):
    def __init__(self, folder: Path, room: int) -> None:
        super().__init__(folder)
        self.room = room

    def save(self, name: str, save: Callable[[BinaryIO], object], previous: str = "") -> None:
        save(Small(self.room))


@pytest.mark.parametrize("room", [0, 100, 5_000, 20_100, 41_000, 60_500, 80_500, 81_500])
def test_a_disk_that_is_full_is_no_error_of_the_run(room: int, tmp_path: Path) -> None:
    """Torch itself says of most of these: unexpected pos 64 vs 0."""
    world = LocalIO(tmp_path, files=SmallDisk(tmp_path, room))
    with pytest.raises(OSError, match="No space left") as refusal:
        world.report([], {"model": STATE})
    assert refusal.value.errno == errno.ENOSPC


def test_there_is_room_at_last(tmp_path: Path) -> None:
    LocalIO(tmp_path, files=SmallDisk(tmp_path, 90_000)).report([], {"model": STATE})
