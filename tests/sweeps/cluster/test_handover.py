"""Handing a study over: one job for one command, its log and exit code, a copy of other code refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.cluster import handover
from sweeps.cluster.bootstrap import FILE
from sweeps.guard import UNASKED
from sweeps.version import SCRIPT


@dataclass
class Job:
    submission_id: str
    metadata: dict[str, str]
    status: str = "RUNNING"
    message: str = ""
    driver_exit_code: int | None = None
    log: str = ""


@dataclass
class Jobs:
    """A jobs API with what Ray's client offers of it; `script` says what happens at each look at the log."""

    jobs: list[Job] = field(default_factory=list)
    script: list[Any] = field(default_factory=list)
    environments: list[dict[str, Any]] = field(default_factory=list)

    def list_jobs(self) -> list[Job]:
        return self.jobs

    def submit_job(self, entrypoint: str, submission_id: str, runtime_env: dict[str, Any], metadata: Any) -> str:
        self.environments.append({"entrypoint": entrypoint, **runtime_env})
        self.jobs.append(Job(submission_id, metadata))
        return submission_id

    def get_job_logs(self, job: str) -> str:
        return self._job(job).log

    def get_job_info(self, job: str) -> Job:
        return self._job(job)

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        found = self._job(job)
        step = self.script.pop(0)
        if found.log:
            yield found.log
        for line in step.get("lines", ()):
            found.log += line
            yield line
        for name in ("status", "driver_exit_code", "message"):
            if name in step:
                setattr(found, name, step[name])
        if "raises" in step:
            raise step["raises"]

    def _job(self, name: str) -> Job:
        return next(job for job in self.jobs if job.submission_id == name)


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder like that of a cluster's head, with the submitted script and the copy of the project."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setattr(handover, "PAUSE", 0.0)
    (tmp_path / FILE).write_text('{"cluster_name": "lab", "provider": {"type": "local", "head_ip": "10.0.0.1"}}')
    copy = tmp_path / "pat-sweeps"
    (copy / "sweeps").mkdir(parents=True)
    (copy / "cluster").mkdir()
    (copy / "cluster" / "mine.yaml").write_text("cluster_name: lab\n")
    for place in (tmp_path / "hetero_grid.py", copy / SCRIPT):
        place.write_text('CODE = "0123abc"\n')
    return tmp_path


def go(head: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(handover, "_client", lambda: jobs)
    return handover.hand_over(head / "hetero_grid.py", arguments, head / "pat-sweeps")


def test_what_is_submitted(head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = head / "hetero_grid.py"
    assert handover.submitted(script) and not handover.submitted(head / "pat-sweeps" / SCRIPT)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert not handover.submitted(script)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    (head / FILE).unlink()
    assert not handover.submitted(script)


def test_a_job_is_followed_to_its_end(
    head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(script=[{"lines": ["one\n", "two\n"], "status": "SUCCEEDED", "driver_exit_code": 0}])
    assert go(head, jobs, monkeypatch, "--pairs", "a b:c") == 0
    said = capsys.readouterr().out
    assert said.endswith("one\ntwo\n") and jobs.jobs[0].submission_id in said
    (environment,) = jobs.environments
    assert environment["entrypoint"].endswith("sweeps/hetero_grid.py --pairs 'a b:c'")
    assert environment["working_dir"] == str(head / "pat-sweeps")


@pytest.mark.parametrize(
    ("terminal", "answer", "code", "jobs"), [(True, "y", 0, 2), (True, "", 4, 1), (False, "y", 4, 1)]
)
def test_a_dear_study_asks_where_it_was_submitted(
    head: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: str, code: int, jobs: int
) -> None:
    """A job has no terminal; after a yes the same command finds the job that runs for it."""
    ended = [{"status": "FAILED", "driver_exit_code": UNASKED}, {"status": "SUCCEEDED", "driver_exit_code": 0}]
    asked = Jobs(script=ended)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert go(head, asked, monkeypatch, "--seeds", "5") == code and len(asked.jobs) == jobs
    entries = [environment["entrypoint"] for environment in asked.environments]
    assert entries[0].endswith("--seeds 5") and [entry.endswith("--seeds 5 --yes") for entry in entries[1:]] == [
        True
    ] * (jobs - 1)
    assert {job.metadata["command"] for job in asked.jobs} == {"--seeds 5"}


def test_a_lost_connection_repeats_nothing(
    head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [{"lines": ["one\n"], "raises": RuntimeError("closed")}, {"lines": ["two\n"], "status": "SUCCEEDED"}]
    assert go(head, Jobs(script=steps), monkeypatch) == 0
    assert capsys.readouterr().out.endswith("one\ntwo\n")


def test_a_failing_study_says_where_its_log_is(
    head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(script=[{"lines": ["error: no\n"], "status": "FAILED", "driver_exit_code": 2}])
    assert go(head, jobs, monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "exit code 2" in error and f"ray job logs {jobs.jobs[0].submission_id}" in error
    stopped = Jobs(script=[{"status": "STOPPED", "message": "Job was intentionally stopped.\nmore"}])
    assert go(head, stopped, monkeypatch) == 1
    assert "was ended: Job was intentionally stopped." in capsys.readouterr().err


def test_the_same_command_looks_on(
    head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(script=[{"lines": [f"line {number}\n" for number in range(50)], "raises": KeyboardInterrupt()}])
    assert go(head, jobs, monkeypatch, "--seeds", "3") == 130
    assert "the study goes on" in capsys.readouterr().err
    jobs.script = [{"lines": ["last\n"], "status": "SUCCEEDED"}]
    assert go(head, jobs, monkeypatch, "--seeds", "3") == 0
    said = capsys.readouterr().out
    assert "looking on" in said and "line 29\n" not in said and "line 30\n" in said and said.endswith("line 49\nlast\n")
    assert len(jobs.jobs) == 1
    jobs.script = [{"status": "SUCCEEDED"}, {"status": "SUCCEEDED"}]
    assert go(head, jobs, monkeypatch, "--seeds", "3") == go(head, jobs, monkeypatch, "--seeds", "4") == 0
    assert len(jobs.jobs) == 3  # an ended job is not looked at, another command is another job


def test_other_code_is_refused(head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs()
    (head / "hetero_grid.py").write_text('CODE = "fff"\n')
    assert go(head, jobs, monkeypatch) == 2 and not jobs.jobs
    error = capsys.readouterr().err
    assert "is of code 0123abc, the submitted script of fff" in error and error.count("\n") == 1
    assert "ray rsync-up cluster/mine.yaml" in error
    (head / "pat-sweeps" / SCRIPT).unlink()
    assert go(head, jobs, monkeypatch) == 2
    assert "no copy of the project" in capsys.readouterr().err


def test_no_jobs_api(head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> Jobs:
        raise ConnectionError("Failed to connect to Ray at address: http://127.0.0.1:8265.")

    monkeypatch.setattr(handover, "_client", refused)
    assert handover.hand_over(head / "hetero_grid.py", [], head / "pat-sweeps") == 2
    assert "the jobs API at http://127.0.0.1:8265 does not answer" in capsys.readouterr().err
