"""FBT: whose stages come first, what each link teaches whom, and what is left as it was."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from pat.config import ConfigError
from pat.losses import cross_entropy, info_nce_loss, ofa_loss
from pat.methods import Method, create_method
from pat.methods.fbt import LocalToGlobal
from pat.models import create_model, locality
from pat.taps import TapError
from tests import tiny

LINKS = ("teacher_student", "teacher_assistant", "assistant_student")
ONLY: dict[str, dict[str, float]] = {
    link: {f"{other}_weight": float(other == link) for other in LINKS} for link in LINKS
}


def build(
    student: str = tiny.BATCHNORM, teacher: str = "vit_micro_patch8_32", size: int = 32, **options: Any
) -> Method:
    torch.manual_seed(0)
    models = [create_model(name, 10, size) for name in (student, teacher)]
    for model in models:
        nn.init.normal_(model.get_classifier().weight, std=0.1)  # some heads start at zero
    return create_method("fbt", *models, tiny.task(size), **{"dim": 16, **options})


def batch(count: int = 6, size: tuple[int, int] = (32, 32), seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, *size, generator=generator)
    return images, torch.eye(10)[torch.randint(0, 10, (count,), generator=generator)]


def taught(**options: Any) -> set[str]:
    """The parts of a method, and of its student, that its links give a gradient to."""
    method, (images, targets) = build(**options), batch()
    losses = method(images, targets)
    (losses["loss"] - cross_entropy(losses["output"], targets)).backward()
    names = [name.split(".") for name, p in method.named_parameters() if p.grad is not None and p.grad.any()]
    return {name[1] if name[0] == "student" else name[0] for name in names}


LOCAL = (
    "resnet18", "mobilenetv2_100", "convnext_tiny", "mobilevit_xxs", "pvt_v2_b0",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_pico_patch4_window7_224", "mixer_s32_224", "resmlp_12_224",
)  # fmt: skip


def test_convolution_is_local() -> None:
    """A CNN most of all, though most of ConvNeXt's parameters are in layers of single positions; patches are not."""
    with torch.device("meta"):
        found = {name: locality(timm.create_model(name)) for name in LOCAL}
    assert [found[name] for name in LOCAL[:3]] == [1, 1, 1]
    assert 1 > found["mobilevit_xxs"] > found["pvt_v2_b0"] > 0
    assert [found[name] for name in LOCAL[5:]] == [0] * 5


@pytest.mark.parametrize(
    ("student", "teacher", "student_first"),
    [
        (tiny.BATCHNORM, tiny.VIT, True),
        (tiny.VIT, tiny.CNN, False),
        (tiny.MLP, tiny.BATCHNORM, False),
        (tiny.BATCHNORM, tiny.CNN, True),
        (tiny.VIT, tiny.MLP, True),
        (tiny.MLP, tiny.VIT, True),
    ],
)
def test_local_comes_first_and_of_a_kind_the_student(student: str, teacher: str, student_first: bool) -> None:
    assert build(student, teacher).student_first == student_first
    for place, order in enumerate(("teacher-student", "student-teacher")):
        assert build(student, teacher, order=order).student_first == bool(place)


@pytest.mark.parametrize("order", ["student-teacher", "teacher-student"])
def test_a_step_is_the_paper_s_formula(order: str) -> None:
    """Every term from the models and modules by hand: the assistant's last stage is run by timm's own modules."""
    method = build("test_vit", "test_resnet", 64, order=order, epsilon=1.5, temperature=0.2).eval()
    images, targets = batch(size=(64, 64))
    labels = targets.argmax(1)
    losses = method(images, targets)
    with torch.no_grad():
        own, theirs = method.student_taps(images), method.teacher_taps(method.for_teacher(images))
        x, tokens = method.bridge((own if method.student_first else theirs).maps[-2])
        if method.student_first:
            mixed = method.teacher.forward_head(method.teacher.layer4(x), pre_logits=True)
            fused = method.teacher.fc(mixed)
        else:
            x = torch.cat([tokens, x.flatten(2).transpose(1, 2)], dim=1)
            mixed = method.student.norm(method.student.blocks[5](x))[:, 0]
            fused = method.student.head(mixed)
        features = {
            "student": method.project_student(method.student_embedding(images)[1]),
            "teacher": method.project_teacher(method.teacher_embedding(method.for_teacher(images))[1]),
            "assistant": method.project_assistant(mixed),
        }
        logits = {"student": own.logits, "teacher": theirs.logits, "assistant": fused}
        total = cross_entropy(own.logits, targets)
        for link in LINKS:
            source, target = link.split("_")
            contrast = info_nce_loss(features[source], features[target], torch.tensor(5.0))
            expected = contrast + ofa_loss(logits[target], logits[source], labels, 1.5, 1.0)
            torch.testing.assert_close(losses[link], expected)
            total = total + expected
    torch.testing.assert_close(losses["loss"], total)
    assert losses["assistant_top1"].item() == pytest.approx(100 * (fused.argmax(1) == labels).float().mean().item())


STAGES = {"conv1", "bn1", "layer1", "layer2", "layer3"}
LAST = {"layer4", "fc"}


def test_what_each_link_teaches() -> None:
    """A student whose stages come first learns with them, through the teacher's last stage; the teacher never does."""
    own, others = STAGES | LAST | {"project_student", "log_scale"}, {"bridge", "project_assistant"}
    assert taught(**ONLY["teacher_student"]) == own | {"project_teacher"}
    assert taught(**ONLY["teacher_assistant"]) == STAGES | others | {"project_teacher", "log_scale"}
    assert taught(**ONLY["assistant_student"]) == own | others
    assert taught(**ONLY["assistant_student"], detach_assistant=True) == own


def test_a_student_that_comes_last_learns_with_its_last_stage() -> None:
    found = taught(**ONLY["teacher_assistant"], order="teacher-student")
    assert found == LAST | {"bridge", "project_assistant", "project_teacher", "log_scale"}


@pytest.mark.parametrize("link", LINKS)
def test_a_link_of_weight_0_is_removed(link: str) -> None:
    whole, without = build(), build(**{f"{link}_weight": 0.0})
    losses, fewer = whole(*batch()), without(*batch())
    assert losses.keys() - fewer.keys() == {link}
    torch.testing.assert_close(fewer["loss"], losses["loss"] - losses[link])


@pytest.mark.parametrize("order", ["student-teacher", "teacher-student"])
def test_teacher_and_statistics_are_those_of_a_plain_pass(order: str) -> None:
    """Weights and buffers of the teacher stay; the student's statistics move once, by its own images."""
    method = build(tiny.BATCHNORM, "resnet_micro_32", order=order)
    plain = copy.deepcopy(method.student).train()
    frozen = copy.deepcopy(method.teacher.state_dict())
    method.train()(*batch())["loss"].backward()
    plain(batch()[0])
    assert all(torch.equal(value, frozen[key]) for key, value in method.teacher.state_dict().items())
    assert all(p.grad is None for p in method.teacher.parameters())
    for key, value in method.student.state_dict().items():
        assert torch.equal(value, plain.state_dict()[key]), key


@pytest.mark.parametrize(("student", "teacher"), [(tiny.VIT, tiny.CNN), (tiny.CNN, tiny.MLP)])
def test_the_order_of_a_batch_changes_nothing(student: str, teacher: str) -> None:
    method, order = build(student, teacher).eval(), torch.tensor([3, 0, 5, 1, 4, 2])
    images, targets = batch()
    losses, others = method(images, targets), method(images[order], targets[order])
    torch.testing.assert_close(others.pop("output"), losses.pop("output")[order], rtol=1e-4, atol=1e-5)
    for name, value in losses.items():
        torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-5)


def test_images_are_negatives_of_each_other() -> None:
    """InfoNCE alone couples them: a batch of one has none of it."""
    method = build(**ONLY["teacher_student"]).eval()
    images, targets = batch()
    alone = [method(images[i : i + 1], targets[i : i + 1])["teacher_student"] for i in range(6)]
    told = method.teacher(method.for_teacher(images))
    ofa = ofa_loss(method.student(images), told, targets.argmax(1), 1.0, 1.0)
    torch.testing.assert_close(torch.stack(alone).mean(), ofa.detach(), rtol=1e-4, atol=1e-5)
    assert method(images, targets)["teacher_student"] > ofa + 0.1


def test_what_is_counted_as_right_is_the_assistant_s() -> None:
    method = build().eval()
    images, targets = batch()
    student, teacher = method.student(images).argmax(1), method.teacher(method.for_teacher(images)).argmax(1)
    fixed = (torch.stack([student, teacher]).max(0).values + 1) % 10
    run = method.suffix
    method.suffix = lambda *entering: (torch.eye(10)[fixed] * 9, run(*entering)[1])  # type: ignore[assignment]
    for labels, right in ((fixed, 100), (student, 100 * (fixed == student).float().mean())):
        assert method(images, torch.eye(10)[labels])["assistant_top1"] == right


def test_the_temperature_does_not_fall_below_clip_s() -> None:
    method = build(temperature=0.05)
    assert method.log_scale.item() == pytest.approx(math.log(20))
    nn.init.constant_(method.log_scale, 9.0)
    method.eval()(*batch())
    assert method.log_scale == 9, "an eval pass changes nothing"
    method.train()(*batch())["loss"].backward()
    assert method.log_scale.item() == pytest.approx(math.log(100)) and method.log_scale.grad != 0


@pytest.mark.parametrize(
    ("student", "teacher", "size"),
    [
        ("levit_128s", "test_resnet", (64, 64)),
        ("test_convnext", "levit_128s", (64, 64)),
        ("test_efficientnet", "swin_pico_patch4_window7_224", (64, 96)),
        ("test_vit", "vit_tiny_patch16_dinov3_qkvb", (64, 96)),
        ("hrnet_w18_small", "test_vit", (64, 64)),
    ],
)
def test_three_stages_tokens_and_sides_that_differ(student: str, teacher: str, size: tuple[int, int]) -> None:
    """A model that cannot be cut may still come first."""
    models = [create_model(name, 10, size) for name in (student, teacher)]
    losses = create_method("fbt", *models, tiny.task(size), dim=8)(*batch(2, size))
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])


def test_what_cannot_be_used_is_one_line() -> None:
    for options, told in (
        ({"order": "cnn"}, "order = 'cnn': one of auto, student-teacher, teacher-student"),
        ({"temperature": 0.005}, "temperature = 0.005: at least 0.01"),
    ):
        with pytest.raises(ConfigError, match=told):
            build(**options)
    models = create_model("test_resnet", 10, 64), create_model("hrnet_w18_small", 10, 64)
    with pytest.raises(TapError, match="model 'hrnet_w18_small' cannot be run from"):
        create_method("fbt", *models, tiny.task(64))


@pytest.mark.parametrize("size", [(4, 4), (2, 9), (7, 3), (14, 14)])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_the_bridge_fits_what_enters(size: tuple[int, int], prefix: int) -> None:
    bridge = LocalToGlobal(12, (24, *size), prefix)
    x, tokens = bridge(torch.randn(2, 12, 7, 7))
    assert x.shape == (2, 24, *size)
    assert tokens is None if prefix == 0 else tokens.shape == (2, prefix, 24)
    (x.square().sum() + (0 if tokens is None else tokens.sum())).backward()
    assert all(p.grad is not None and p.grad.any() for n, p in bridge.named_parameters() if "k.bias" not in n)


def test_class_tokens_are_the_mean_and_something_learnt() -> None:
    bridge = LocalToGlobal(3, (8, 4, 4), 2)
    x, tokens = bridge(torch.randn(2, 3, 4, 4))
    torch.testing.assert_close(tokens, x.mean((2, 3))[:, None] + bridge.tokens)


def test_its_accuracy_is_reported_every_epoch(tmp_path: Path, teacher_file: Path) -> None:
    outcome = tiny.run(tiny.config(method="fbt"), tmp_path, teacher_file)
    for row in outcome.history:
        assert row["parts"].keys() == {"ce", *LINKS, "assistant_top1"} and 0 <= row["parts"]["assistant_top1"] <= 100
