"""Weight files: wrappers, prefixes, what is refused."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from pat.config import ConfigError
from pat.state_dicts import AVERAGED, WRAPPERS, choose
from pat.weights import read_weights, sha256


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
def test_pickled_code_is_never_run(tmp_path: Path, archive: bool) -> None:
    file = tmp_path / "a.pth"
    torch.save({"a": Harmful(tmp_path)}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(ConfigError, match="holds a; a state dict is needed") as caught:
        read_weights(file)
    assert "\n" not in str(caught.value)
    torch.save({"model": weights(), "a": Harmful(tmp_path)}, file, _use_new_zipfile_serialization=archive)
    assert same(read_weights(file), weights())
    assert not (tmp_path / "ran").exists()


class AttributeDict(dict):
    """A class of some trainer, with a state of its own."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.kept = [1]


class Kind(enum.Enum):
    A = 1


FOREIGN = {
    "numpy scalar": np.float64(71.2),
    "numpy array": np.arange(3),
    "path": Path("/x"),
    "date": datetime.datetime(2024, 1, 1),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("ab"),
    "deque": collections.deque([1, 2], maxlen=3),
    "set": {1, 2},
    "enum as key": {Kind.A: 1},
    "attributes": AttributeDict(lr=0.1),
    "namespace": argparse.Namespace(lr=0.1),
    "partial": functools.partial(print, 1),
    "dtype": [torch.float16, torch.device("cpu"), torch.Size([1])],
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("archive", [True, False])
def test_what_a_trainer_keeps_beside_is_passed_over(tmp_path: Path, kind: str, archive: bool) -> None:
    content = {"first": FOREIGN[kind], "state_dict": weights(), "last": [FOREIGN[kind], {"deep": FOREIGN[kind]}]}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=archive)
    assert same(read_weights(tmp_path / "a.pth"), weights())
    torch.save(AttributeDict(state_dict=AttributeDict(**{"x.y": torch.ones(2)})), tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), {"x.y": torch.ones(2)})


def test_a_module_that_was_pickled_whole(tmp_path: Path) -> None:
    whole = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.BatchNorm2d(2)), nn.Identity())
    whole.register_buffer("passing", torch.ones(1), persistent=False)
    for content in (whole, {"epoch": 1, "model": nn.DataParallel(whole)}):
        torch.save(content, tmp_path / "a.pth")
        assert same(read_weights(tmp_path / "a.pth"), whole.state_dict())


OWN = ("conv.weight", "bn.weight", "bn.num_batches_tracked")


def named(prefix: str, value: float = 1.0) -> dict[str, Tensor]:
    return {f"{prefix}conv.weight": torch.full((2,), value), f"{prefix}bn.weight": torch.full((2,), value)}


@pytest.mark.parametrize(
    ("content", "value", "said"),
    [
        ({"optimizer": {"a": torch.ones(9)}, "net_g": named("", 2.0)}, 2.0, ""),
        (
            {"state_dict": {**named("model.", 2.0), "criterion.weight": torch.ones(3)}},
            2.0,
            "under 'model.' without crit",
        ),
        (named("module.encoder_q.", 2.0) | {"module.queue": torch.ones(4)}, 2.0, "under 'encoder_q.' without queue"),
        (named("student.", 3.0) | named("teacher.", 2.0), 3.0, "under 'student.' without teacher.bn.weight, teacher"),
        ({"student": named("", 3.0), "teacher": named("backbone.", 2.0)}, 2.0, "weights 'teacher' under 'backbone.'"),
        ({"n_averaged": torch.ones(()), **named("module.", 2.0)}, 2.0, "without n_averaged"),
        ({**named("", 2.0), "conv.total_ops": torch.ones(1), "epoch": 3}, 2.0, "without conv.total_ops"),
        (
            {"ema": {"module": named("", 2.0)}, "other": {"fc": torch.ones(1)}},
            2.0,
            "taken are the weights 'ema.module'",
        ),
        ({"state_dict": {**named("", 2.0), "names": ["a"]}}, 2.0, "without names"),
        ({"model": named("", 3.0), "model_ema": named("", 2.0)}, 2.0, ""),
    ],
)
def test_the_state_dict_that_fits_is_taken_and_named(
    content: Any, value: float, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth", OWN), named("", value))
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == bool(said)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["model", "state_dict", "net", "x", "ema"]), max_size=3),
    st.sampled_from(["", "module.", "model.", "backbone.net.", "a.b.c."]),
    st.booleans(),
)
def test_wherever_the_weights_stand_they_are_found(places: list[str], prefix: str, beside: bool) -> None:
    content: Any = named(prefix, 2.0)
    for place in places:
        content = {"epoch": 1, place: content, **({"head": {"w": torch.ones(2)}} if beside else {})}
    held = choose(content, OWN)
    assert held is not None and same(held.tensors, named("", 2.0)) and held.place == ".".join(reversed(places))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    broken = weights()
    broken["fc.weight"][1, 1] = value
    torch.save(broken, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="weights that are no numbers: fc.weight has nan or inf"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "a pointer of git lfs"),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"<html>", "a web page"),
        (gzip.compress(b"0" * 99, mtime=0), r"an archive \(gzip\)"),
        (b"\xfd7zXZ\x00\x00", r"an archive \(xz\)"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b'{"metadata": {}, "weight_map": {}}', "JSON, perhaps the index"),
    ],
)
def test_what_a_file_is_instead(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ConfigError, match=f"a.pth' holds no weights: it is {words}"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_programs_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "a.pt")
    with pytest.raises(ConfigError, match="it is a TorchScript program"):
        read_weights(tmp_path / "a.pt")


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
        (
            {"epoch": 1, "arch": "x"},
            "holds epoch, arch; a state dict is needed, alone or under a name as ",
        ),
        ({"state_dict": {}}, "holds state_dict; a state dict"),
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
