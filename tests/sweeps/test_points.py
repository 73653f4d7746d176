"""A process that dies at a named point - `analysis.points` - leaves what the next one goes on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kill_at import CALM, POINTS
from test_driver import same

from analysis import points


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_every_point_a_study_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Searched, trained, gathered, one run made again, merged: every table is that of the undisturbed study."""
    script = Path(__file__).with_name("kill_at.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr[-2000:]
    ends = {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in done.stdout.splitlines()}
    assert ends == {CALM: ("0", "0"), **{point: (str(-signal.SIGKILL), "0") for point in POINTS}}
    for point in POINTS:
        for part in ("one", "two", "both"):
            place, calm = tmp_path / point.replace(" ", "_") / part / "small", tmp_path / CALM / part / "small"
            same(place, calm)
            names = {path.relative_to(place).as_posix() for path in place.glob("runs/*/*")}
            assert names == {path.relative_to(calm).as_posix() for path in calm.glob("runs/*/*")}, point


def test_of_all_processes_one_dies(tmp_path: Path) -> None:
    """Where a file is named; and none at another point or before the count is reached."""
    file, ends = tmp_path / "died", []
    for armed, passes in (("gather:2", 1), ("merge:1", 3), ("gather:2", 2), ("gather:2", 5)):
        if not (child := os.fork()):
            points.arm(f"{armed}:{file}")
            for _ in range(passes):
                points.reached("gather")
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert ends == [0, 0, -signal.SIGKILL, 0] and file.exists()


@pytest.mark.parametrize("text", ["nowhere:1", "gather", "gather:x"])
def test_a_point_that_does_not_exist_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"PAT_FAIL_AT = '{text}': NAME:N"):
        points.arm(text)
