"""Steps from buffers that stay where they are, each called in the place of a graph: the same bits as ever. What a graph
does with them only a GPU can show (tests/pat/test_gpu.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pat.captured
from pat.captured import WARM_UP, Body, Called, CapturedSteps
from pat.data import load
from pat.io import LocalIO
from pat.plain import Teachers
from pat.steps import train_step
from pat.train import Member, Outcome
from pat.training import Training
from tests import tiny
from tests.pat.test_train import timeless

RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scratch": (tiny.BATCHNORM, "scratch", {"mixup": 0.2, "ema_warmup": True}),
    "kd": (tiny.VIT, "kd", {"optimizer": "sgd", "clip_grad": 1.0}),
    "crd": (tiny.BATCHNORM, "crd", {}),
    "pat": (tiny.MLP, "pat", {}),
    "rld": (tiny.VIT, "rld", {"ema_decay": 0.0}),
}
"""A method that replaces its memories in each step, one that has them grow, one that counts epochs."""


class Counting(Called):
    """Says how often a step was recorded, and where."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def record(self, body: Body) -> Body:
        self.recorded += 1

        def play() -> dict[str, torch.Tensor]:
            self.played += 1
            return body()

        return play


def run(name: str, folder: Path, teacher_file: Path, **more: Any) -> Outcome:
    student, method, recipe = RUNS[name]
    config = tiny.config(student, method, recipe=recipe)
    return tiny.run(config, folder, None if config.teacher is None else teacher_file, **more)


def same(one: Outcome, other: Outcome) -> None:
    assert one.student_sha256 == other.student_sha256
    np.testing.assert_equal(timeless(one.history), timeless(other.history))


@pytest.mark.parametrize("name", RUNS)
def test_captured_is_as_ever(name: str, tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Counting()
    monkeypatch.setattr(pat.captured, "Called", lambda: recorder)
    captured = run(name, tmp_path / "captured", teacher_file, captured=True)
    assert recorder.recorded == 2 and recorder.played > 0  # once in each epoch
    same(captured, run(name, tmp_path / "alone", teacher_file))


def training(folder: Path, method: str = "scratch", teacher_file: Path | None = None) -> tuple[Training, Any]:
    config = tiny.config(method=method)
    dataset = load(config.data, Path("data"))
    return Member(config, LocalIO(folder), teacher_file=teacher_file).training(dataset, Teachers(False)), config


def batch(size: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    images = torch.randn(size, 3, 32, 32, generator=generator)
    return images, torch.randint(10, (size,), generator=generator), torch.arange(size)


def test_a_memory_stays_in_its_place(tmp_path: Path, teacher_file: Path) -> None:
    """Else a graph would read in every step what it was when it was recorded."""
    own, config = training(tmp_path, "crd", teacher_file)
    take, places = CapturedSteps(own, config, Counting()), set()
    for step in range(WARM_UP + 2):
        take(*batch(), step)
        places.add(own.method.memory_student.data_ptr())
    assert len(places) == 1 and own.method.step == WARM_UP + 2


def test_a_batch_of_another_shape_is_done_as_ever(tmp_path: Path) -> None:
    (own, config), (other, _) = training(tmp_path / "1"), training(tmp_path / "2")
    recorder = Counting()
    take = CapturedSteps(own, config, recorder)
    for step, size in enumerate((16, 16, 16, 16, 7, 16)):
        losses, plain = take(*batch(size), step), train_step(other, config, *batch(size), step)
        assert torch.equal(losses["loss"], plain["loss"])
    assert recorder.played == 2


def test_what_cannot_be_recorded_is_said_once_and_done_as_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Called):
        def record(self, body: Body) -> Body:
            own.method.register_buffer("step", torch.ones(()))  # what a recording replaces is nothing yet
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    (own, config), (other, _) = training(tmp_path / "1"), training(tmp_path / "2")
    own.method.register_buffer("step", torch.zeros(()), persistent=False)
    take = CapturedSteps(own, config, Refusing())
    for step in range(WARM_UP + 2):
        losses, plain = take(*batch(), step), train_step(other, config, *batch(), step)
        assert torch.equal(losses["loss"], plain["loss"])
    assert own.method.step == 0
    reason = "operation not permitted when stream is capturing"
    assert capsys.readouterr().err == f"steps are not captured: scratch: {reason}\n"
