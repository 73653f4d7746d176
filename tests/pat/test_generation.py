"""Masked images as a task, and the methods that learn from them: masks, targets, losses, decoder, score, runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pat.config import ConfigError, Data, Recipe, RunConfig, Task, Teacher
from pat.config import Method as MethodPart
from pat.data import Split, load
from pat.decoder import Decoder
from pat.io import LocalIO
from pat.losses import generation_loss, normalised_patches, normalised_tokens
from pat.memory import NO_MEASURES, next_measures
from pat.methods import check_task, create_method, list_methods
from pat.sparse import SparseError, Visible
from pat.tasks import create_task, task_on
from pat.train import train
from tests import tiny
from tests.pat import dense_tasks as dense

DATA = Data("tiny", 32, validation=0.2)
WIDE = create_task(Task("generation"), Data("tiny", 128), 10)
TASK = Task("generation", {"cell": 8, "stride": 4})
STUDENT, TEACHER = "convnext_nano_patch1_32", "vit_micro_patch4_32"
RECIPE = Recipe(epochs=2, batch_size=16, lr=2e-3, optimizer="adamw", crop_scale=(0.6, 1.0), flip=0.5)


def made(**options: Any) -> Any:
    return create_task(Task("generation", {**TASK.options, **options}), DATA, 10)


def config(method: str, **fields: Any) -> RunConfig:
    teacher = Teacher(TEACHER, "run:0123456789abcdef") if method == "hgkd" else None
    part = MethodPart(method, {"width": 16, **fields.pop("options", {})})
    return RunConfig(STUDENT, DATA, fields.pop("recipe", RECIPE), part, teacher, task=TASK, **fields)


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier for three classes: whatever its head, it is a teacher."""
    torch.manual_seed(3)
    model = timm.create_model(TEACHER, num_classes=3, img_size=32)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file({name: x.contiguous() for name, x in model.state_dict().items()}, path)
    return path


def method(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    task = made()
    teacher = task.build(TEACHER, 0) if name == "hgkd" else None
    return create_method(name, task.student(STUDENT, 0), teacher, task, width=8, **options)


def batch(images: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(images, 3, 32, 32, generator=generator), made().order(torch.arange(images), 0, 0)


def shown(order: Tensor) -> Visible:
    """Six of sixteen, as at the ratio 0.6."""
    return Visible(order[:, :6].sort(1).values, made().grid)


def test_what_is_hidden_is_a_function_of_seed_epoch_and_image() -> None:
    task, indices = made(), torch.arange(200)
    cells = task.order(indices, 0, 0)
    assert torch.equal(cells.sort(1).values, torch.arange(16).expand(200, 16))
    assert torch.equal(task.order(indices.flip(0)[:7], 0, 0), cells.flip(0)[:7]), "whatever else is in the batch"
    for other in (task.order(indices, 1, 0), task.order(indices, 0, 1), task.order(indices + 1, 0, 0)):
        assert (other != cells).any(1).float().mean() > 0.9
    assert [task.visible(ratio) for ratio in (0.5, 0.6, 0.75)] == [8, 6, 4]
    often = torch.bincount(cells[:, :6].flatten(), minlength=16) / 200
    assert (often - 6 / 16).abs().max() < 0.15, "every cell as often as another"


@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("kind", ["smooth_l1", "mse", "cosine"])
def test_losses_against_their_literal_versions(kind: str, positions: str) -> None:
    generator = torch.Generator().manual_seed(0)
    found, target = (3 * torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    hidden = torch.rand(2, 1, 4, 6, generator=generator) < 0.5
    values = []
    for b in range(2):
        for y in range(4):
            for x in range(6):
                if positions == "masked" and not hidden[b, 0, y, x]:
                    continue
                f, t = found[b, :, y, x].tolist(), target[b, :, y, x].tolist()
                if kind == "cosine":
                    dot = sum(a * c for a, c in zip(f, t, strict=True))
                    values.append(1 - dot / (sum(a * a for a in f) * sum(c * c for c in t)) ** 0.5)
                    continue
                apart = [abs(a - c) for a, c in zip(f, t, strict=True)]
                each = [d * d for d in apart] if kind == "mse" else [d * d / 4 if d < 2 else d - 1 for d in apart]
                values.append(sum(each) / 5)
    assert float(generation_loss(found, target, hidden, kind, positions)) == pytest.approx(
        sum(values) / len(values), rel=1e-5
    )


def test_targets_against_their_literal_versions() -> None:
    images = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    found = normalised_patches(images, 4)
    assert found.shape == (2, 48, 2, 3)
    patch = images[1, :, 4:8, 8:12].flatten().double()
    wanted = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
    torch.testing.assert_close(found[1, :, 1, 2].double(), wanted, rtol=1e-5, atol=1e-5)
    tokens = normalised_tokens(images)
    pixel = images[0, :, 3, 7].double()
    wanted = (pixel - pixel.mean()) / (pixel.var(unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(tokens[0, :, 3, 7].double(), wanted, rtol=1e-5, atol=1e-5)


def test_the_decoder_reads_no_hole() -> None:
    one = method("spark")
    images, cells = batch()
    visible = shown(cells)
    maps = [x.detach() for x in one.sparse(images, visible).maps]
    broken = [x.masked_fill(visible.hidden((x.shape[2], x.shape[3])), torch.nan) for x in maps]
    found = one.decoder(maps, visible)
    assert found.shape == (4, 3 * 4 * 4, 8, 8) and torch.equal(found, one.decoder(broken, visible))
    assert isinstance(one.decoder, Decoder) and len(one.decoder.enlarge) == len(one.decoder.densify) - 1
    with pytest.raises(ValueError, match="7 is not among them"):
        Decoder(one.sparse.taps.stages, 7, 8, 3)


@pytest.mark.parametrize("name", ["spark", "hgkd"])
def test_every_weight_learns_and_the_teacher_does_not(name: str) -> None:
    one = method(name).train()
    frozen = {k: v.clone() for k, v in one.teacher.state_dict().items()} if one.teacher else {}
    images, cells = batch()
    losses = one(images, cells, torch.arange(4))
    losses["loss"].backward()
    assert losses["loss"].ndim == 0 and torch.isfinite(losses["loss"])
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in one.decoder.parameters())
    assert sum(p.grad is not None for p in one.student.parameters()) > 10
    assert all(torch.equal(v, frozen[k]) for k, v in (one.teacher.state_dict() if frozen else {}).items())
    changed = images.clone()
    hidden = shown(cells).hidden((32, 32)).expand_as(images)
    changed[hidden] = changed[hidden].flip(0)
    again = one(changed, cells, torch.arange(4))["loss"]
    assert not torch.equal(again, losses["loss"].detach()), "the target is of the whole image"


def test_the_teacher_s_target_is_its_last_block_for_the_whole_image() -> None:
    one = method("hgkd")
    one.teacher_scale.mul_(2)  # a teacher of other pixel statistics
    images, _ = batch()
    tokens = one.teacher.forward_intermediates(one.for_teacher(images), norm=False, intermediates_only=True)[-1]
    torch.testing.assert_close(one.target(images), normalised_tokens(tokens))
    assert one.channels(one.task) == 48


def test_the_score_is_the_explained_share_of_what_is_hidden() -> None:
    """Against numbers put together by hand; the channels' means explain nothing, the target itself everything."""
    task = made()
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(70, 5, 8, 8, generator=generator) + torch.arange(5.0)[:, None, None]
    split = Split(torch.zeros(70, 3, 32, 32, dtype=torch.uint8), torch.zeros(70, dtype=torch.int64))
    hidden = shown(task.order(torch.arange(70), 0, -1)).hidden((8, 8))
    rows = truth.permute(0, 2, 3, 1)[hidden[:, 0]]

    def scored(answer: Tensor) -> float:
        places = iter(torch.arange(70).split(64))

        def guess(images: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            at = next(places)
            torch.testing.assert_close(shown(cells).hidden((8, 8)), hidden[at])
            return answer[at], truth[at], hidden[at], torch.tensor(2.0)

        score = task.explained(guess, task.student(STUDENT, 0), split)
        assert score.loss == pytest.approx(2.0)
        return score.score

    assert scored(truth) == pytest.approx(100)
    assert scored(rows.mean(0)[:, None, None].expand_as(truth)) == pytest.approx(0, abs=1e-4)
    half = truth + torch.randn(truth.shape, generator=generator)
    missed = (half.permute(0, 2, 3, 1)[hidden[:, 0]] - rows).square().sum()
    wanted = 100 * (1 - missed / (rows - rows.mean(0)).square().sum())
    assert scored(half) == pytest.approx(float(wanted), abs=1e-3)


@pytest.mark.parametrize("name", ["spark", "hgkd"])
def test_a_run_learns_exports_timm_s_model_and_goes_on_bit_for_bit(
    name: str, tmp_path: Path, teacher_file: Path
) -> None:
    one = config(name, recipe=replace(RECIPE, ema_decay=0.9 if name == "spark" else 0.0))
    file = teacher_file if name == "hgkd" else None
    whole = train(one, LocalIO(tmp_path / "whole"), teacher_file=file)
    train(one, LocalIO(tmp_path / "cut"), teacher_file=file, until=1)
    cut = train(one, LocalIO(tmp_path / "cut"), teacher_file=file)
    assert whole.status == "finished" and whole.student_sha256 == cut.student_sha256
    losses = [row["train_loss"] for row in whole.history]
    assert losses[-1] < losses[0] and [row["train_loss"] for row in cut.history] == losses
    assert whole.results["val_last_raw"] == whole.results["val_last_raw"] and not whole.test_correct
    state = load_file(tmp_path / "whole" / "student.safetensors")
    plain = timm.create_model(STUDENT, num_classes=0)
    plain.load_state_dict(state)
    if name == "hgkd":
        return
    start = tiny.config(STUDENT, epochs=1, initial=f"run:{one.run_id}")
    tuned = tiny.run(start, tmp_path / "tuned", initial_file=tmp_path / "whole" / "student.safetensors")
    assert tuned.status == "finished" and tuned.initial_sha256 == whole.student_sha256


def test_what_does_not_suit_is_one_line() -> None:
    for options, message in (
        ({"cell": 12}, "task.cell = 12: pixels that divide the image size, 32"),
        ({"stride": 5}, "task.stride = 5: pixels that divide a cell of 8"),
    ):
        with pytest.raises(ConfigError, match=message):
            made(**options)
    with pytest.raises(ConfigError, match="'resnet18' has stages of stride 4, 8, 16, 32; the cell must be"):
        made().check("resnet18", RECIPE, "")
    with pytest.raises(ConfigError, match="recipe.mixup = 0.8: generation has no use for it"):
        WIDE.check("resnet18", replace(RECIPE, mixup=0.8), "")
    WIDE.check("resnet18", RECIPE, "")
    with pytest.raises(ConfigError, match="ratio = 0.99: of 4 x 4 cells some must be hidden, and some visible"):
        method("spark", ratio=0.99)
    task = made(stride=8)
    with pytest.raises(ConfigError, match="task.stride = 8: 4 x 4 positions, and the teacher's maps have 8 x 8; it"):
        create_method("hgkd", task.student(STUDENT, 0), task.build(TEACHER, 0), task)
    with pytest.raises(
        SparseError, match=r"model 'vit_nano_patch8_32' cannot be sparse: 'patch_embed' \(PatchEmbed\) takes no"
    ):
        create_method("spark", made().student("vit_nano_patch8_32", 0), None, made())


def test_which_methods_serve_it() -> None:
    assert list_methods("generation") == ["hgkd", "spark"]
    assert not {"hgkd", "spark"} & {*list_methods("classification"), *list_methods("segmentation")}
    with pytest.raises(
        ConfigError, match="method 'kd': only for tasks that a model can learn by itself; for generation"
    ):
        check_task("kd", "generation")
    with pytest.raises(ConfigError, match="method 'spark': only for generation; for classification there are"):
        check_task("spark", "classification")
    assert next_measures(NO_MEASURES, method("spark"), 8) is None, "its activations are not those of a plain pass"


def test_all_workers_together_see_what_one_sees() -> None:
    task, dataset = made(), load(DATA, Path())
    student, batches = task.student(STUDENT, 0), torch.arange(16).view(2, 8)

    def views(rank: int, world: int) -> Iterator[Any]:
        return task.views(dataset.train, batches, RECIPE, student, 0, 1, rank, world)

    for whole, *parts in zip(views(0, 1), views(0, 2), views(1, 2), strict=True):
        for place in range(3):
            assert torch.equal(whole[place], torch.cat([part[place] for part in parts]))
    blank = task.blank(3, torch.device("cpu"))
    assert blank.images.shape == (3, 3, 32, 32) and blank.targets.shape == (3, 16)
    assert task_on(TASK, DATA, dataset).grid == (4, 4)


@pytest.mark.parametrize("name", ["classification", "detection", "segmentation"])
def test_training_of_every_task_begins_with_it(name: str, tmp_path: Path) -> None:
    """Whatever is known of the images, they can be hidden in part; the encoder is the backbone of what follows."""
    kind = "segmentation" if name == "classification" else name
    task = Task("generation", {"cell": 32, "stride": 16})
    recipe, method = replace(RECIPE, epochs=1, batch_size=4), MethodPart("spark", {"width": 8, "ratio": 0.5})
    before = RunConfig(dense.STUDENT, dense.data(kind), recipe, method, task=task)
    whole = train(before, LocalIO(tmp_path / "before"), data_root=dense.root())
    file = tmp_path / "before" / "student.safetensors"
    assert whole.status == "finished" and whole.results["test_last_raw"] < 100
    initial = f"run:{before.run_id}"
    if name == "classification":
        after = tiny.config(dense.STUDENT, epochs=1, initial=initial)
    else:
        after = dense.config(name, "scratch", replace(dense.RECIPE, epochs=1), initial=initial)
    outcome = train(after, LocalIO(tmp_path / "after"), initial_file=file, data_root=dense.root())
    assert outcome.status == "finished" and outcome.initial_sha256 == whole.student_sha256
    model: Any = task_on(after.task, after.data, load(after.data, dense.root())).student(
        dense.STUDENT, 0, initial, file
    )
    backbone, learnt = getattr(model, "backbone", model).state_dict(), load_file(file)
    assert learnt.keys() <= backbone.keys() and all(torch.equal(backbone[key], x) for key, x in learnt.items())


@pytest.mark.slow
def test_sixty_steps_beat_the_mean_map(tmp_path: Path) -> None:
    """ResNet-18 on 128 digits at 128 px, an untrained ViT for a target: what is hidden is guessed better than by the
    mean map of the target."""
    data = Data("digits", 128)
    task = create_task(Task("generation"), data, 10)
    torch.manual_seed(0)
    teacher = task.build("vit_tiny_patch16_224", 0)
    one = create_method("hgkd", task.student("resnet18", 0), teacher, task, positions="masked").train()
    optimizer = torch.optim.AdamW([p for p in one.parameters() if p.requires_grad], 1e-3)
    images = torch.nn.functional.interpolate(
        torch.stack([*load(Data("digits", 32), Path()).train.images[:128]]).float(), 128
    )  # type: ignore[attr-defined]
    images = (images / 255 - 0.45) / 0.22
    losses = []
    for step in range(60):
        at = torch.arange(32) + 32 * (step % 4)
        loss = one(images[at], task.order(at, 0, step // 4), at)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        target = torch.cat([one.target(part) for part in images.split(32)])
    hidden = shown(task.order(torch.arange(128), 0, 15)).hidden((8, 8))
    mean = float(generation_loss(target.mean(0, keepdim=True).expand_as(target), target, hidden, "smooth_l1", "masked"))
    print(f"masked smooth L1: {losses[0]:.4f} -> {sum(losses[-4:]) / 4:.4f}, the mean map {mean:.4f}")
    assert sum(losses[-4:]) / 4 < mean < losses[0]
