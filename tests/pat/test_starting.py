"""Training that starts from the student of another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pat.config import ConfigError, DataError
from pat.data import load
from pat.io import LocalIO
from pat.models import create_student, sha256
from pat.starting import start_from
from pat.training import Training
from tests import tiny

START = "run:0123456789abcdef"
HEADS = {
    tiny.CNN: ("head.fc.weight", "head.fc.bias"),
    tiny.VIT: ("head.weight", "head.bias"),
    tiny.MLP: ("head.weight", "head.bias"),
    tiny.BATCHNORM: ("fc.weight", "fc.bias"),
    "deit_tiny_distilled_patch16_224": ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias"),
}


def size_of(name: str) -> int:
    return 224 if name.endswith("224") else 32


def exported(name: str, classes: int, file: Path, seed: int = 5) -> dict[str, Tensor]:
    """A file of weights such as a run exports, and its content; no two of its tensors are at their start."""
    model = create_student(name, classes, size_of(name), seed)
    state = {key: tensor + 1 for key, tensor in model.state_dict().items()}
    save_file(state, file)
    return state


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("theirs", "ours"), [(10, 10), (7, 10), (0, 10), (7, 0), (1, 2)])
def test_all_but_a_head_for_other_classes(name: str, theirs: int, ours: int, tmp_path: Path) -> None:
    """The head that is left out is as it is without a start; everything else is the file's."""
    state, size = exported(name, theirs, tmp_path / "student"), size_of(name)
    plain = create_student(name, ours, size, 3).state_dict()
    found = create_student(name, ours, size, 3, START, tmp_path / "student").state_dict()
    own_head = set(HEADS[name]) & found.keys()
    assert own_head == (set(HEADS[name]) if ours else set())
    for key, tensor in found.items():
        assert torch.equal(tensor, plain[key] if key in own_head and theirs != ours else state[key]), key


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        (tiny.MLP, 32, r"blocks.0.attn.proj.bias is of shape \(32,\), the model has none \(89 in all\)"),
        (tiny.CNN, 32, r"[a-z0-9.]+ is (missing|of shape \(.*\)), .* \(\d+ in all\)"),
        (tiny.VIT, 64, r"pos_embed is of shape \(1, 16, \d+\), \(1, 64, \d+\) is needed \(1 in all\)"),
        ("vit_micro_patch8_32", 32, r"bias is of shape \(32,\), \(\d+,\) is needed"),
    ],
)
def test_what_does_not_fit_is_one_line_with_its_file(name: str, size: int, words: str, tmp_path: Path) -> None:
    exported(tiny.VIT, 10, tmp_path / "student")
    with pytest.raises(ConfigError, match=words) as refusal:
        create_student(name, 10, size, 0, START, tmp_path / "student")
    assert str(tmp_path / "student") in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_with_a_weight_too_many_does_not_fit(tmp_path: Path) -> None:
    state = exported(tiny.VIT, 10, tmp_path / "student")
    save_file({**state, "extra": torch.zeros(2)}, tmp_path / "student")
    with pytest.raises(ConfigError, match=r"extra is of shape \(2,\), the model has none \(1 in all\)"):
        start_from(create_student(tiny.VIT, 10, 32, 0), tmp_path / "student")


def test_without_its_file_there_is_no_start() -> None:
    with pytest.raises(ConfigError, match="no weights file given"):
        create_student(tiny.VIT, 10, 32, 0, START)


def test_a_training_knows_which_bytes_it_began_with(tmp_path: Path) -> None:
    file = tmp_path / "student"
    state = exported(tiny.VIT, 10, file)
    config = tiny.config(initial=START)
    data = load(config.data, tmp_path)
    training = Training(config, LocalIO(tmp_path), data, None, None, initial_file=file, initial_sha256=sha256(file))
    assert training.initial_sha256 == sha256(file)
    own = training.student.state_dict()
    assert all(torch.equal(own[key], tensor) for key, tensor in state.items())
    assert Training(tiny.config(), LocalIO(tmp_path), data, None, None).initial_sha256 == ""
    with pytest.raises(DataError, match=f"have SHA-256 {sha256(file)}, but {'0' * 64} is expected"):
        Training(config, LocalIO(tmp_path), data, None, None, initial_file=file, initial_sha256="0" * 64)


def test_it_learns_from_there_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    first = tiny.run(tiny.config(tiny.BATCHNORM, epochs=3), tmp_path / "first")
    file = tmp_path / "first" / "student.safetensors"
    config = replace(tiny.config(tiny.BATCHNORM), initial=START)
    whole = tiny.run(config, tmp_path / "whole", initial_file=file, initial_sha256=first.student_sha256)
    tiny.run(config, tmp_path / "parts", until=1, initial_file=file)
    parts = tiny.run(config, tmp_path / "parts", initial_file=file)
    assert whole.student_sha256 == parts.student_sha256 != first.student_sha256
    plain = tiny.run(replace(config, initial=""), tmp_path / "plain")
    assert whole.history[0]["train_loss"] < plain.history[0]["train_loss"]
