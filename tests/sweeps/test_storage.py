"""A storage that fails for a while is waited for; one that goes on failing stops the study, and nothing is lost."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bad_disk import ABSENT_SECONDS, Client, Server
from stored import stored_study, stored_train
from test_driver import same

import sweeps.engine.runs
from analysis import disk, ledger, read_runs, storage
from analysis.disk import Disk
from analysis.schema import LedgerError
from pat.io import CHECKPOINT, PREVIOUS, UNREADABLE, LocalIO
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.engine.endings import Fatal
from sweeps.engine.health import LOST_LIMIT, UNBEGUN_LIMIT, Failure
from sweeps.engine.hold import Hold, Superseded
from sweeps.engine.jobs import WHERE, run_folder
from sweeps.engine.keep import SET_ASIDE, retry
from sweeps.store import open_study


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the storage, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


class Failing(Disk):
    """Fails so often at each kind of operation, with that error."""

    def __init__(self, times: int, error: OSError) -> None:
        self.left = dict.fromkeys(("write", "open", "rename", "make", "sync", "exists", "names", "refresh"), times)
        self.error = error

    def __getattribute__(self, name: str) -> Any:
        left = object.__getattribute__(self, "__dict__").get("left", {})
        if left.get(name, 0) > 0:
            left[name] -= 1
            raise self.error
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ENOTCONN])
def test_what_passes_is_waited_for(
    number: int, tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage, "disk", Failing(2, OSError(number, os.strerror(number))))
    storage.write_file(tmp_path / "a", "b", b"content")
    assert storage.read_file(tmp_path / "a", "b") == b"content" and storage.exists(tmp_path / "a", "b")
    storage.move_file(tmp_path / "a", "b", tmp_path / "c", "d")
    assert storage.list_files(tmp_path, "c") == ["d"] and storage.list_temporary(tmp_path) == []
    storage.remove_file(tmp_path / "c", "d")
    assert not storage.exists(tmp_path / "c", "d") and slept
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("waiting: cannot ") and os.strerror(number) in line for line in said)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError("AWS Error SLOW_DOWN during PutObject operation"), True),
        (OSError("When reading: AWS Error NETWORK_CONNECTION: curlCode: 28, Timeout was reached"), True),
        (TimeoutError("timed out"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError("AWS Error ACCESS_DENIED during PutObject operation"), False),
    ],
)
def test_minutes_and_then_one_line(
    error: OSError, waits: bool, tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "disk", Failing(10**6, error))
    with pytest.raises(LedgerError, match=f"cannot read {tmp_path}/a: ") as caught:
        storage.read_file(tmp_path, "a")
    assert "\n" not in str(caught.value) and ("for 5 minutes" in str(caught.value)) == waits
    assert 300 <= sum(slept) < 360 if waits else not slept
    assert slept == sorted(slept) and max(slept, default=0) <= storage.LONGEST_PAUSE


def test_an_answer_that_is_lost_is_no_error(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has renamed the file and is asked to do so again."""
    plan = {number: ("answer", 1) for number in range(5, 200, 9)}
    server = Server(plan, None, folders={"/", "/d", "/d/s"})  # type: ignore[arg-type]
    monkeypatch.setattr(storage, "disk", Client(server, "a"))
    storage.write_file("/d/s", "a", b"1")
    storage.save_file("/d/s", "a", lambda file: file.write(b"2"), "b")
    assert storage.read_file("/d/s", "a") == b"2"
    storage.move_file("/d/s", "a", "/d/s", "c")
    storage.remove_file("/d/s", "b")
    assert storage.list_files("/d", "s") == ["c"] and storage.read_file("/d/s", "c") == b"2" and slept


Make = Callable[[], Driver]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A driver of the stored study."""
    monkeypatch.setattr(sweeps.engine.runs, "train", stored_train)

    def driver() -> Driver:
        folder, grown = open_study(tmp_path, stored_study())
        return Driver(folder, grown, stored_study(), tmp_path, stream=io.StringIO())

    return driver


def test_a_study_outlasts_its_storage(tmp_path: Path, make: Make, slept: list[float]) -> None:
    """Minutes of errors in the middle: no run fails, nothing is trained twice; for ever: one line, and it goes on."""
    run_here(make())
    other = tmp_path / "other"
    folder, grown = open_study(other, stored_study())
    driver = Driver(folder, grown, stored_study(), other, stream=io.StringIO())
    job = driver.next_job(1)
    assert job is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "disk", Failing(2, OSError(errno.ESTALE, "Stale file handle")))
        sweeps.engine.runs.execute(job)
        driver.ended(job.run.run_id)
    assert slept and len(read_runs(folder)) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "disk", Failing(10**6, OSError(errno.ESTALE, "Stale file handle")))
        with pytest.raises((Fatal, LedgerError), match="Stale file handle, for 5 minutes"):
            run_here(driver)
    run_here(Driver(folder, grown, stored_study(), other, stream=io.StringIO()))
    same(folder, tmp_path / "small")


@pytest.mark.parametrize("torn", [(CHECKPOINT,), (CHECKPOINT, PREVIOUS)])
def test_a_failed_run_with_a_torn_checkpoint_is_retried(torn: tuple[str, ...], tmp_path: Path, make: Make) -> None:
    """F8: it was refused for ever. What could not be read is set aside, which the driver says."""
    driver = make()
    job = driver.next_job(1)
    assert job is not None
    own = run_folder(driver.folder, job.run.run_id)
    io_ = LocalIO(own)
    epoch = 0
    for epoch in (1, 2):
        io_.report([], {"epoch": epoch, "weights": torch.zeros(32, dtype=torch.uint8)})
    for name in torn:
        (own / name).write_bytes((own / name).read_bytes()[:40])
    sweeps.engine.runs.record_end(job, "failed", "bug", "made to fail")
    assert retry(driver.folder, "failed") == [job.run.run_id]
    driver = make()
    run_here(driver)
    assert driver.planner.complete and set(read_runs(driver.folder)["status"]) <= {"finished", "pruned"}
    said = driver.progress._stream.getvalue()  # type: ignore[attr-defined]
    assert said.count("a checkpoint could not be read") == len(torn)
    assert len(list((driver.folder / SET_ASIDE).glob(f"*{UNREADABLE}*"))) == len(torn)
    assert not list(driver.folder.glob("runs/*/_*"))


def test_a_process_that_was_taken_for_dead_writes_nothing_more(make: Make) -> None:
    """No checkpoint, epochs, student or row, from when the driver gave it up; nor does it end its successor."""
    driver = make()
    job = driver.next_job(1)
    assert job is not None
    own = run_folder(driver.folder, job.run.run_id)
    storage.refresh(own)
    zombie, successor = Hold(own), Hold(own)
    zombie.take("cpu")
    zombie.save(CHECKPOINT, lambda file: file.write(b"1"))
    driver.lost(job.run.run_id, Failure("no answer", preempted=True))
    for take in (lambda: None, lambda: successor.take("cpu")):
        take()
        with pytest.raises(Superseded, match="another process has taken the run"):
            zombie.save(CHECKPOINT, lambda file: file.write(b"2"))
        with pytest.raises(Superseded):
            zombie.move(CHECKPOINT, PREVIOUS)
    zombie.drop()
    successor.save("student", lambda file: file.write(b"3"))
    assert zombie.load(CHECKPOINT, lambda file: file.read()) == b"1" and storage.exists(own, WHERE)
    successor.drop()
    assert not storage.exists(own, WHERE)


def test_a_superseded_process_records_no_failure(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = make()
    job = driver.next_job(1)
    assert job is not None

    def taken_over(*given: Any, **named: Any) -> Any:
        Hold(run_folder(driver.folder, job.run.run_id)).take("cpu")
        raise ValueError("a bug, after somebody else went on")

    monkeypatch.setattr(sweeps.engine.runs, "train", taken_over)
    with pytest.raises(Superseded):
        sweeps.engine.runs.execute(job)
    assert len(read_runs(driver.folder)) == 0


@pytest.mark.parametrize("begun", [True, False])
def test_nfs_does_not_hide_that_a_run_had_begun(begun: bool, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's machine found no such file seconds ago; its process had begun all the same."""
    server = Server({}, None, nfs=True)  # type: ignore[arg-type]
    real = make()
    monkeypatch.setattr(storage, "disk", Client(server, "driver"))
    server.make(str(real.folder))
    driver = Driver(real.folder, real.study, real.study, real.folder.parent, stream=io.StringIO())
    for count in range(1, (LOST_LIMIT if begun else UNBEGUN_LIMIT) + 1):
        job = driver.next_job(1)
        assert job is not None
        own = run_folder(driver.folder, job.run.run_id)
        assert not storage.exists(own, WHERE)  # remembered for a minute
        if begun:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(storage, "disk", Client(server, f"worker {count}"))
                storage.write_file(own, WHERE, b"{}")
            assert not storage.exists(own, WHERE) and server.now < ABSENT_SECONDS
        driver.lost(job.run.run_id, Failure("killed"))
    assert driver.planner.view[job.run.run_id].message == f"its process was lost {count} times: killed"


def test_a_run_whose_process_died_after_its_end_is_not_trained_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the storage shows that it has ended."""
    server = Server({}, random.Random(1), late=90.0)
    real = make()
    monkeypatch.setattr("time.sleep", server.sleep)
    monkeypatch.setattr(storage, "disk", Client(server, "driver"))
    server.make(str(real.folder))
    driver = Driver(real.folder, real.study, real.study, real.folder.parent, stream=io.StringIO())
    job = driver.next_job(1)
    assert job is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "disk", Client(server, "worker"))
        assert sweeps.engine.runs.execute(job) == "finished"
    assert ledger.read_run(driver.folder, job.run.run_id) is None
    driver.lost(job.run.run_id, Failure("killed"))
    assert driver.planner.view[job.run.run_id].status == "finished"


MOUNTS = r"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw shared:3 - proc proc rw
30 22 0:40 / /mnt/two\040words rw shared:9 master:2 - fuse.gcsfuse bucket rw
31 22 0:41 / /mnt rw - nfs4 server:/home rw
32 31 0:42 / /mnt/s3 rw - fuse mountpoint-s3 rw
33 22 0:43 / /image rw - fuse.fuse-overlayfs overlay rw
34 32 0:44 / /mnt/s3/scratch rw - xfs /dev/sdb rw
35 22 0:45 / /over rw - fuse store rw
36 22 0:46 / /over rw - ext4 /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "late"),
    [
        ("/home/me/runs", False),
        ("/mnt/runs", False),
        ("/mnt/s3", True),
        ("/mnt/s3/runs/small", True),
        ("/mnt/s3backup", False),
        ("/mnt/s3/scratch/runs", False),
        ("/mnt/two words/runs", True),
        ("/image/runs", False),
        ("/over/runs", False),
    ],
)
def test_a_mounted_object_store_is_late(path: str, late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deepest mount counts, and the last one in a place."""
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(disk, "MOUNTS", str(tmp_path / "mounts"))
    assert Disk().lag(path) == disk.LAG_SECONDS * late


def test_where_no_mounts_are_listed_nothing_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MOUNTS", str(tmp_path / "none"))
    assert Disk().lag(str(tmp_path)) == 0


def test_a_run_that_has_ended_is_waited_for_until_its_row_is_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its epochs are seen before: they are no end."""
    driver = make()
    job = driver.next_job(1)
    assert job is not None and job.until == job.run.recipe.epochs
    sweeps.engine.runs.execute(job)
    own = run_folder(driver.folder, job.run.run_id)
    row = own / "run.parquet"
    row.rename(own / "_late")
    monkeypatch.setattr("time.sleep", lambda seconds: (own / "_late").rename(row))
    driver.ended(job.run.run_id)
    assert driver.planner.view[job.run.run_id].status == "finished"


def test_a_row_that_tells_of_more_epochs_than_there_are_is_no_end(make: Make, slept: list[float]) -> None:
    """At the start of a driver as well: what is late is waited for, what is lost is said in a line."""
    driver = make()
    run_here(driver)
    run_id = read_runs(driver.folder)["run_id"][0]
    epochs = ledger.read_run_epochs(driver.folder, run_id)
    ledger.write_epochs(driver.folder, run_id, epochs[:-1])
    with pytest.raises(LedgerError, match=f"tells of 3 epochs, epochs.parquet has 2; .*--retry {run_id}$"):
        make()
    assert sum(slept) >= 90
    retry(driver.folder, run_id)
    run_here(again := make())
    assert again.planner.complete and ledger.read_run_epochs(driver.folder, run_id) == epochs
