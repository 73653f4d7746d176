"""What a task is to the rest: registered, refused, counted; and one of one's own, in a module beside the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.metrics import METRICS
from pat.config import ConfigError, Data, Method, RunConfig, Task
from pat.data import VOID
from pat.methods import create_method
from pat.models import normalisation
from pat.tasks import create_task, default_task, list_tasks, task_class
from pat.views import mask_eval
from sweeps.costs.flops import count
from sweeps.study import Study
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat import ink

OWN = [name for name in list_tasks() if name != ink.Ink.name]


def test_every_task_is_known_by_name() -> None:
    assert OWN == ["classification", "detection", "generation", "segmentation"]
    for name in OWN:
        assert task_class(name).name == name == Task(name).name
    with pytest.raises(ConfigError, match="unknown task 'detecton'; did you mean detection?"):
        Task("detecton")
    with pytest.raises(ConfigError, match="unknown option 'widht' of task 'detection'; did you mean width?"):
        Task("detection", {"widht": 3})
    assert Task("detection") == Task("detection", {"width": 256})


def test_every_metric_has_its_words() -> None:
    assert {task_class(name).metric for name in OWN} == METRICS.keys()
    assert ink.Ink.metric in METRICS


def test_the_default_task_is_no_part_of_an_address() -> None:
    plain = tiny.config(method="kd")
    assert replace(plain, task=Task()).run_id == plain.run_id and "task" not in plain.to_dict()
    dense_run = dense.config("detection", "kd")
    assert dense_run.to_dict()["task"]["name"] == "detection"
    assert RunConfig.from_json(dense_run.to_json()) == dense_run
    assert dense_run.run_id != replace(dense_run, task=Task("detection", {"width": 16})).run_id


@pytest.mark.parametrize("task", ["detection", "segmentation"])
@pytest.mark.parametrize("name", dense.METHODS)
def test_costs_are_counted_from_shapes(name: str, task: str) -> None:
    config = dense.config(task, name)
    found = count(config, 5)
    alone = count(dense.config(task, "scratch"), 5)
    assert found.score == alone.score and alone.step.flop > 2 * alone.score.flop * (0.5 if task == "detection" else 1)
    assert (found.step.flop > alone.step.flop) == (name != "scratch")
    assert found.student_bytes == alone.student_bytes > 0 and found.checkpoint_bytes >= alone.checkpoint_bytes
    larger = count(replace(config, data=replace(config.data, image_size=128)), 5)
    assert larger.step.flop > 1.1 * found.step.flop


def test_regions_cost_as_many_as_there_can_be() -> None:
    """A step answers for the regions that are drawn of an image, a scoring pass for those that are proposed."""
    head = 8 * 7 * 7 * 16 + 16 * 16 + 16 * 5 * (5 + 1)  # two layers; a class and four edges for five classes and none
    plain, drawn, proposed = (
        count(dense.config("detection", "scratch", task_options=options), 5)
        for options in ({}, {"regions": 48}, {"proposals": (50, 30, 70)})
    )
    assert proposed.score.flop - plain.score.flop == 2 * 40 * head and proposed.step.flop == plain.step.flop
    assert drawn.score.flop == plain.score.flop and 2 < (drawn.step.flop - plain.step.flop) / (2 * 24 * head) < 3


def test_a_study_is_refused_before_any_work() -> None:
    given: dict[str, Any] = {
        "name": "own",
        "data": dense.data("detection"),
        "task": Task("detection", {"freeze_norm": False}),
        "teachers": {dense.TEACHER: dense.RECIPE},
        "students": {dense.STUDENT: dense.RECIPE},
        "pairs": ((dense.TEACHER, dense.STUDENT),),
        "methods": ("kd",),
    }
    study = Study(**given)
    assert Study.from_dict(study.to_dict()) == study
    for changes, message in (
        (
            {"methods": ("kd", "ofa")},
            "method 'ofa': only for classification; for detection there are fitnet, kd",
        ),
        ({"task": Task()}, "task 'classification': needs a data set with labels, 'boxes:detection' has boxes"),
        ({"task": Task("detection")}, "task.freeze_norm = True: BatchNorm of 'resnet_nano_32' would stay untrained"),
        ({"students": {dense.STUDENT: replace(dense.RECIPE, mixup=0.8)}}, "recipe.mixup = 0.8: detection has no use"),
    ):
        with pytest.raises(ConfigError, match=message):
            Study(**{**given, **changes})
    pairs = {"teachers": {"vit_tiny_patch16_224": dense.RECIPE}, "pairs": (("vit_tiny_patch16_224", dense.STUDENT),)}
    with pytest.raises(ConfigError, match="model 'vit_tiny_patch16_224': cannot be the backbone of detection or segm"):
        Study(**{**given, **pairs})


def test_segmentation_is_scored_pixel_by_pixel() -> None:
    """Against a loop over images and classes; loss and score are of all pixels with a class."""
    task, test = dense.made("segmentation"), dense.dataset("segmentation").test
    model = task.student(dense.STUDENT, 0).eval()
    hits, union, right, pixels, loss = ([0] * 5, [0] * 5, 0, 0, 0.0)
    with torch.no_grad():
        for (_, images, sizes), masks in mask_eval(test, 64, 0, normalisation(model), 4):
            logits = F.interpolate(model(images), images.shape[2:], mode="bilinear")
            for answer, (height, width), mask in zip(logits, sizes.tolist(), masks, strict=True):
                resized = F.interpolate(answer[None, :, :height, :width], mask.shape, mode="bilinear")[0]
                known, found = mask != VOID, resized.argmax(0)
                right, pixels = right + int((found == mask)[known].sum()), pixels + int(known.sum())
                log = resized.log_softmax(0).permute(1, 2, 0)[known]
                loss -= float(log.gather(1, mask[known].long()[:, None]).double().sum())
                for label in range(5):
                    one, other = (found == label) & known, (mask == label) & known
                    hits[label] += int((one & other).sum())
                    union[label] += int((one | other).sum())
    shares = [100 * hit / whole for hit, whole in zip(hits, union, strict=True) if whole]
    score = task.score(model, test)
    assert score.score == pytest.approx(sum(shares) / len(shares), abs=1e-9)
    assert score.details == {"pixel_accuracy": pytest.approx(100 * right / pixels, abs=1e-9)}
    assert score.loss == pytest.approx(loss / pixels, rel=1e-5)


@pytest.mark.parametrize("method", ["scratch", "fitnet"])
def test_a_task_of_one_s_own_is_trained(method: str, tmp_path: Path, teacher_file: Path) -> None:
    """In a module that only the tests know. The teacher of this fixture is a classifier; its own is trained first."""
    recipe = {"epochs": 4, "crop_scale": (1.0, 1.0)}
    tiny.run(tiny.config(tiny.CNN, epochs=1, task=Task("ink")), tmp_path / "teacher")
    config = tiny.config(method=method, recipe=recipe, epochs=4, task=Task("ink", {"scale": 10}))
    outcome = tiny.run(config, tmp_path / "run", tmp_path / "teacher" / "student.safetensors")
    assert outcome.status == "finished" and outcome.results["test_last_raw"] > 0 and not outcome.test_correct
    assert outcome.history[-1]["val_loss_raw"] < outcome.history[0]["val_loss_raw"]
    if method == "fitnet":
        assert outcome.history[-1]["parts"].keys() == {"squares", "hint"}
    lines = [line for line in Path(ink.__file__).read_text().splitlines() if line.strip()]
    assert len(lines) < 60


def test_a_module_of_one_s_own_meets_the_same_refusals() -> None:
    with pytest.raises(ConfigError, match="method 'kd'|only for"):
        task = create_task(Task("ink"), Data("tiny", 32), 10)
        create_method("dkd", *(nn.Identity() for _ in range(2)), task)
    with pytest.raises(ConfigError, match="unknown option"):
        Task("ink", {"sclae": 1})
    assert default_task(Data("digits", 32)) == Task() and Method("kd").options


def test_a_share_scales_a_mean() -> None:
    from pat.tasks import Seen

    alone, shared = Seen(Tensor([[1.0]])), Seen(Tensor([[1.0]]), share=torch.tensor(0.5))
    assert alone.over_all(torch.tensor(2.0)) == 2 and shared.over_all(torch.tensor(2.0)) == 1
