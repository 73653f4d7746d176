"""Weights fetched from a place: whole, from a server or a file, or one line and nothing left behind."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pat.config import ConfigError
from pat.weights import download, read_weights, sha256

WEIGHTS = {"weight": torch.arange(4.0)}


class Answers(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; whatever is called `cut` ends after half of its bytes."""

    def log_message(self, *arguments: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        outputfile.write(data[: len(data) // 2] if "cut" in self.path else data)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of `tmp_path`/served on the loopback."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Answers, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


def test_download_from_a_server_and_from_a_file(tmp_path: Path, server: str) -> None:
    served = tmp_path / "served" / "a.pth"
    torch.save(WEIGHTS, served)
    for place in (f"{server}/a.pth", served.as_uri()):
        target = tmp_path / place[:4] / "b.pth"
        download(place, target, sha256(served))
        assert torch.equal(read_weights(target)["weight"], WEIGHTS["weight"])
        assert [path.name for path in target.parent.iterdir()] == ["b.pth"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (lambda server, folder: f"{server}/a.pth", "have SHA-256 [0-9a-f]{64}, but 00ff is expected"),
        (lambda server, folder: f"{server}/none.pth", "cannot be fetched: HTTP Error 404"),
        (lambda server, folder: f"{server}/cut.pth", r"the connection ended after 50000 of 100000 bytes"),
        (lambda server, folder: "http://127.0.0.1:9/a.pth", "cannot be fetched: .*Connection refused"),
        (lambda server, folder: "http://[::1/a.pth", "cannot be fetched: Invalid IPv6"),
        (lambda server, folder: (folder / "none.pth").as_uri(), "cannot be fetched: .*No such file"),
        (lambda server, folder: (folder / "served").as_uri(), "cannot be fetched: .*[Dd]irectory"),
    ],
    ids=["hash", "404", "cut", "refused", "no address", "no file", "folder"],
)
def test_a_download_that_fails_leaves_nothing(
    tmp_path: Path, server: str, address: Callable[[str, Path], str], words: str
) -> None:
    for name in ("a.pth", "cut.pth"):
        (tmp_path / "served" / name).write_bytes(b"0" * 100_000)
    url = address(server, tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        download(url, tmp_path / "kept" / "b.pth", "00ff")
    assert url in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "kept").iterdir())


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pat.weights.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.pth"
        with pytest.raises(ConfigError, match="cannot be fetched: .*timed out"):
            download(url, tmp_path / "kept" / "b.pth", "00ff")
    assert not list((tmp_path / "kept").iterdir())


def test_a_download_that_is_stopped_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(source: Any, target: Any) -> None:
        target.write(source.read(10))
        raise KeyboardInterrupt

    (tmp_path / "a.pth").write_bytes(b"0" * 100)
    monkeypatch.setattr("pat.weights.shutil.copyfileobj", stopped)
    with pytest.raises(KeyboardInterrupt):
        download((tmp_path / "a.pth").as_uri(), tmp_path / "kept" / "b.pth", "00ff")
    assert not list((tmp_path / "kept").iterdir())


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="storage .* cannot be written"):
        download("http://127.0.0.1:9/a", tmp_path / "file" / "b.pth", "00ff")
