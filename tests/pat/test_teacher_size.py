"""A teacher with an input size of its own: what it is shown, what is built for it, and what such a run is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pat.config import ConfigError, Data, RunConfig, Task, Teacher
from pat.methods import Method, create_method, list_methods
from pat.models import create_model, normalisation
from pat.options import teacherless
from pat.tasks import create_task
from pat.train import Outcome
from sweeps.costs.flops import count
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat.test_train import timeless

TEACHERS = (tiny.CNN, "vit_micro_patch8_32", tiny.MLP)
TAUGHT = [name for name in list_methods("classification") if not teacherless(name)]


def build(name: str, teacher: str, size: int, student: str = tiny.VIT, **options: Any) -> Method:
    """A student of 32 pixels and a teacher of `size`."""
    task = create_task(Task(), Data("tiny", 32), 10, torch.arange(24) % 10, teacher_size=size)
    models = create_model(student, 10, 32), create_model(teacher, 10, size)
    return create_method(name, *models, task, **{**tiny.SMALL.get(name, {}), **options})


def batch(count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return images, torch.eye(10)[torch.arange(count) % 10], torch.arange(count)


@pytest.mark.parametrize(("place", "name"), list(enumerate(TAUGHT)))
def test_every_method_takes_a_teacher_of_twice_the_size(place: int, name: str) -> None:
    torch.manual_seed(0)
    method = build(name, TEACHERS[place % 3], 64)
    frozen = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    assert not hasattr(method, "teacher_taps") or method.teacher_taps.image_size == (64, 64)
    for _ in range(2):  # the second step has what the first one left: feedback, memories
        losses = method.train()(*batch())
    losses["loss"].backward()
    trained = [p for p in method.parameters() if p.requires_grad]
    assert torch.isfinite(losses["loss"]) and all(p.grad is not None for p in trained)
    assert sum(p.grad.abs().sum() for p in method.student.parameters()) > 0
    assert all(torch.equal(value, frozen[key]) for key, value in method.teacher.state_dict().items())


@pytest.mark.parametrize(
    ("name", "teacher", "size", "options"),
    [
        ("pat", "vit_micro_patch8_32", 64, {"feedback": "current", "aligner": "published"}),
        ("pat", tiny.MLP, 16, {"feature_size": "regions", "prompt_depth": (1, 4)}),
        ("fbt", "vit_micro_patch8_32", 16, {"order": "student-teacher"}),
        ("fbt", tiny.CNN, 64, {"order": "teacher-student"}),
        ("fitnet", tiny.MLP, 16, {"aligner": "published"}),
        ("sokd", tiny.CNN, 48, {"base": "reviewkd"}),
    ],
)
def test_other_ways_through_a_method_too(name: str, teacher: str, size: int, options: dict[str, Any]) -> None:
    method = build(name, teacher, size, tiny.CNN, **options)
    loss = method.train()(*batch())["loss"]
    loss.backward()
    assert torch.isfinite(loss) and sum(p.grad.abs().sum() for p in method.student.parameters()) > 0


def test_prompts_of_strength_0_change_nothing_at_the_teacher_s_size() -> None:
    losses = build("pat", tiny.CNN, 64)(*batch())
    assert losses["regularisation"].abs() < 1e-6 and losses["drift"].abs() < 1e-6


def test_the_teacher_answers_for_its_own_pixels() -> None:
    """What it says is what it says of the resized images alone."""
    method = build("kd", "vit_micro_patch8_32", 64)
    images, *_ = batch()
    seen = method.see(images, None)
    given = method.for_teacher(images)
    assert given.shape == (4, 3, 64, 64) and torch.equal(given, method.for_teacher(images))
    assert torch.equal(method.told(images, seen).logits, method.teacher(given))


@pytest.mark.parametrize(("size", "inside"), [(64, slice(8, -8)), (16, slice(4, -4))])
def test_resizing_keeps_what_is_linear(size: int, inside: slice) -> None:
    """Bicubic kernels reproduce ramps between pixel centres; the teacher's own normalisation comes with it."""
    method = build("kd", tiny.CNN, size)
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in normalisation(method.student))
    own_mean, own_std = (torch.tensor(values)[:, None, None] for values in normalisation(method.teacher))
    shown = method.for_teacher((ramp - mean) / std) * own_std + own_mean
    centres = ((torch.arange(size) + 0.5) * 32 / size - 0.5) / 31
    torch.testing.assert_close(shown[0, 0, 0, inside], centres[inside], rtol=0, atol=2e-3)
    flat = method.for_teacher(torch.full((1, 3, 32, 32), 0.25))
    torch.testing.assert_close(flat, flat[:, :, :1, :1].expand_as(flat))


def test_a_smaller_size_averages_what_it_cannot_show() -> None:
    checks = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().expand(1, 3, 32, 32)
    shown = build("kd", tiny.CNN, 16).for_teacher(checks)[0, 0, 4:-4, 4:-4]
    assert shown.std() < 0.02


def run(teacher: Teacher, folder: Path, file: Path, method: str = "fitnet") -> tuple[RunConfig, Outcome]:
    config = tiny.config(tiny.MLP, method, epochs=1, teacher=teacher)
    return config, tiny.run(config, folder, file)


def test_the_data_s_own_size_is_the_same_run(tmp_path: Path, teacher_file: Path) -> None:
    (plain, one), (spelled, two) = (
        run(Teacher(tiny.CNN, "run:0123456789abcdef", size), tmp_path / str(size), teacher_file) for size in (0, 32)
    )
    assert plain.run_id == spelled.run_id == tiny.config(tiny.MLP, "fitnet", epochs=1).run_id and plain == spelled
    assert one.student_sha256 == two.student_sha256 and timeless(one.history) == timeless(two.history)
    assert one.teacher_score == two.teacher_score


def test_a_run_with_a_larger_teacher(tmp_path: Path) -> None:
    """Its teacher is a run at that size, and is scored as that run was; a checkpoint goes on to the same bits."""
    trained = replace(tiny.config(tiny.CNN, epochs=1, recipe={"ema_decay": 0.0}), data=Data("tiny", 48))
    taught = tiny.run(trained, tmp_path / "teacher")
    file = tmp_path / "teacher" / "student.safetensors"
    teacher = Teacher(tiny.CNN, f"run:{trained.run_id}", 48)
    config = tiny.config(tiny.MLP, "pat", teacher=teacher)
    assert config.run_id != replace(config, teacher=replace(teacher, image_size=0)).run_id
    assert RunConfig.from_json(config.to_json()) == config
    whole = tiny.run(config, tmp_path / "whole", file)
    assert whole.status == "finished" and whole.teacher_score == taught.history[-1]["test_score_raw"]
    tiny.run(config, tmp_path / "parts", file, until=1)
    assert tiny.run(config, tmp_path / "parts", file).student_sha256 == whole.student_sha256


def test_its_cost_is_counted_at_its_size() -> None:
    plain = tiny.config(method="kd")
    assert plain.teacher is not None
    larger = replace(plain, teacher=replace(plain.teacher, image_size=64))
    alone, small, large = (count(config, 10).step.flop for config in (tiny.config(), plain, larger))
    assert (large - alone) == pytest.approx(4 * (small - alone), rel=0.1)
    assert count(larger, 10).score == count(plain, 10).score


def test_where_maps_are_compared_as_they_are_both_see_one_size() -> None:
    for task in ("detection", "segmentation"):
        config = dense.config(task, "kd")
        words = f"teacher.image_size = 96: {task} compares maps cell by cell"
        with pytest.raises(ConfigError, match=words):
            create_task(config.task, config.data, 5, teacher_size=96)
        assert create_task(config.task, config.data, 5, teacher_size=config.data.image_size).of_teacher is None
    with pytest.raises(ConfigError, match=r"teacher.image_size = -1: a number of pixels, or 0"):
        Teacher(tiny.CNN, "run:0", -1)
