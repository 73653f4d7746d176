"""What only a GPU can show: the same pixels and losses as on the CPU, bf16, and memory that really runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pat.config import Recipe
from pat.counter import hash64
from pat.data import load, own_data
from pat.io import LocalIO
from pat.memory import Measures, OutOfMemory
from pat.models import normalisation
from pat.train import train
from pat.training import Training
from pat.views import dense_views, epoch_batches, train_views
from tests import tiny
from tests.pat import dense_tasks
from tests.pat.dense_sets import box_folder, mask_folder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
RICH = {"auto_augment": "rand-m9-mstd0.5-inc1", "random_erasing": 0.25, "mixup": 0.8, "cutmix": 1.0, "flip": 0.5}


def test_random_numbers_are_those_of_the_cpu() -> None:
    index = torch.arange(1000)
    assert torch.equal(hash64(3, index, 5), hash64(3, index.cuda(), 5).cpu())


@pytest.mark.parametrize("recipe", [{}, RICH], ids=["plain", "rich"])
def test_views_are_those_of_the_cpu(recipe: dict[str, object]) -> None:
    """But for rounding: a level of 255 here and there."""
    config = tiny.config(recipe=recipe)
    found = {}
    for device in (CPU, GPU):
        dataset = load(config.data, Path()).to(device)
        batches = epoch_batches(len(dataset.train), 16, seed=1, epoch=2)
        model = torch.nn.Linear(1, 1)
        model.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}  # type: ignore[assignment]
        views = train_views(
            dataset.train, batches, config.recipe, 32, dataset.num_classes, normalisation(model), 1, 2, 0, 1
        )
        found[device.type] = [(images.cpu().float(), targets.cpu()) for _, images, targets in views]
    for (one, ones), (other, others) in zip(found["cpu"], found["cuda"], strict=True):
        assert torch.allclose(ones, others, atol=1e-6)
        off = (one - other).abs()
        assert off.max() <= 2.01 and (off > 0.5).float().mean() < 0.01, (off.max(), (off > 0.5).float().mean())


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_whole_images_are_those_of_the_cpu(kind: str, tmp_path: Path) -> None:
    """But for rounding; and on a GPU, too, a view does not depend on its neighbours. Targets are the same."""
    path = box_folder(tmp_path / "farm") if kind == "boxes" else mask_folder(tmp_path / "streets")
    split = load(own_data(path, 32, 0.0), tmp_path).test
    recipe = Recipe(epochs=1, batch_size=10, lr=0.1, interpolation="random", flip=0.5, sizes=(40, 60), color_jitter=0.4)
    arguments = (recipe, 48, 90, 0, ((0.0,) * 3, (1 / 255,) * 3), 3, 5)
    whole = torch.arange(10)[None]
    (here,), (there,) = (dense_views(split.to(device), whole, *arguments) for device in (CPU, GPU))
    off = (here.images - there.images.cpu()).abs()
    assert off.max() <= 2.01 and (off > 0.5).float().mean() < 0.01, (off.max(), (off > 0.5).float().mean())
    for name in ("sizes", "keys", "labels", "boxes") if kind == "boxes" else ("sizes", "masks"):
        found = getattr(there.targets, name)
        assert found.is_cuda and torch.equal(found.cpu(), getattr(here.targets, name))
    for place, alone in enumerate(dense_views(split.to(GPU), whole.T, *arguments)):
        height, width = here.targets.sizes[place].tolist()
        assert torch.equal(alone.images[0, :, :height, :width], there.images[place, :, :height, :width])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", tiny.METHODS)
def test_an_epoch_is_that_of_the_cpu(tmp_path: Path, teacher_file: Path, method: str, precision: str) -> None:
    config = tiny.config(method=method, epochs=1, recipe={"precision": precision})
    teacher = teacher_file if config.teacher else None
    losses = {}
    for device in (CPU, GPU):
        outcome = train(config, LocalIO(tmp_path / device.type, device=device), teacher_file=teacher)
        assert outcome.status == "finished" and (outcome.peak_memory > 0) == (device == GPU)
        losses[device.type] = outcome.history[0]["train_loss"]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=2e-3 if precision == "fp32" else 3e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", dense_tasks.METHODS)
@pytest.mark.parametrize("task", dense_tasks.OPTIONS)
def test_whole_images_are_learnt_as_on_the_cpu(tmp_path: Path, task: str, method: str, precision: str) -> None:
    """One epoch of a few steps. Rounding chooses other proposals here and there."""
    recipe = replace(dense_tasks.RECIPE, epochs=1, batch_size=2, lr=1e-4, precision=precision)
    trained = replace(dense_tasks.config(task, "scratch", recipe), student=dense_tasks.TEACHER)
    train(trained, LocalIO(tmp_path / "teacher"), data_root=dense_tasks.root())
    config = dense_tasks.config(task, method, recipe)
    teacher = tmp_path / "teacher" / "student.safetensors" if config.teacher else None
    losses = {}
    for device in (CPU, GPU):
        io = LocalIO(tmp_path / device.type, device=device)
        outcome = train(config, io, data_root=dense_tasks.root(), teacher_file=teacher)
        assert outcome.status == "finished" and (outcome.peak_memory > 0) == (device == GPU)
        losses[device.type] = outcome.history[0]["train_loss"]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=3e-2 if precision == "fp32" else 1e-1)


def test_a_run_resumes_on_a_gpu(tmp_path: Path, teacher_file: Path) -> None:
    config = tiny.config(method="pat", epochs=2)
    paused = train(config, LocalIO(tmp_path, device=GPU), until=1, teacher_file=teacher_file)
    assert paused.status == "paused"
    assert train(config, LocalIO(tmp_path, device=GPU), teacher_file=teacher_file).status == "finished"


def test_memory_that_runs_out(tmp_path: Path) -> None:
    """A batch that fits only in parts: each refusal names the next measure, and the last one trains."""
    config = tiny.config("vit_base_patch16_224", epochs=1, recipe={"batch_size": 96, "ema_decay": 0.0})
    config = replace(config, data=replace(config.data, image_size=224))
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(5.0e9 / total)
    given, tried = Measures(), []
    try:
        while True:
            try:
                outcome = train(config, LocalIO(tmp_path, device=GPU), measures=given)
                break
            except OutOfMemory as problem:
                assert problem.measures is not None, str(problem)
                given = problem.measures
                tried.append(str(given))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tried[0] == "checkpointing" and outcome.status == "finished" and outcome.measures == tried[-1]
    assert outcome.peak_memory <= 5.1e9


def test_checkpointing_saves_memory(tmp_path: Path) -> None:
    config = tiny.config("vit_small_patch16_224", epochs=1, recipe={"batch_size": 64, "ema_decay": 0.0})
    config = replace(config, data=replace(config.data, image_size=224))
    peaks = []
    for number, measures in enumerate((Measures(), Measures(True), Measures(True, 4))):
        outcome = train(config, LocalIO(tmp_path / str(number), device=GPU), measures=measures)
        peaks.append(outcome.peak_memory)
        torch.cuda.empty_cache()
    assert peaks[1] < 0.7 * peaks[0] and peaks[2] < 0.7 * peaks[1], peaks


def test_training_holds_everything_on_the_gpu() -> None:
    config = tiny.config()
    training = Training(config, LocalIO(Path("/tmp"), device=GPU), load(config.data, Path()).to(GPU), None, None)
    assert {p.device.type for p in training.method.parameters()} == {"cuda"}


@pytest.mark.parametrize("method", ["scratch", "kd", "crd", "pat"])
def test_a_captured_step_learns_as_one_that_is_launched(
    method: str, tmp_path: Path, teacher_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for the rounding of the rate; and it is recorded, not done step by step."""
    config, found = tiny.config(tiny.BATCHNORM, method), {}
    for captured in (False, True):
        io = LocalIO(tmp_path / f"{captured}", device=GPU)
        file = None if config.teacher is None else teacher_file
        found[captured] = train(config, io, teacher_file=file, captured=captured)
    assert "not captured" not in capsys.readouterr().err
    for one, other in zip(found[False].history, found[True].history, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=0.02)
        assert other["val_loss_ema"] == pytest.approx(one["val_loss_ema"], rel=0.02)
