"""Every method that serves detection and segmentation, in one contract."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from pat.config import ConfigError
from pat.data import VOID
from pat.dense.valid import valid_area
from pat.memory import separable
from pat.methods import check_task, create_method
from pat.prompts import PromptBlock
from pat.unused import has_unused
from tests import tiny
from tests.pat import dense_tasks as dense
from tests.pat.test_workers import in_float64
from tests.pat.two_workers import of_two_workers

TASKS = ("detection", "segmentation")
PARTS: dict[str, set[str]] = {
    "scratch": set(),
    "kd": {"kd"},
    "fitnet": {"hint", "kd"},
    "reviewkd": {"hint"},
    "sokd": {"hint", "area", "heads", "policy", "policy_entropy", "target_shift", "heat_variance"},
    "pat": {"kd", "feature", "regularisation", "drift", "prompted_top1"},
}
"""What each method's loss has beside the task's own."""


def gradients(method: Any, views: Any) -> dict[str, torch.Tensor]:
    """Those of one step, by name."""
    method.zero_grad()
    method.train()(views.images, views.targets, views.indices)["loss"].backward()
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def without_truths(task_name: str, targets: Any) -> Any:
    """No boxes, or masks without a class."""
    if task_name == "segmentation":
        return replace(targets, masks=torch.full_like(targets.masks, VOID))
    return replace(targets, boxes=targets.boxes[:0], labels=targets.labels[:0], counts=(0,) * len(targets))


def set_strength(method: Any, value: float) -> None:
    for block in method.prompts.values():
        torch.nn.init.constant_(block.strength, value)


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("name", dense.METHODS)
def test_contract(name: str, task_name: str) -> None:
    """Finite, falls on a fixed batch, leaves the teacher alone, bf16 works. Everything is trained, also by a batch
    without truths."""
    task = dense.made(task_name)
    method, views = dense.method(name, task), dense.views(task)
    frozen = {k: v.clone() for k, v in method.teacher.state_dict().items()} if method.teacher else {}
    trainable = {key: p for key, p in method.named_parameters() if p.requires_grad}
    optimizer, totals = torch.optim.AdamW(trainable.values(), lr=2e-3), []
    for _ in range(6):
        losses = method.train()(views.images, views.targets, views.indices)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        totals.append(losses["loss"].item())
    assert all(map(lambda total: total == total and abs(total) < 1e4, totals)) and min(totals[3:]) < totals[0]
    levels = {"detection": 5, "segmentation": 4}[task_name]
    told = {f"{said}_{i + 1}" for said in ("kept", "explained") for i in range(levels)}
    parts = PARTS[name] | (told if name == "pat" else set())
    own = {"detection": {"rpn_objectness", "rpn_box", "roi_class", "roi_box"}, "segmentation": {"pixel"}}[task_name]
    assert losses.keys() - {"loss", "output"} == parts | (own if parts or len(own) > 1 else set())
    assert all(torch.equal(v, frozen[k]) for k, v in (method.teacher.state_dict() if frozen else {}).items())
    assert not method.unused_parameters and not has_unused(task, dense.STUDENT)
    assert all(p.grad is not None for p in trainable.values())
    method.zero_grad()
    method(views.images, without_truths(task_name, views.targets), views.indices)["loss"].backward()
    assert all(p.grad is not None for p in trainable.values())
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(views.images, views.targets, views.indices)["loss"]
    loss.backward()
    assert torch.isfinite(loss) and loss.dtype == torch.float32


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("name", dense.METHODS)
def test_a_step_done_twice_gives_the_same_bits(name: str, task_name: str) -> None:
    task = dense.made(task_name)
    views = dense.views(task)
    one, two = (gradients(dense.method(name, task), views) for _ in range(2))
    assert one.keys() == two.keys() and all(torch.equal(value, two[key]) for key, value in one.items())


@pytest.mark.parametrize("task_name", TASKS)
def test_nothing_is_learnt_from_oneself(task_name: str) -> None:
    """With the student as its teacher, KD and hints are exactly 0."""
    task = dense.made(task_name)
    student = task.student(dense.STUDENT, 0)
    method = create_method("fitnet", student, copy.deepcopy(student), task, kd_weight=1.0).eval()
    views = dense.views(task)
    losses = dense.flat(method(views.images, views.targets))
    assert losses["hint"] == 0 and losses["kd"] == 0 and losses["loss"] > 0


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("teacher", [dense.TEACHER, "convnext_micro_32"])
def test_prompts_without_strength_change_no_bit_at_any_canvas(teacher: str, task_name: str) -> None:
    task = dense.made(task_name)
    method = dense.method("pat", task, task.student(teacher, 1), prompt_depth=3)
    canvases = set()
    for epoch, batch in ((0, 0), (0, 1), (1, 0), (1, 1)):
        views = dense.views(task, epoch, batch, images=2)
        seen = method.see(views.images, views.targets, method.student_taps)
        images = method.for_teacher(views.images, seen.sizes)
        with torch.no_grad():
            tapped, memory = method.teacher_taps.remember(images, 1)
            prompts = {
                i: lambda x, i=i: method.prompts[str(i)](x, torch.ones(len(x), 8, *x.shape[2:])) for i in (1, 2, 3)
            }
            plain = method.judge(images, seen, tapped)
            prompted = method.judge(images, seen, method.teacher_taps.prompted(images, prompts, memory))
        assert torch.equal(plain.logits, prompted.logits)
        assert all(map(torch.equal, plain.maps, prompted.maps))
        canvases.add(tuple(views.images.shape[2:]))
        losses = dense.flat(method(views.images, views.targets))
        assert losses["regularisation"] == 0
    assert len(canvases) > 1


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("feedback", ["current", "previous", "none"])
def test_every_prompt_learns(feedback: str, task_name: str) -> None:
    task = dense.made(task_name)
    method = dense.method("pat", task, feedback=feedback)
    set_strength(method, 0.3)
    for epoch in (0, 1):  # the second step has what the first, of another canvas, left behind
        found = gradients(method, dense.views(task, epoch))
    blocks = [name for name, module in method.named_modules() if isinstance(module, PromptBlock)]
    assert len(blocks) == 4
    for block in blocks:
        own = [key for key, value in found.items() if key.startswith(block + ".") and value.abs().sum() > 0]
        assert f"{block}.strength" in own and f"{block}.fuse.0.weight" in own and len(own) > 10


@pytest.mark.parametrize("task_name", TASKS)
def test_feedback_is_kept_at_the_nominal_size(task_name: str) -> None:
    task = dense.made(task_name)
    method = dense.method("pat", task, feedback="previous")
    shapes = [task.levels(method.teacher_taps)[i] for i in range(4)]
    for epoch in (0, 1):
        views = dense.views(task, epoch)
        method.train()(views.images, views.targets)
        assert [tuple(getattr(method, f"feedback_{i}").shape) for i in range(4)] == [(4, *shape) for shape in shapes]


def test_the_head_of_regions_runs_once_in_each_model() -> None:
    task = dense.made("detection")
    views, calls = dense.views(task), []
    for name, count in (("scratch", (1, 0)), ("kd", (1, 1)), ("fitnet", (1, 1)), ("pat", (1, 2))):
        method = dense.method(name, task)
        for number, model in enumerate((method.student, method.teacher)):
            if model is not None:
                model.head.register_forward_hook(lambda *_, number=number: calls.append(number))
        calls.clear()
        method(views.images, views.targets)
        assert (calls.count(0), calls.count(1)) == count, name


@pytest.mark.parametrize("task_name", TASKS)
def test_the_teacher_s_padding_is_its_own_zero(task_name: str) -> None:
    """It has other pixel statistics than the student."""
    task = dense.made(task_name)
    teacher = task.student(dense.TEACHER, 1)
    teacher.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.3, 0.2, 0.1)}
    method, views = dense.method("kd", task, teacher), dense.views(task)
    shown = method.for_teacher(views.images, views.targets.sizes)
    inside = valid_area(views.targets.sizes, views.images.shape[2:], views.images.shape[2:]).expand_as(shown)
    assert not inside.all() and (shown[~inside] == 0).all()
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    levels = views.images * std + mean
    expected = (levels - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.3, 0.2, 0.1])[:, None, None]
    torch.testing.assert_close(shown[inside], expected[inside], rtol=1e-4, atol=1e-4)
    for name in ("kd", "fitnet", "pat"):
        given: list[torch.Tensor] = []
        hook = teacher.backbone.register_forward_pre_hook(lambda _, images, given=given: given.append(images[0]))
        dense.method(name, task, teacher)(views.images, views.targets)
        hook.remove()
        given = [images for images in given if images.shape == shown.shape]  # others are for finding out
        assert given and all(torch.equal(images, shown) for images in given), name


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("name", ["fitnet", "reviewkd", "sokd", "pat"])
def test_maps_teach_where_they_show_the_image(name: str, task_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `valid_maps`, what is compared is 0 on padding, the student's and the teacher's; without it, it is not."""
    compared: list[tuple[torch.Tensor, ...]] = []

    def distance(*pair: torch.Tensor) -> torch.Tensor:
        compared.append(pair)
        return pair[0].sum()

    monkeypatch.setattr("pat.methods.pat.hcl_loss", distance)
    monkeypatch.setattr("pat.methods.sokd.area_loss", lambda own, target, _: distance(own, target))
    for only_valid in (True, False):
        task = dense.made(task_name, valid_maps=only_valid)
        views = dense.views(task)
        compared.clear()
        method = dense.method(name, task)
        method.distance = distance
        method(views.images, views.targets)
        assert len(compared) == {"detection": 5, "segmentation": 4}[task_name] + (2 if name == "sokd" else 0)
        for x in (x for pair in compared for x in pair):
            inside = valid_area(views.targets.sizes, views.images.shape[2:], x.shape[2:])
            assert x.mul(inside).any() and bool(x.mul(~inside).any()) == (not only_valid)


@pytest.mark.parametrize("task_name", TASKS)
def test_hints_are_for_what_shows_the_image(task_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both maps are 0 on padding, and nothing is projected: maps of one shape are compared as they are."""
    compared: list[tuple[torch.Tensor, ...]] = []
    monkeypatch.setattr("pat.hints.hint_loss", lambda *pair: (compared.append(pair), pair[0].sum())[1])
    task = dense.made(task_name, valid_maps=True)
    views = dense.views(task)
    method = dense.method("pat", task, hint_weight=1.0)
    method(views.images, views.targets)
    assert len(compared) == {"detection": 5, "segmentation": 4}[task_name] and not [*method.hints.parameters()]
    for x in (x for pair in compared for x in pair):
        inside = valid_area(views.targets.sizes, views.images.shape[2:], x.shape[2:])
        assert x.mul(inside).any() and not x.mul(~inside).any()


WAYS: dict[str, tuple[str, dict[str, Any], bool]] = {
    **{name: (name, {}, False) for name in dense.METHODS},
    "fitnet-variance": ("fitnet", {"feature_norm": "variance", "weight": 0.1}, True),
    "pat-balanced": ("pat", {"variant": "balanced", "drift_weight": 0.5, "feature_size": "regions"}, True),
    "pat-restandardised": ("pat", {"restandardise": True}, True),
    "pat-hinted": ("pat", {"hint_weight": 2.0}, True),
}
"""Methods with their options; whether maps are compared where they show the image alone."""


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize(
    "way", [way if way in dense.METHODS else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)
def test_the_losses_of_two_workers_are_those_of_one(way: str, task_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their samples are not equally many: a worker's share makes up for that."""
    options = {"regions": 400} if task_name == "detection" else {}  # all that are proposed, more or fewer
    name, own, valid_maps = WAYS[way]
    with in_float64():
        task = dense.made(task_name, valid_maps=valid_maps, **options)
        method, views = dense.method(name, task, **own).eval(), dense.views(task)
        if name == "pat":
            set_strength(method, 0.3)
        models = [copy.deepcopy(method) for _ in range(2)]
        images, targets = views.images.chunk(2), views.targets.chunk(2)
        whole = method(views.images, views.targets, views.indices)
        indices = views.indices.chunk(2)
        parts = of_two_workers(lambda rank: models[rank](images[rank], targets[rank], indices[rank]), monkeypatch)
    assert len(parts[0]["output"]) != len(parts[1]["output"])
    for key, value in dense.flat(whole).items():
        if key != "prompted_top1":
            assert sum(part[key].item() for part in parts) / 2 == pytest.approx(value, rel=1e-9), key
    losses = [part["loss"].item() for part in parts]
    assert abs(losses[0] - losses[1]) > 1e-3 * losses[0]


def test_a_batch_is_not_done_in_parts() -> None:
    """Nothing in this detector normalises over images; a mean over regions is not one over images."""
    task = dense.made("detection")
    student, teacher = (task.student("convnext_micro_32", seed) for seed in (0, 1))
    method = create_method("kd", student, teacher, task)
    assert not method.couples_samples and not separable(method)


def test_samples_of_segmentation_are_cells_with_a_class() -> None:
    task = dense.made("segmentation")
    views = dense.views(task)
    seen = task.see(task.student(dense.STUDENT, 0), views.images, views.targets)
    labels = task.classes(seen, views.targets)
    middles = views.targets.masks[:, 2::4, 2::4]
    assert len(seen.logits) == len(labels) == int((middles != VOID).sum()) and VOID not in labels
    batch, row, column = (int(place[-1]) for place in torch.where(middles != VOID))
    assert torch.equal(seen.logits[-1], seen.samples.logits[batch, :, row, column])
    own = task.losses(seen, views.targets)["pixel"]
    enlarged = torch.nn.functional.interpolate(seen.samples.logits, views.images.shape[2:], mode="bilinear")
    known = views.targets.masks != VOID
    chances = enlarged.softmax(1).permute(0, 2, 3, 1)[known].gather(1, views.targets.masks[known][:, None])
    torch.testing.assert_close(own, -chances.log().mean())  # over pixels of the canvas that have a class
    void = type(views.targets)(torch.full_like(views.targets.masks, VOID), views.targets.sizes)
    losses = dense.method("kd", task)(views.images, void)
    assert losses["pixel"] == 0 and torch.isfinite(losses["loss"]), "a batch without a class teaches nothing else"


def test_methods_of_classification_are_refused_elsewhere() -> None:
    others = [name for name in tiny.METHODS if name not in dense.METHODS]
    assert len(others) >= 6
    for name in others:
        check_task(name, "classification")
        with pytest.raises(
            ConfigError, match=f"method '{name}': only for classification; for detection there are fitnet, kd"
        ):
            check_task(name, "detection")
        task = dense.made("segmentation")
        with pytest.raises(ConfigError, match="only for classification"):
            create_method(name, *(task.student(dense.STUDENT, 0) for _ in range(2)), task)
    with pytest.raises(ConfigError, match="logit_loss = 'dist': for segmentation 'kl'"):
        dense.method("pat", dense.made("segmentation"), variant="relational")
