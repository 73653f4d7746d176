"""`ray submit`: the script that was copied to the head hands the study to the cluster as a Ray job and follows its log.

The job outlives the script, so a lost connection or Ctrl-C only ends the looking; the same command looks on again.
The code of the job is the mounted copy of the project, and Ray ships exactly that to every machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.cluster.bootstrap import FILE, definition, read_cluster
from sweeps.guard import UNASKED
from sweeps.started import in_job
from sweeps.version import SCRIPT, digest, stamp

JOBS = "http://127.0.0.1:8265"
LEFT_OUT = [".git", ".venv", "__pycache__", "/tests", "/docs", "/runs", "/data", "*.egg-info", "/build", ".*_cache"]
"""What of the copy is not shipped to the machines."""
COMMAND = "command"
LIVING = ("PENDING", "RUNNING")
TAIL, PAUSE, PATIENCE = 20, 2.0, 120.0
"""Lines of the past that somebody who looks on again sees; seconds between two looks; how long a silent jobs API is
waited for."""


def submitted(script: Path) -> bool:
    """Whether `ray submit` copied `script` to this head, and no Ray job runs it."""
    return script.parent == Path.home() and (Path.home() / FILE).exists() and not in_job()


def hand_over(script: Path, arguments: Sequence[str], copy: Path) -> int:
    """Start the study as a job, or find the job of the same command that is still running, and follow it to its end.

    A dear study asks here, where it has no terminal of its own but this has: after a yes it is started anew.

    Returns the exit code of the study; 2 for a copy of other code or a cluster without a jobs API, 130 where somebody
    stopped looking.
    """
    try:
        if problem := _other_code(script, copy):
            print(f"error: {problem}", file=sys.stderr)
            return 2
        client, command = _client(), shlex.join(arguments)
        job, past = _running(client, command), 0
        if job:
            past = _before_tail(client.get_job_logs(job))
            print(f"job {job} already runs this command: looking on", flush=True)
        else:
            if digest(copy) != stamp((copy / SCRIPT).read_text()):
                print(f"note: {copy} was changed after its stamp; its code is {digest(copy)}", flush=True)
            job = _start(client, arguments, command, copy)
            print(f"the study is Ray job {job}; Ctrl-C only ends the looking, the same command looks on", flush=True)
        code = _end(client, job, past)
        if code == UNASKED and sys.stdin.isatty() and input("start it? [y/N] ").strip().lower() in ("y", "yes"):
            return _end(client, _start(client, [*arguments, "--yes"], command, copy), 0)
        return code
    except BrokenPipeError:  # who reads what is printed here has gone, and so has the need to print
        return 130
    except KeyboardInterrupt:
        print("\nno longer looking; the study goes on, and the same command looks on again", file=sys.stderr)
        return 130
    except (RuntimeError, ConnectionError) as error:
        print(
            f"error: the jobs API at {_address()} does not answer: {_line(error)}; is Ray up? ray status",
            file=sys.stderr,
        )
        return 2


def _other_code(script: Path, copy: Path) -> str:
    """Why the copy cannot run what was submitted; empty where it can."""
    cluster = read_cluster()
    update = f"ray rsync-up {definition(cluster.name if cluster else '', copy)}"
    try:
        own, there = script.read_text(), (copy / SCRIPT).read_text()
    except OSError:
        return f"no copy of the project in {str(copy)!r}; bring it there from the project's folder: {update}"
    if own == there:
        return ""
    return (
        f"the cluster's copy of the project is of code {stamp(there) or 'without a stamp'}, the submitted script of "
        f"{stamp(own) or 'none'}; update the copy from the project's folder: {update}"
    )


def _address() -> str:
    return os.environ.get("RAY_API_SERVER_ADDRESS", JOBS)


def _client() -> Any:
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.INFO)  # Ray says much of its uploads and connections
    return JobSubmissionClient(_address())


def _running(client: Any, command: str) -> str:
    """The living job of this command; empty where there is none."""
    for job in client.list_jobs():
        if job.submission_id and (job.metadata or {}).get(COMMAND) == command and job.status in LIVING:
            return str(job.submission_id)
    return ""


def _start(client: Any, arguments: Sequence[str], command: str, copy: Path) -> str:
    entrypoint = shlex.join([sys.executable, SCRIPT, *arguments])
    name = f"{Path(SCRIPT).stem}-{time.strftime('%m%d-%H%M%S')}-{os.getpid()}"
    environment = {"working_dir": str(copy), "excludes": LEFT_OUT}
    kept = {COMMAND: command}
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return str(
                client.submit_job(entrypoint=entrypoint, submission_id=name, runtime_env=environment, metadata=kept)
            )
        except RuntimeError as error:  # a head that has just started
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def _before_tail(log: str) -> int:
    """How many characters of a log come before its last lines."""
    return len(log) - len("".join(log.splitlines(keepends=True)[-TAIL:]))


def _end(client: Any, job: str, past: int) -> int:
    """Print the log after its first `past` characters as it grows; at the end of the job its exit code."""
    silent_since = None
    while True:
        try:
            past = asyncio.run(_follow(client, job, past))
            info = client.get_job_info(job)
            silent_since = None
        except (RuntimeError, ConnectionError):
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE:
                raise
        else:
            if info.status not in LIVING:
                return _code(info, job)
        time.sleep(PAUSE)


async def _follow(client: Any, job: str, past: int) -> int:
    """Print what the log has beyond `past` characters until the connection ends; returns how much was seen."""
    seen = 0
    try:
        async for chunk in client.tail_job_logs(job):
            fresh = chunk[max(0, past - seen) :]
            seen += len(chunk)
            print(fresh, end="", flush=True)
    except RuntimeError:  # the connection was lost: the job itself tells how it is
        pass
    return max(past, seen)


def _code(info: Any, job: str) -> int:
    """The study's own exit code; where it is not 0, one line says where the log is."""
    if info.status == "SUCCEEDED":
        return 0
    code = info.driver_exit_code or 1
    why = (
        f"ended with exit code {code}" if info.driver_exit_code else f"was ended: {_line(info.message or info.status)}"
    )
    print(f"error: the study {why}; its log, on the head: ray job logs {job}", file=sys.stderr)
    return code


def _line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
