"""What makes PAT gain: its variants, and each option beside the paper's form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pat.align import pooled, resize
from pat.config import ConfigError, Method, RunConfig
from pat.data import load
from pat.io import LocalIO
from pat.losses import hcl_loss, hint_loss
from pat.methods import create_method, method_options
from pat.methods.dist import DIST
from pat.models import create_model
from pat.moments import moments
from pat.steps import train_step
from pat.training import Training
from tests import tiny
from tests.pat.test_pat import batch, build
from tests.pat.test_train import timeless


def strengthened(method: torch.nn.Module, value: float = 0.5) -> torch.nn.Module:
    for block in method.prompts.values():
        torch.nn.init.constant_(block.strength, value)
    return method


def test_a_variant_is_a_set_of_defaults() -> None:
    """What is said wins over the variant's, and all that acts stands in the canonical form."""
    paper, balanced = method_options("pat"), method_options("pat", {"variant": "balanced"})
    assert paper == method_options("pat", {"variant": "paper"}) and paper["variant"] == "paper"
    assert (paper["feature_norm"], paper["feature_weight"]) == ("none", 1.0)
    assert (balanced["feature_norm"], balanced["feature_weight"]) == ("variance", 0.1)
    said = method_options("pat", {"variant": "balanced", "feature_weight": 1, "feature_norm": "none"})
    assert said == {**balanced, "feature_weight": 1.0, "feature_norm": "none"}
    assert method_options("pat", balanced) == balanced
    assert Method("pat", {"variant": "balanced"}).options == balanced
    assert create_method("pat", *(create_model(tiny.VIT, 10, 32) for _ in range(2)), tiny.task(), **{
        **tiny.SMALL_PAT, "variant": "balanced"
    }).feature_weight == 0.1  # fmt: skip
    assert method_options("pat", {"variant": "relational"}) == {
        **balanced,
        "variant": "relational",
        "logit_loss": "dist",
    }
    assert "variant" not in method_options("kd")


@pytest.mark.parametrize("form", ["relational", "hinted"])
def test_a_form_is_a_column_of_its_own(form: str) -> None:
    """Options, weights at the start and losses are those of the variant."""
    options = method_options(f"pat_{form}", tiny.SMALL_PAT)
    assert options == method_options("pat", {**tiny.SMALL_PAT, "variant": form})
    images, targets = batch()
    built = []
    for name in ("pat", f"pat_{form}"):
        torch.manual_seed(0)
        models = (create_model(tiny.VIT, 10, 32), create_model(tiny.CNN, 10, 32))
        built.append(create_method(name, *models, tiny.task(), **options)(images, targets))
    assert built[0].keys() == built[1].keys()
    assert all(torch.equal(value, built[1][key]) for key, value in built[0].items())
    with pytest.raises(ConfigError, match=f"variant = 'paper': one of {form}"):
        method_options(f"pat_{form}", {"variant": "paper"})


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_logits_can_be_compared_as_dist_does(temperature: float) -> None:
    """The part that kd_weight weighs is then DIST's own loss; everything else stays."""
    images, targets = batch()
    torch.manual_seed(0)
    method = build(logit_loss="dist", kd_weight=3.0, temperature=temperature).eval()
    losses = method(images, targets)
    dist = DIST(method.student, method.teacher, method.task, temperature=temperature).eval()(images, targets)
    torch.testing.assert_close(losses["kd"], dist["dist"])
    torch.manual_seed(0)
    usual = build(kd_weight=0.0, temperature=temperature).eval()(images, targets)
    torch.testing.assert_close(losses["loss"] - usual["loss"], 3.0 * losses["kd"])
    with pytest.raises(ConfigError, match="logit_loss = 'cosine': one of kl, dist"):
        build(logit_loss="cosine")


def test_a_normalised_feature_loss_is_the_mean_over_the_plain_variances() -> None:
    method = strengthened(build(feature_norm="variance", feedback="none"))
    images, targets = batch()
    losses = method(images, targets)
    student, teacher = method.student_taps(images), method.teacher_taps(method.for_teacher(images))
    prompted = method._prompted(method.for_teacher(images), method.see(images, targets), method.judge(
        method.for_teacher(images), method.see(images, targets), teacher
    ), method.teacher_taps.remember(method.for_teacher(images), 0)[1], {})  # fmt: skip
    regions = zip(method.align, method.attention(student.maps), teacher.maps, prompted.maps, strict=True)
    shares = [
        hcl_loss(resize(align(x), plain.shape[-2:]), target) / plain.var((0, 2, 3), correction=0).mean()
        for align, x, plain, target in regions
    ]
    torch.testing.assert_close(losses["feature"], torch.stack(shares).mean().detach())
    for i, (plain, target) in enumerate(zip(teacher.maps, prompted.maps, strict=True), start=1):
        torch.testing.assert_close(losses[f"kept_{i}"], moments(target).spread / moments(plain).spread)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_a_normalised_feature_loss_knows_no_scale_of_the_teacher(scale: float) -> None:
    """A teacher whose stages put out ten times as much, with aligners that do so too."""
    found = []
    for factor in (1.0, scale):
        torch.manual_seed(0)
        method = build(teacher=tiny.VIT, feature_norm="variance", prompt_depth=0, feedback="none").eval()
        seen = method.judge

        def louder(*given: object, factor: float = factor, seen: object = seen) -> object:
            judged = seen(*given)  # type: ignore[operator]
            return type(judged)(judged.logits, tuple(factor * x for x in judged.maps))

        method.judge = louder
        for align in method.align:
            align.project.weight.data *= factor
            align.project.bias.data *= factor
        losses = method(*batch())
        found.append((losses["feature"].item(), [losses[f"explained_{i}"].item() for i in (1, 2, 3, 4)]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4) and found[0][1] == pytest.approx(found[1][1], rel=1e-3)


@pytest.mark.parametrize("norm", ["none", "variance"])
def test_maps_can_be_compared_by_regions(norm: str) -> None:
    """The target is averaged over each region's cell; where a region is smaller than a position, by position."""
    method = build(feature_size="regions", feature_norm=norm, prompt_depth=0, feedback="none", regions=16)
    images, targets = batch()
    losses = method(images, targets)
    student, teacher = method.student_taps(images), method.teacher_taps(method.for_teacher(images))
    assert {grid for grid in method.grids} == {(2, 2)} and teacher.maps[0].shape[-1] > 2
    stages = []
    for align, x, like in zip(method.align, method.attention(student.maps), teacher.maps, strict=True):
        size = [min(side, 2) for side in like.shape[-2:]]
        target = torch.nn.functional.adaptive_avg_pool2d(like, size)
        loss = hcl_loss(pooled(resize(align(x), like.shape[-2:]), size), target)
        stages.append(loss / target.var((0, 2, 3), correction=0).mean() if norm == "variance" else loss)
    expected = torch.stack(stages).mean() if norm == "variance" else sum(stages)
    torch.testing.assert_close(losses["feature"], expected.detach())


def test_detail_within_a_region_costs_nothing_when_maps_are_compared_by_regions() -> None:
    found = []
    for size in ("teacher", "regions"):
        method = build(feature_size=size, prompt_depth=0, feedback="none", regions=(1, 1, 1, 1)).eval()
        seen = method.judge

        def detailed(*given: object, seen: object = seen) -> object:
            judged = seen(*given)  # type: ignore[operator]
            checks = [
                (torch.arange(x.shape[3]) % 2 * 2 - 1) * 3.0 if x.shape[3] > 1 else torch.zeros(1) for x in judged.maps
            ]
            return type(judged)(judged.logits, tuple(x + check for x, check in zip(judged.maps, checks, strict=True)))

        plain = method(*batch())["feature"]
        method.judge = detailed
        found.append((plain.item(), method(*batch())["feature"].item()))
    assert found[0][1] > 1.5 * found[0][0] and found[1][1] == pytest.approx(found[1][0], rel=1e-4)


@pytest.mark.parametrize(("stages", "compared"), [(0, (0, 1, 2, 3)), (2, (2, 3)), (5, (0, 1, 2, 3)), ((1, 4), (0, 3))])
def test_stages_can_be_chosen(stages: int | tuple[int, ...], compared: tuple[int, ...]) -> None:
    """The others have neither aligner nor feedback, their prompts learn by the later ones and L_Reg."""
    method = strengthened(build(feature_stages=stages))
    for seed in (0, 1):
        losses = method(*batch(seed=seed))
    losses["loss"].backward()
    assert method.compared_stages == compared and len(method.align) == len(compared)
    assert {name for name in losses if name.startswith("kept")} == {f"kept_{i + 1}" for i in compared}
    assert {name for name in method.state_dict() if name.startswith("feedback")} == {f"feedback_{i}" for i in compared}
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_drift_holds_the_maps() -> None:
    """With its weight alone, prompts that have moved go back; without it nothing but L_FD and L_Reg moves them."""
    options = {"kd_weight": 0.0, "feature_weight": 0.0, "regularisation_weight": 0.0, "feedback": "none"}
    torch.manual_seed(0)
    method = strengthened(build(drift_weight=1.0, **options), 1.0)
    optimizer = torch.optim.Adam(method.prompts.parameters(), lr=0.01)
    drifts = []
    for _ in range(12):
        optimizer.zero_grad()
        losses = method(*batch())
        losses["loss"].backward()
        optimizer.step()
        drifts.append(losses["drift"].item())
    assert drifts[0] > 0 and drifts[-1] < 0.5 * drifts[0]
    torch.manual_seed(0)
    free = strengthened(build(**options), 1.0)
    losses = free(*batch())
    losses["loss"].backward()
    assert losses["drift"].item() == pytest.approx(drifts[0], rel=1e-5)
    assert all(p.grad is None or not p.grad.any() for p in free.prompts.parameters())


def test_a_restandardised_target_keeps_the_plain_variance() -> None:
    method = strengthened(build(restandardise=True, feedback="none"), 2.0)
    images, targets = batch()
    compared: list[tuple[torch.Tensor, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pat.methods.pat.hcl_loss", lambda *pair: compared.append(pair) or pair[0].sum())
        losses = method(images, targets)
    plain = method.teacher_taps(method.for_teacher(images)).maps
    for (_, target), own in zip(compared, plain, strict=True):
        torch.testing.assert_close(moments(target).mean, moments(own).mean, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(moments(target).spread, moments(own).spread, rtol=1e-2, atol=1e-5)
        assert not torch.allclose(target, own, rtol=1e-2)
    assert any(abs(losses[f"kept_{i}"] - 1) > 0.01 for i in (1, 2, 3, 4)), "what the prompts did is said before that"


def test_the_feature_weight_warms_up_in_training_alone() -> None:
    method, plain = (
        build(feature_warmup=steps, kd_weight=0.0, regularisation_weight=0.0, feedback="none") for steps in (4, 0)
    )
    images, targets = batch()
    for step in range(6):
        method.eval()(images, targets)
        losses = method.train()(images, targets)
        expected = losses["ce"] + min(1, (step + 1) / 4) * losses["feature"]
        torch.testing.assert_close(losses["loss"].detach(), expected)
    assert method.step == 6 and "step" not in plain.state_dict()


@pytest.mark.parametrize("name", ["warmup", "balanced"])
def test_a_run_goes_on_to_the_bit(name: str, tmp_path: Path, teacher_file: Path) -> None:
    """In the middle of its warm-up, too: three epochs of six steps."""
    options = {
        "warmup": {"feature_warmup": 10, "drift_weight": 1.0, "restandardise": True},
        "balanced": {"variant": "balanced"},
    }
    config = tiny.config(method="pat", epochs=3, options={**tiny.SMALL_PAT, **options[name]})
    whole = tiny.run(config, tmp_path / "whole", teacher_file)
    for until in (1, 2, 3):
        parts = tiny.run(config, tmp_path / "parts", teacher_file, until=until)
    assert parts.student_sha256 == whole.student_sha256
    assert [row["parts"] for row in parts.history] == [row["parts"] for row in whole.history]
    assert timeless(parts.history) is not None


@pytest.mark.parametrize("student", [tiny.BATCHNORM, tiny.VIT])
def test_hints_over_the_teacher_s_variance(student: str) -> None:
    """They couple images; as published they do not."""
    models, (images, targets) = [create_model(name, 10, 32) for name in (student, tiny.CNN)], batch()
    method = create_method("fitnet", *models, tiny.task(), feature_norm="variance").eval()
    own, theirs = method.student_taps(images).maps, method.teacher_taps(method.for_teacher(images)).maps
    shares = [
        hint_loss(resize(align(x), like.shape[-2:]), like) / like.var((0, 2, 3), correction=0).mean()
        for align, x, like in zip(method.align, own, theirs, strict=True)
    ]
    torch.testing.assert_close(method(images, targets)["hint"], torch.stack(shares).mean().detach())
    assert method.couples_samples and not create_method("fitnet", *models, tiny.task()).couples_samples


def test_prompts_learn_at_their_own_rate(tmp_path: Path, teacher_file: Path) -> None:
    """At so many times the recipe's, through its schedule, with its weight decay; all else of a step is the same."""

    def training(folder: str, **options: object) -> tuple[Training, RunConfig]:
        recipe = {"ema_decay": 0.0, "optimizer": "sgd", "weight_decay": 0.5, "clip_grad": 1.0}
        given = {**tiny.SMALL_PAT, "feedback": "none", **options}
        config = tiny.config(tiny.MLP, "pat", options=given, recipe={**recipe, "schedule": "step", "decay_epochs": 1})
        return Training(config, LocalIO(tmp_path / folder), load(config.data, tmp_path), teacher_file, None), config

    plain, config = training("plain")
    assert plain.method.groups() == () and len(plain.optimizer.param_groups) == 2
    (slow, other), (still, third) = training("slow", prompt_lr=0.25), training("still", prompt_lr=0.0)
    batch = torch.randn(16, 3, 32, 32), torch.eye(10)[torch.arange(16) % 10], torch.arange(16)
    for made in (plain, slow, still):
        strengthened(made.method)
        made.schedule.step_update(7)  # in the second epoch, at a tenth of the rate
    before = {name: value.detach().clone() for name, value in plain.method.named_parameters()}
    for made, settings in ((plain, config), (slow, other), (still, third)):
        train_step(made, settings, *batch, 0)
    states = [dict(made.method.named_parameters()) for made in (plain, slow, still)]
    steps = [torch.cat([(s[n] - before[n]).flatten() for n in before if n.startswith("prompts.")]) for s in states]
    assert steps[0].abs().max() > 1e-5 and not steps[2].any()
    torch.testing.assert_close(steps[1], steps[0] / 4, rtol=1e-3, atol=1e-7)
    for name in before:
        if not name.startswith("prompts."):
            assert all(torch.equal(state[name], states[0][name]) for state in states)


def test_a_rate_of_the_prompts_is_part_of_a_run_where_it_is_not_the_recipe_s() -> None:
    usual = tiny.config(method="pat")
    assert "prompt_lr" not in usual.method.to_dict()["options"] and usual.method.options["prompt_lr"] == 1.0
    assert tiny.config(method="pat", options={**tiny.SMALL_PAT, "prompt_lr": 1}).run_id == usual.run_id
    assert tiny.config(method="pat", options={**tiny.SMALL_PAT, "prompt_lr": 0.1}).run_id != usual.run_id
    with pytest.raises(ConfigError, match="prompt_lr = -0.1: not negative"):
        build(prompt_lr=-0.1)
