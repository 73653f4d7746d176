"""An embedded Ray: who gets in, and what a driver that was killed leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pat.config import ConfigError
from sweeps.engine.cluster import _shipped, ray_running
from sweeps.engine.leftovers import RECORDS, _running, record, sweep
from sweeps.started import MODE, TOKEN, VARIABLE, address

ROOT = Path(__file__).parents[2]
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
OWNER = """
import subprocess, sys, time
from pathlib import Path
from sweeps.engine.leftovers import record
child = subprocess.Popen(["sleep", "600"])
record(Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def owner(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has recorded itself, a child and a folder; and the child's number."""
    (temporary / "session_1" / "logs").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", CODE + OWNER, str(temporary / "session_1")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    if child in _running():
        os.kill(child, 9)


def lives(pid: int) -> bool:
    """Whether it runs; what has ended and was not waited for is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_killed_driver_left_is_swept(temporary: Path, owner: tuple[subprocess.Popen[str], int]) -> None:
    process, child = owner
    sweep()  # while it lives it is left alone
    assert lives(child) and (temporary / "session_1").exists() and list(temporary.glob(f"{RECORDS}*"))
    process.kill()
    process.wait()
    assert lives(child)
    sweep()
    deadline = time.monotonic() + 20
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(child) and not (temporary / "session_1").exists() and not list(temporary.glob(f"{RECORDS}*"))


@pytest.mark.parametrize("change", ["the process", "the machine", "the folder", "nothing that can be read"])
def test_what_is_not_provably_its_own_stays(
    change: str, temporary: Path, owner: tuple[subprocess.Popen[str], int]
) -> None:
    process, child = owner
    process.kill()
    process.wait()
    (path,) = temporary.glob(f"{RECORDS}*")
    content = json.loads(path.read_text())
    precious = temporary / "precious"
    precious.mkdir()
    if change == "the process":  # its number was given to another one
        content["processes"] = [[pid, start - 1] for pid, start in content["processes"]]
    elif change == "the machine":
        content["where"] = "another"
    elif change == "the folder":
        content |= {"session": str(precious), "processes": []}
    path.write_text("{" if change == "nothing that can be read" else json.dumps(content))
    sweep()
    assert lives(child) and precious.exists()
    assert (temporary / "session_1").exists() == (change != "the process")


def test_the_record_of_this_process(temporary: Path) -> None:
    record(temporary / "session_2")
    (path,) = temporary.glob(f"{RECORDS}*")
    content = json.loads(path.read_text())
    assert content["owner"] == [os.getpid(), _running()[os.getpid()][1]] and path.stat().st_mode & 0o777 == 0o600


def test_only_a_ray_of_its_own_gets_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MODE, TOKEN, VARIABLE):
        monkeypatch.delenv(name, raising=False)
    assert address("192.0.2.1:6379") == "192.0.2.1:6379" and MODE not in os.environ
    monkeypatch.setenv(MODE, "disabled")
    assert address(None) == "local" and TOKEN not in os.environ
    monkeypatch.delenv(MODE)
    assert address(None) == "local" and os.environ[MODE] == "token" and len(os.environ[TOKEN]) == 64
    monkeypatch.setenv(VARIABLE, "{}")
    assert address(None) == "auto"
    for name in (MODE, TOKEN):
        os.environ.pop(name)


def test_an_embedded_ray_offers_the_cpus_that_its_driver_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `taskset` or a container's quota; what it asked for before would put two runs on one."""
    asked: dict[str, Any] = {}

    def init(**options: Any) -> None:
        asked.update(options)
        raise RuntimeError("enough")

    monkeypatch.setattr("sweeps.engine.cluster.ray.init", init)
    monkeypatch.setattr("sweeps.engine.cluster.ray.is_initialized", lambda: False)
    monkeypatch.setattr("sweeps.engine.cluster.sweep", lambda: None)
    monkeypatch.setattr("sweeps.engine.cluster.cpu_count", lambda: 3)
    for where, cpus in (("local", 3), ("192.0.2.1:6379", None)):
        asked.clear()
        with pytest.raises(ConfigError, match="enough"), ray_running(where):
            pass
        assert asked.get("num_cpus") == cpus


@pytest.mark.parametrize(("python", "named"), [("/a b/python", "'/a b/python'"), ("/ab/python", None)])
def test_a_blank_in_the_path_of_python_is_borne(
    python: str, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray starts its processes through a shell, which would look for half of the path and wait without an end."""
    monkeypatch.setattr("sweeps.engine.cluster.sys.executable", python)
    monkeypatch.delenv(VARIABLE, raising=False)
    with _shipped("local") as options:
        assert options.get("runtime_env", {}).get("py_executable") == named


HOST = """
from sweeps.started import TOKEN, address
import os
where = address(None)
from sweeps.engine.cluster import ray, ray_running
with ray_running(where):
    print(ray.get_runtime_context().gcs_address, os.environ[TOKEN], flush=True)
    input()
"""
GUEST = """
import sys
from sweeps.engine.cluster import own_python, ray
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False, runtime_env=own_python())
print("ran", ray.get(ray.remote(num_cpus=0)(lambda: 7).remote()))
"""


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_an_embedded_ray_admits_nobody_without_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody without one, nobody with another; who has it gets in, so that the others were not refused for want of a
    way. After a `kill -9` the next start leaves nothing of it."""
    place = Path(tempfile.mkdtemp(prefix="own-"))  # pytest's own is too long a name for sockets
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    bare = {name: value for name, value in os.environ.items() if name not in (MODE, TOKEN)} | {"TMPDIR": str(place)}
    host = subprocess.Popen(
        [sys.executable, "-c", CODE + HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=bare
    )
    assert host.stdout is not None
    gcs, token = host.stdout.readline().split()
    tries = {
        "none": {MODE: "disabled"},
        "wrong": {MODE: "token", TOKEN: "0" * 64},
        "right": {MODE: "token", TOKEN: token},
    }
    guests = {
        name: subprocess.Popen(
            [sys.executable, "-c", CODE + GUEST, gcs],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=bare | given,
        )
        for name, given in tries.items()
    }
    said = {name: guest.communicate(timeout=300)[0] for name, guest in guests.items()}
    assert {name: "ran 7" in text for name, text in said.items()} == {"none": False, "wrong": False, "right": True}, (
        said
    )
    (path,) = place.glob(f"{RECORDS}*")
    content = json.loads(path.read_text())
    host.kill()
    host.wait()
    sweep()
    time.sleep(1)
    assert not any(lives(pid) for pid, _ in content["processes"]) and not Path(content["session"]).exists()
    shutil.rmtree(place)
