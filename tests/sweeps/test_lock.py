"""One driver a study, on one machine and between machines, and what `driver.json` says of it."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis import storage
from analysis.live import LOCK, read_driver
from pat.config import ConfigError
from sweeps.__main__ import main as stop
from sweeps.commands.grid import main
from sweeps.engine import lock
from sweeps.engine.jobs import STOP
from sweeps.engine.lock import FILE, Pulse, locked, read_pulse
from sweeps.engine.repeat import repeating
from sweeps.presets import preset
from sweeps.store import open_study


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.1)


def elsewhere(folder: Path, age: float = 0.0, **fields: Any) -> None:
    """The sign of life of a driver on another machine."""
    beat = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    content = {"host": "node7", "pid": 4711, "started": beat, "beat": beat, "token": "theirs", "ended": "", **fields}
    (folder / FILE).write_text(json.dumps(content))


def test_the_second_driver_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(ConfigError, match=f"pid {os.getpid()} on {socket.gethostname()}, since .* UTC works"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):  # free again
        pass
    assert read_pulse(tmp_path)["ended"] == "done"


@pytest.mark.parametrize("name", ["study.json", "matrix.parquet", "searches/wave.json"])
def test_what_a_killed_driver_had_begun_to_write_is_removed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_file(tmp_path, name, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(storage.disk, "rename", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        if (pid := os.fork()) == 0:
            storage.write_file(tmp_path, name, b"new")
        os.waitpid(pid, 0)
    assert len(list(tmp_path.rglob("_*"))) == 1
    with locked(tmp_path):
        assert [path.name for path in tmp_path.rglob("_*")] == [LOCK]
    assert storage.read_file(tmp_path, name) == b"old"


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import time; from pathlib import Path; from sweeps.engine.lock import locked\n"
        f"with locked(Path({str(tmp_path)!r})): time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / FILE).exists():
        assert other.poll() is None
        time.sleep(0.05)
    with pytest.raises(ConfigError, match=f"pid {other.pid} "), locked(tmp_path):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert read_pulse(tmp_path)["ended"] == ""
    driver = read_driver(tmp_path)
    assert driver is not None and driver.gone and not driver.alive, "seen at once, not after a minute"
    assert stop(["stop", str(tmp_path)]) == 2 and not (tmp_path / STOP).exists()
    assert f"pid {other.pid} on {socket.gethostname()}, is gone since" in capsys.readouterr().err
    with locked(tmp_path):
        alive = read_driver(tmp_path)
        assert alive is not None and alive.alive
        assert read_pulse(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize("behind", [0, 300, -300])
def test_a_driver_on_another_machine_that_gives_signs_of_life_is_respected(tmp_path: Path, behind: int) -> None:
    """Also one whose clock is minutes behind or ahead."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            elsewhere(tmp_path, behind)

    elsewhere(tmp_path, behind)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="pid 4711 on node7"), locked(tmp_path):
            pass
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(("age", "ended"), [(0, ""), (-60, ""), (3600, ""), (0, "done")])
def test_a_stale_lock_of_another_machine_is_taken_over(tmp_path: Path, age: float, ended: str) -> None:
    """Also one whose clock is ahead."""
    elsewhere(tmp_path, age, ended=ended)
    with locked(tmp_path):
        assert read_pulse(tmp_path)["host"] == socket.gethostname()


@pytest.mark.parametrize(("age", "waits"), [(0, True), (-60, True), (540, True), (3600, False), (None, False)])
def test_what_others_wrote_a_moment_ago_is_waited_for_where_it_is_shown_late(
    tmp_path: Path, age: float | None, waits: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a sign of life, and not by one that begins or comes hours later."""
    slept: list[tuple[float, str]] = []
    monkeypatch.setattr(storage.disk, "lag", lambda folder: 90.0, raising=False)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: slept.append((seconds, read_pulse(tmp_path)["host"])))
    if age is not None:
        elsewhere(tmp_path, age, ended="done")
    with locked(tmp_path):
        pass
    assert slept == [(90.0, socket.gethostname())] * waits
    assert ("waiting 90 s" in capsys.readouterr().err) == waits


@pytest.mark.parametrize("content", ["", "[]", "{", '{"host": "x"}'])
def test_a_damaged_sign_of_life_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_pulse(tmp_path) == {}
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("same", [False, True])
def test_of_two_that_begin_at_once_the_first_notices(tmp_path: Path, same: bool) -> None:
    """Also where both have the same pid by chance."""
    pulse, pid = Pulse(tmp_path), os.getpid() if same else 4711
    pulse.beat()
    elsewhere(tmp_path, pid=pid)
    pulse.beat()
    assert pulse.usurper == f"pid {pid} on node7" and read_pulse(tmp_path)["host"] == "node7"


def test_the_last_beat_says_how_it_ended(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path) as pulse:
        pulse.facts = lambda: {"running": [1]}
        raise RuntimeError("no room\nand more")
    found = read_pulse(tmp_path)
    assert (found["ended"], found["running"]) == ("no room", [1])


def test_a_fact_that_cannot_be_told_stops_no_beat(tmp_path: Path) -> None:
    """What was told before is told on; and an error of the work is what comes out, not that of the beat."""
    with pytest.raises(RuntimeError, match="the work"), locked(tmp_path) as pulse:
        pulse.facts = lambda: {"running": [1]}
        pulse.beat()
        pulse.facts = lambda: {}["planner"]
        before = read_pulse(tmp_path)["beat"]
        deadline = time.monotonic() + 20
        while read_pulse(tmp_path)["beat"] == before and time.monotonic() < deadline:
            time.sleep(0.05)
        found = read_pulse(tmp_path)
        assert found["beat"] != before and found["running"] == [1] and "KeyError" in found["untold"]
        raise RuntimeError("the work")
    assert read_pulse(tmp_path)["ended"] == "the work"


def test_what_is_repeated_goes_on_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        raise ValueError("no luck")

    with repeating(step, 0.01):
        deadline = time.monotonic() + 20
        while len(calls) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(calls) >= 3 and capsys.readouterr().err == "warning: ValueError: no luck\n"


def test_a_file_system_without_locks_is_no_other_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(ConfigError, match="cannot be locked: No locks available"), locked(tmp_path):
        pass


def test_a_damaged_record_is_named_and_the_sign_of_life_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = preset("digits")
    folder, _ = open_study(tmp_path, study)
    (folder / "runs" / "ab").mkdir(parents=True)
    (folder / "runs" / "ab" / "run.parquet").write_bytes(b"PAR1 and no more")
    code = main(["--preset", "digits", "--storage", str(tmp_path), "--data-root", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == 2 and "ab/run.parquet" in error and "internal" not in error
    assert "ab/run.parquet" in read_pulse(folder)["ended"]
    assert main(["--preset", "digits", "--storage", str(tmp_path), "--data-root", str(tmp_path), "--plan"]) == 2
    error = capsys.readouterr().err
    assert "ab/run.parquet" in error and error.count("\n") == 1, "before anything is probed"
