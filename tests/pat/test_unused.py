"""Whether workers have to look for parameters without a gradient: only where there can be any."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from pat.config import RunConfig
from pat.data import load
from pat.methods import create_method
from pat.models import create_model
from pat.training import Training
from pat.unused import has_unused, unused_parameters
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat.test_workers import Member

LINKS = ("teacher_student_weight", "teacher_assistant_weight", "assistant_student_weight")


def test_what_no_loss_depends_on_is_named() -> None:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("first", "second", "idle", "frozen")})
    model["frozen"].requires_grad_(False)
    x = model["second"](model["first"](torch.ones(1, 2)).relu())
    assert unused_parameters(model, [x.sum(), 0 * model["first"].bias.sum()]) == ["idle.weight", "idle.bias"]
    assert len(unused_parameters(model, [torch.zeros(())])) == 6


@pytest.mark.parametrize("name", [tiny.CNN, tiny.VIT, tiny.MLP, tiny.BATCHNORM, "deit_tiny_distilled_patch16_224"])
def test_classification_uses_all_of_a_student(name: str) -> None:
    assert not has_unused(tiny.task(224 if name.endswith("224") else 32), name)


@pytest.mark.parametrize("task_name", ["detection", "segmentation"])
def test_backbones_may_have_something_behind_their_last_stage(task_name: str) -> None:
    task = dense.made(task_name)
    assert [has_unused(task, name) for name in (dense.STUDENT, dense.TEACHER)] == [False, True]
    method, views = dense.method("scratch", task), dense.views(task)
    swin = create_method("scratch", task.student(dense.TEACHER, 0), None, task)
    for one, names in ((method, []), (swin, ["student.backbone.norm.weight", "student.backbone.norm.bias"])):
        loss = one.train()(views.images, views.targets)["loss"]
        assert unused_parameters(one, [loss]) == names
        loss.backward()
        assert [key for key, p in one.named_parameters() if p.grad is None] == names


class _NeedsContent(nn.Module):
    """A student whose forward looks at the pixels."""

    num_classes, pretrained_cfg = 10, {}

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.mean((2, 3)) * images.max().item())


def test_where_shapes_do_not_suffice_workers_look(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny.task()
    monkeypatch.setattr(task, "build", lambda *_: _NeedsContent())
    assert has_unused(task, "needs_content")


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("weights", [*itertools.product((0.0, 1.0), repeat=3)])
def test_fbt_says_what_its_links_leave_out(weights: tuple[float, ...], detach: bool) -> None:
    models = [create_model(name, 10, 32) for name in (tiny.BATCHNORM, "vit_micro_patch8_32")]
    options = dict(zip(LINKS, weights, strict=True))
    method = create_method("fbt", *models, tiny.task(), dim=4, detach_assistant=detach, **options)
    loss = method(torch.randn(4, 3, 32, 32), torch.arange(4))["loss"]
    assert method.unused_parameters == bool(unused_parameters(method, [loss]))


def flag(config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What a run of two workers tells torch."""
    told: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr("pat.training.DistributedDataParallel", lambda method, **given: told.update(given) or method)
        patch.setattr("pat.training.load_teacher", lambda *_: (timm.create_model(tiny.CNN, num_classes=10), ""))
        Training(config, Member(folder, 0, 2), load(config.data, folder), None, None)
    return bool(told["find_unused_parameters"])


def test_runs_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not flag(tiny.config(method="kd"), tmp_path, monkeypatch)
    fbt = {name: tiny.config(method="fbt", options={**tiny.SMALL["fbt"], name: 0.0}) for name in LINKS}
    assert [flag(one, tmp_path, monkeypatch) for one in fbt.values()] == [False] * 3
    alone = dict.fromkeys(LINKS[1:], 0.0)
    assert flag(tiny.config(method="fbt", options={**tiny.SMALL["fbt"], **alone}), tmp_path, monkeypatch)
    monkeypatch.setattr("pat.training.has_unused", lambda task, name: name == tiny.VIT)
    assert flag(tiny.config(method="kd"), tmp_path, monkeypatch)
