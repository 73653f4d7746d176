"""What detection and segmentation promise to methods and the loop: canvases, levels, batches, models, shared scores."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pat.config import Task
from pat.data import load
from pat.dense.detector import Detections
from pat.models import has_batchnorm
from pat.tasks import create_task
from pat.tasks.detection import _in_file
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat.test_dense_runs import TASKS, Knows
from tests.pat.two_workers import of_two_workers

ALL = ("classification", *TASKS)


def task_and_train(name: str) -> tuple[Any, Any]:
    """A task, and its training images."""
    if name != "classification":
        return dense.made(name), dense.dataset(name).train
    task = tiny.task()
    return task, load(task.data, Path()).train


@pytest.mark.parametrize(
    ("task", "size", "options", "canvas"),
    [
        ("detection", 64, {"longest": 128}, (64, 128)),
        ("detection", 50, {"longest": 70}, (64, 96)),
        ("detection", 64, {"longest": 40}, (64, 64)),
        ("segmentation", 64, {}, (64, 96)),  # 4 : 3 where the longer side is free
        ("segmentation", 64, {"crop": 32}, (32, 32)),
    ],
)
def test_the_nominal_canvas(task: str, size: int, options: dict[str, Any], canvas: tuple[int, int]) -> None:
    made = create_task(Task(task, options), replace(dense.data(task), image_size=size), 5)
    assert made.canvas == canvas and made.blank(2, torch.device("cpu")).images.shape == (2, 3, *canvas)


@pytest.mark.parametrize("name", ALL)
def test_levels_are_the_shapes_of_the_maps(name: str) -> None:
    """On a canvas of 64 x 160 pixels; a fifth level has half a grid of five cells, rounded up."""
    task = tiny.task((64, 160)) if name == "classification" else dense.made(name, longest=160)
    model, views = task.student(dense.STUDENT, 0), task.blank(1, torch.device("cpu"))
    taps = task.taps(model)
    seen = task.see(model, views.images, views.targets, tapped=taps(views.images))
    assert task.levels(taps) == [tuple(x.shape[1:]) for x in seen.maps]
    assert seen.maps[-1].shape[2:] == ((1, 3) if name == "detection" else (2, 5))


@pytest.mark.parametrize("name", TASKS)
def test_views_keep_to_the_longest_side_and_to_the_cut(name: str) -> None:
    sizes = dense.views(dense.made(name, longest=70)).targets.sizes
    assert sizes.max() <= 70 < dense.views(dense.made(name, longest=0)).targets.sizes.max()
    if name == "segmentation":
        assert dense.views(dense.made(name, crop=32)).images.shape == (4, 3, 32, 32)


@pytest.mark.parametrize("name", ALL)
def test_students_and_batches_are_functions_of_the_seed(name: str) -> None:
    task, train = task_and_train(name)
    state = torch.get_rng_state()
    first, again, other = (
        torch.cat([p.flatten() for p in task.student(dense.STUDENT, seed).parameters()]) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    one, same, next_epoch, next_seed = (task.batches(train, 3, *at) for at in ((1, 2), (1, 2), (1, 3), (2, 2)))
    assert torch.equal(one, same) and not torch.equal(one, next_epoch) and not torch.equal(one, next_seed)


def test_what_is_said_of_a_task_is_what_its_models_have() -> None:
    for name in TASKS:
        backbones = (
            dense.made(name, freeze_norm=freeze).student(dense.STUDENT, 0).backbone for freeze in (True, False)
        )
        assert [has_batchnorm(backbone) for backbone in backbones] == [False, True]
        assert dense.made(name, width=24).student(dense.STUDENT, 0).fpn.layer_blocks[0][0].out_channels == 24
    said = {"anchors": (4.0, 8.0, 20.0, 30.0, 60.0), "proposals": (9, 8, 7), "regions": 6, "hidden": 5}
    model = dense.made("detection", **said).student(dense.STUDENT, 0)
    assert (model.anchors, model.proposals, model.num_regions, model.head.fc7.out_features) == tuple(said.values())


@pytest.mark.parametrize("name", ALL)
def test_two_workers_score_what_one_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of four, of which one worker has more than the other; the model is as it was afterwards."""
    if name == "classification":
        task, test = tiny.task(), load(tiny.task().data, Path()).test.take(torch.arange(18))
    else:
        task, test = dense.made(name), dense.dataset(name).test
    monkeypatch.setattr("pat.tasks.classification.EVAL_BATCH", 4)
    model = Knows(test, task, off=3.0) if name == "detection" else task.student(dense.STUDENT, 0)
    alone, models = task.score(model.train(), test), [copy.deepcopy(model) for _ in range(2)]
    assert alone.score > 0 and model.training
    for found in of_two_workers(lambda rank: task.score(models[rank], test, rank, 2), monkeypatch):
        assert found.score == alone.score and found.details == alone.details
        assert found.loss == pytest.approx(alone.loss, nan_ok=True)
        assert (found.correct is None) == (name != "classification") == (alone.correct is None)
        assert found.correct is None or torch.equal(found.correct, alone.correct)


def test_detections_are_said_in_the_pixels_of_their_file() -> None:
    """An image of 100 x 300 pixels, shown at 50 x 100: three times as wide, twice as high."""
    found = Detections(torch.tensor([[1.0, 2.0, 30.0, 40.0]]), torch.tensor([0.5]), torch.tensor([2]))
    there = _in_file(found, torch.tensor([50, 100]), torch.tensor([100, 300]))
    assert there.boxes.tolist() == [[3, 4, 90, 80]] and (there.scores, there.labels) == (found.scores, found.labels)
