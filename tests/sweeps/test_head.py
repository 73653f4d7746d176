"""A study on a cluster whose head dies: the driver says so and ends, and on another head the study goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_chaos import MARK, marked

from analysis import read_runs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def head(mark: str) -> Iterator[str]:
    """A Ray head of our own on loopback; its processes carry a mark and are killed at the end."""
    port, place = free_port(), tempfile.mkdtemp(prefix="head-")
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    options = [f"--temp-dir={place}", "--num-cpus=2", "--include-dashboard=false", "--node-ip-address=127.0.0.1"]
    more = ["--object-store-memory=134217728", "--disable-usage-stats"]
    environment = {**os.environ, MARK: mark, "RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen(
        [*command, *options, *more],
        env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.2)
        time.sleep(5)  # the raylet joins after the head listens
        yield f"127.0.0.1:{port}"
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def drive(storage: Path, address: str, log: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("chaos_study.py")
    command = [sys.executable, str(script), "--storage", str(storage), "--address", address, "--pairs", "1"]
    with log.open("w") as output:
        return subprocess.Popen([*command, "--methods", "kd"], stdout=output, stderr=subprocess.STDOUT)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_head_dies(tmp_path: Path) -> None:
    with head("first-head") as address:
        driver = drive(tmp_path, address, tmp_path / "first.log")
        deadline = time.monotonic() + 200
        while len(list(tmp_path.glob("chaos/runs/*/run.parquet"))) < 2 and time.monotonic() < deadline:
            assert driver.poll() is None, (tmp_path / "first.log").read_text()
            time.sleep(0.2)
        gcs = [pid for pid, title in marked("first-head").items() if "gcs_server" in title.split()[0]]
        lost = time.monotonic()
        os.kill(gcs[0], signal.SIGKILL)
        assert driver.wait(timeout=90) != 0
        took = time.monotonic() - lost
    said = (tmp_path / "first.log").read_text()
    assert "the same command goes on from here" in said and took < 60, said[-1500:]
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("chaos/runs/*/run.parquet")}
    with head("second-head") as address:
        assert drive(tmp_path, address, tmp_path / "second.log").wait() == 0, (tmp_path / "second.log").read_text()
    assert finished and all(path.stat().st_mtime_ns == at for path, at in finished.items())
    assert set(read_runs(tmp_path / "chaos")["status"]) <= {"finished", "pruned"}
    print(f"the driver ended {took:.0f} s after the head")
