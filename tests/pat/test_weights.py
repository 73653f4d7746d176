"""Weight files and their ways here: wrappers, prefixes, what is refused, downloads that fail."""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from pat.config import ConfigError
from pat.weights import AVERAGED, WRAPPERS, download, read_weights, sha256


def weights(value: float = 1.0) -> dict[str, Tensor]:
    return {"fc.weight": torch.full((3, 2), value), "fc.bias": torch.zeros(3)}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "no_ending", "lying.safetensors"])
def test_a_plain_state_dict_whatever_its_name(tmp_path: Path, name: str) -> None:
    torch.save(weights(), tmp_path / name)
    assert same(read_weights(tmp_path / name), weights())
    save_file(weights(2.0), tmp_path / name)
    assert same(read_weights(tmp_path / name), weights(2.0))
    torch.save(weights(3.0), tmp_path / name, _use_new_zipfile_serialization=False)
    assert same(read_weights(tmp_path / name), weights(3.0))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_of_training_scripts(tmp_path: Path, wrapper: str) -> None:
    script = {"epoch": 3, "arch": "x", "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {0: torch.ones(1)}}}
    torch.save({**script, wrapper: weights()}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), weights())
    torch.save({"model": {wrapper: weights()}}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), weights())


@pytest.mark.parametrize("averaged", AVERAGED)
def test_averaged_weights_come_first(tmp_path: Path, averaged: str) -> None:
    torch.save({"state_dict": weights(1.0), "model": weights(2.0), averaged: weights(3.0)}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), weights(3.0))
    torch.save({"state_dict": weights(1.0), averaged: None}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), weights(1.0))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_of_parallel_and_compiled_modules(tmp_path: Path, prefix: str) -> None:
    torch.save({"state_dict": {prefix + key: value for key, value in weights().items()}}, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), weights())


class Harmful:
    """Pickled, it creates the file `ran` when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.folder / "ran",)


@pytest.mark.parametrize("archive", [True, False])
def test_pickled_code_is_named_and_not_run(tmp_path: Path, archive: bool) -> None:
    file = tmp_path / "a.pth"
    torch.save({"a": Harmful(tmp_path)}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(ConfigError, match="holds more than weights: reading it would run ") as caught:
        read_weights(file)
    assert "state_dict()" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    torch.save(nn.Linear(2, 2), file, _use_new_zipfile_serialization=archive)
    with pytest.raises(ConfigError, match=r"would run torch.nn.modules.linear.Linear;"):
        read_weights(file)


def zipped() -> bytes:
    """A state dict in torch's format."""
    buffer = io.BytesIO()
    torch.save(weights(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no readable weights: it is empty"),
        (b"no weights", "holds no readable weights: it is of no format that torch knows"),
        (b"PK\x03\x04" + b"0" * 60, "holds no readable weights: .*zip archive"),
        (zipped()[:-200], "holds no readable weights: .*central directory"),
        (save(weights())[:-4], "holds no readable weights: .*incomplete metadata"),
        (save(weights())[:30], "holds no readable weights: .*header"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        read_weights(tmp_path / "a.pth")
    assert "\n" not in str(caught.value) and "a.pth" in str(caught.value) and "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 1, "arch": "x"}, "holds epoch, arch; a state dict is needed, alone or under one of state_dict_ema"),
        ({"state_dict": {}}, "holds nothing; a state dict"),
        ([torch.ones(1)], "holds a list, a state dict is needed"),
    ],
)
def test_files_of_other_things_are_one_line(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=words):
        read_weights(tmp_path / "a.pth")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for read in (sha256, read_weights):
        with pytest.raises(ConfigError, match="No such file"):
            read(tmp_path / "none.pth")
        with pytest.raises(ConfigError, match="Is a directory"):
            read(tmp_path)


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
    torch.save(weights(), served)
    for place in (f"{server}/a.pth", served.as_uri()):
        target = tmp_path / place[:4] / "b.pth"
        download(place, target, sha256(served))
        assert same(read_weights(target), weights()) and [path.name for path in target.parent.iterdir()] == ["b.pth"]


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
