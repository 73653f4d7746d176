"""`cluster/hosts.sh` with stand-ins for ssh and rsync that write down what they are asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD, OTHER = "me@192.0.2.10", "me@192.0.2.11"


def give(tmp_path: Path, *arguments: str, failing: str = "nothing", token: bool = True) -> tuple[int, list[str], str]:
    """The exit code, every call of ssh and rsync, and what was said."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in ("ssh", "rsync"):
        (programs / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >> {calls}\ncase "$*" in *"{failing}"*) exit 1;; esac\n'
        )
        (programs / name).chmod(0o755)
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "cluster/hosts.sh", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, calls.read_text().splitlines() if calls.exists() else [], done.stderr


def test_every_machine_is_set_up_before_ray_starts_on_the_head_and_then_on_the_others(tmp_path: Path) -> None:
    code, calls, _ = give(tmp_path, "up", HEAD, OTHER)
    assert code == 0
    for host in (HEAD, OTHER):
        own = [call for call in calls if host in call.split("ray start")[0]]
        assert "mkdir" in own[0] and own[1].startswith("rsync") and "auth_token" in own[2] and "setup.sh" in own[3]
    starts = [call for call in calls if "ray start" in call]
    assert calls[-2:] == starts
    assert starts[0].startswith(f"ssh {HEAD} ") and starts[0].endswith("--head --port=6379 --dashboard-host=127.0.0.1")
    assert starts[1].startswith(f"ssh {OTHER} ") and starts[1].endswith("--address=192.0.2.10:6379")
    assert all("RAY_AUTH_MODE=token" in start and "secret" not in start for start in calls if "ray start" in start)


def test_a_machine_that_cannot_be_set_up_stops_it(tmp_path: Path) -> None:
    code, calls, said = give(tmp_path, "up", HEAD, OTHER, failing="setup.sh")
    assert code == 1 and "could not be set up" in said and not [call for call in calls if "ray start" in call]


def test_a_study_is_a_job_whose_words_stay_whole(tmp_path: Path) -> None:
    code, (call,), _ = give(tmp_path, "run", HEAD, "--pairs", "a:b, c:d")
    assert code == 0 and call.startswith(f"ssh -t {HEAD} ")
    assert "ray job submit" in call and call.endswith(r"sweeps/hetero_grid.py --pairs a:b\,\ c:d")


def test_the_head_ends_last(tmp_path: Path) -> None:
    code, calls, _ = give(tmp_path, "down", HEAD, OTHER)
    assert code == 0 and [call.split()[1] for call in calls] == [OTHER, HEAD] and all("node.stop" in c for c in calls)


@pytest.mark.parametrize(
    ("arguments", "token", "words"),
    [(("up",), True, "USER@HEAD"), (("up", HEAD), False, "no token"), (("start", HEAD), True, "not start")],
)
def test_what_is_missing_is_said_before_anything_is_done(
    arguments: tuple[str, ...], token: bool, words: str, tmp_path: Path
) -> None:
    code, calls, said = give(tmp_path, *arguments, token=token)
    assert code == 2 and not calls and words in said
