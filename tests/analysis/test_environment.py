"""Surroundings that are borne: a home that cannot be written, a proxy."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from analysis import environment
from analysis.environment import CACHES, bear_surroundings, caches_to_write, no_proxy_for_itself

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of one's own and no proxies; what is set in a test is forgotten."""
    for name in (*CACHES, *PROXIES, *(name.upper() for name in PROXIES)):
        monkeypatch.setenv(name, "x")  # remembered for the end, whatever is done with it
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "home").mkdir()


def test_a_home_that_can_be_written_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    bear_surroundings()
    assert capsys.readouterr().err == "" and not {*CACHES, *PROXIES} & {*os.environ}


def test_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    monkeypatch.setattr(environment.os, "access", lambda place, mode: not str(place).startswith(home))
    caches_to_write()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{home}/.cache and {home}/.config cannot be written" in said
    for name in CACHES:
        place = Path(os.environ[name])
        assert place.is_dir() and place.is_relative_to(tmp_path / "temporary") and place.stat().st_mode & 0o77 == 0
    caches_to_write()
    assert capsys.readouterr().err == ""  # once is enough, children too
    code = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith(os.environ["XDG_CACHE_HOME"])


def test_a_home_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    caches_to_write()
    assert all(Path(os.environ[name]).is_dir() for name in CACHES)


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_no_proxy_leads_to_this_machine(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    monkeypatch.setenv(proxy, "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "example.org")
    for _ in range(2):
        no_proxy_for_itself()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    assert os.environ["no_proxy"].startswith("example.org,localhost,127.0.0.1,::1,")
    assert os.environ["no_proxy"].count("localhost") == 1
    for host in ("localhost:8265", "127.0.0.1:6379", "example.org"):
        assert urllib.request.proxy_bypass_environment(host)
    assert not urllib.request.proxy_bypass_environment("huggingface.co")
