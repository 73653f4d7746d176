"""The contract that every method keeps, between every two families."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from pat import testing
from pat.align import resize
from pat.config import ConfigError
from pat.losses import cross_entropy, dist_loss, dkd_loss, hint_loss, kd_loss, nkd_loss
from pat.methods import create_method, method_options
from pat.models import create_model, normalisation
from pat.options import teacherless
from pat.tasks import Seen
from tests import tiny

TASK = tiny.task(32, torch.arange(24) % 10)
PAIRS = list(itertools.product((tiny.BATCHNORM, tiny.VIT, tiny.MLP), (tiny.CNN, "vit_micro_patch8_32", tiny.MLP)))


def build(name: str, student: str, teacher: str, **options: Any) -> Any:
    models = create_model(student, 10, 32), None if teacherless(name) else create_model(teacher, 10, 32)
    return create_method(name, *models, TASK, **{**tiny.SMALL.get(name, {}), **options})


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 32, 32, generator=generator), torch.eye(10)[torch.arange(8)]


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
@pytest.mark.parametrize("name", tiny.METHODS)
def test_contract(name: str, student: str, teacher: str) -> None:
    """Finite, falls on a fixed batch, leaves the teacher alone, trains all, its state round-trips, bf16 works."""
    testing.learns(testing.Case(name, student, teacher, tiny.SMALL.get(name, {})))


def test_options_are_checked() -> None:
    assert method_options("kd") == {"weight": 1.0, "temperature": 1.0, "standardise": False}
    student, teacher = create_model(tiny.VIT, 10, 32), create_model(tiny.CNN, 10, 32)
    with pytest.raises(ConfigError, match="'temprature' of method 'kd'; did you mean temperature"):
        create_method("kd", student, teacher, TASK, temprature=4)
    with pytest.raises(ConfigError, match="unknown method 'kdd'; did you mean .*kd"):
        create_method("kdd", student, teacher, TASK)


WEIGHTS: dict[str, dict[str, str]] = {
    **{name: {name: "weight"} for name in ("kd", "cc", "crd", "dkd", "dist", "nkd", "rsd", "wttm")},
    "fitnet": {"hint": "weight", "kd": "kd_weight"},
    "reviewkd": {"hint": "weight"},
    "sokd": {"hint": "weight", "area": "area_weight", "heads": "head_weight", "kd": "kd_weight"},
    "rkd": {"distance": "distance_weight", "angle": "angle_weight"},
    "ofa": {"ofa": "weight", "kd": "kd_weight"},
    "pat": {
        "feature": "feature_weight",
        "kd": "kd_weight",
        "regularisation": "regularisation_weight",
        "drift": "drift_weight",
    },
    "rld": {"confidence": "alpha", "correlation": "beta"},
    "vkd": {"feature": "weight", "kd": "kd_weight"},
    "uskd": {"target": "alpha", "others": "beta", "weak": "weak_weight"},
    "fbt": {name: f"{name}_weight" for name in ("teacher_student", "teacher_assistant", "assistant_student")},
    "scratch": {},
}
"""Each part of a method's loss and the option that weighs it."""


@pytest.mark.parametrize("name", tiny.METHODS)
def test_the_loss_is_the_weighted_sum_of_its_parts(name: str) -> None:
    images, targets = batch()
    weights = {part: 0.3 + 0.4 * place for place, part in enumerate(WEIGHTS[name])}
    options = {option: weights[part] for part, option in WEIGHTS[name].items()}
    losses = build(name, tiny.BATCHNORM, tiny.VIT, **options)(images, targets, torch.arange(8))
    weights |= {"ce": 1.0} | ({"policy": 1.0} if name == "sokd" else {})
    expected = {**losses, "ce": cross_entropy(losses["output"], targets)}
    torch.testing.assert_close(losses["loss"], sum(weight * expected[part] for part, weight in weights.items()))


def test_the_options_of_losses_of_logits_stand_in_their_places() -> None:
    images, targets = batch()
    for name, loss, options in (
        ("kd", kd_loss, {"temperature": 3.0}),
        ("dkd", dkd_loss, {"alpha": 2.0, "beta": 3.0, "temperature": 4.0}),
        ("dist", dist_loss, {"beta": 2.0, "gamma": 3.0, "temperature": 4.0}),
        ("nkd", nkd_loss, {"gamma": 3.0, "temperature": 4.0}),
    ):
        torch.manual_seed(0)
        student, teacher = create_model(tiny.BATCHNORM, 10, 32), create_model(tiny.CNN, 10, 32)
        method = create_method(name, student, teacher, TASK, weight=0.5, **options)
        losses = method(images, targets)
        labels = {"labels": targets.argmax(1)} if name in ("dkd", "nkd") else {}
        expected = loss(
            losses["output"],
            method.judge(method.for_teacher(images), Seen(losses["output"])).logits,
            **labels,
            **options,
        )
        torch.testing.assert_close(losses[name], expected)
        torch.testing.assert_close(losses["loss"], losses["ce"] + 0.5 * expected)


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (tiny.BATCHNORM, "levit_128s", ((1, 0), (2, 1), (3, 2))),
        ("levit_128s", tiny.BATCHNORM, ((0, 0), (0, 1), (1, 2), (2, 3))),
    ],
)
def test_hints_of_models_with_three_stages_and_with_four(
    student: str, teacher: str, pairs: tuple[tuple[int, int], ...]
) -> None:
    """The last teaches the last; a student of three hears the first two of four with its first."""
    models, images = [create_model(name, 10, 64) for name in (student, teacher)], torch.randn(2, 3, 64, 64)
    method = create_method("fitnet", *models, tiny.task(64)).eval()
    own, theirs = method.student_taps(images).maps, method.teacher_taps(method.for_teacher(images)).maps
    hints = [
        hint_loss(resize(align(own[i]), theirs[k].shape[-2:]), theirs[k])
        for align, (i, k) in zip(method.align, pairs, strict=True)
    ]
    torch.testing.assert_close(method(images, torch.eye(10)[:2])["hint"], sum(hints).detach())


ACTING: dict[str, dict[str, float]] = {
    **dict.fromkeys(("fitnet", "sokd"), {"kd_weight": 1.0}),
    "pat": {"drift_weight": 1.0, "hint_weight": 1.0},
}
"""Weights that are 0 by default, so that every other number acts, too."""
RATES = ("prompt_lr",)
"""These act in the optimiser (`Method.groups`), not in a loss."""


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, key)
        for name in tiny.METHODS
        for key, value in method_options(name).items()
        if isinstance(value, float) and key not in RATES
    ],
)
def test_no_number_is_without_effect(name: str, option: str) -> None:
    """Within two steps, as CRD's memory shows in the second one; where there is KD, as FitNet has none."""
    images, targets = batch()
    default = tiny.SMALL.get(name, {}) | ACTING.get(name, {})
    totals = []
    for factor in (1.0, 1.5):
        torch.manual_seed(0)
        changed = {option: factor * float(method_options(name, default)[option])}
        method = build(name, tiny.BATCHNORM, "vit_micro_patch8_32", **{**default, **changed})
        for model in filter(None, (method.student, method.teacher)):
            torch.nn.init.normal_(model.get_classifier().weight)
        for block in getattr(method, "prompts", torch.nn.ModuleDict()).values():
            torch.nn.init.ones_(block.strength)  # at 0, where it starts, a prompt does nothing
        totals.append([method(images, targets, torch.arange(8))["loss"].item() for _ in range(2)])
    assert totals[0] != pytest.approx(totals[1], rel=1e-5)


def test_method_modules_have_a_generator_of_their_own() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build("pat", tiny.VIT, tiny.CNN)
    # Building drew the models' own random weights, and not one number more for the method.
    state = torch.get_rng_state()
    torch.manual_seed(5)
    create_model(tiny.VIT, 10, 32), create_model(tiny.CNN, 10, 32)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(expected, torch.rand(3))
    assert torch.equal(first.attention.to_q.weight, build("pat", tiny.VIT, tiny.CNN).attention.to_q.weight)
    other = create_method("pat", first.student, first.teacher, TASK, seed=1, **tiny.SMALL["pat"])
    assert not torch.equal(first.attention.to_q.weight, other.attention.to_q.weight)


def test_the_teacher_sees_its_own_normalisation() -> None:
    """A student with ImageNet statistics under a Mixer made for mean and deviation 0.5."""
    student, teacher = create_model("resnet18", 10, 224), create_model("mixer_s32_224", 10, 224)
    assert normalisation(teacher) == ((0.5,) * 3, (0.5,) * 3) != normalisation(student)
    method = create_method("kd", student, teacher, tiny.task(224))
    pixels = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(v)[:, None, None] for v in normalisation(student))
    torch.testing.assert_close(method.for_teacher((pixels - mean) / std), (pixels - 0.5) / 0.5)
