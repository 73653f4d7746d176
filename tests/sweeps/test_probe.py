"""Probes on the tiny set: what they find is what a run takes, and nothing of them stays behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import small_study
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import pat.plain
import pat.views.pipeline
import sweeps.costs.probe
import sweeps.costs.shared
from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Task, Teacher
from pat.data import Split, load
from pat.io import CHECKPOINT, LocalIO
from pat.methods import create_method
from pat.steps import train_step
from pat.tasks import create_task
from pat.training import Training
from sweeps.configs import default_options, student_run
from sweeps.costs.flops import Work, _counted, count
from sweeps.costs.probe import device_name, probe
from sweeps.costs.probe_file import FILE, Probe, read_probes, write_probes
from sweeps.costs.probing import Kind, probe_on_ray
from sweeps.costs.shapes import _convolution_backward
from sweeps.costs.sizes import checkpoint_bytes, student_bytes
from sweeps.presets import preset
from sweeps.study import Cell
from tests import tiny

CPU = torch.device("cpu")
BATCH = 16


def probed(tmp_path: Path, method: str = "kd", **rest: Any) -> Probe:
    return probe(tiny.config(method=method), tmp_path, None, CPU, **{"steps": 2, **rest})


def test_a_probe_needs_no_teacher_and_says_what_an_epoch_takes(tmp_path: Path) -> None:
    found = probed(tmp_path)
    assert found.cell == Cell(tiny.CNN, tiny.VIT, "kd") and found.fits
    assert (found.device, found.batch, found.share) == (device_name(CPU), BATCH, BATCH) and found.steps >= 2
    assert found.epoch_seconds == pytest.approx(6 * found.step_seconds + found.score_seconds)  # 99 images
    assert found.score_seconds > 0 and found.peak_bytes is not None


@pytest.mark.parametrize("method", ["scratch", "kd", "pat"])
def test_a_probe_says_what_is_shared(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views take two seconds, a pass of the teacher one, a step of the student four on a clock of the test's own."""
    now = [0.0]
    monkeypatch.setattr(sweeps.costs.shared, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow(of: Any, name: str, seconds: float) -> None:
        call = getattr(of, name)

        def slower(*args: Any, **rest: Any) -> Any:
            now[0] += seconds
            return call(*args, **rest)

        monkeypatch.setattr(of, name, slower)

    slow(sweeps.costs.shared, "train_step", 4.0)
    slow(pat.plain, "answers", 1.0)
    slow(pat.views.pipeline, "_crops", 2.0)
    found, asked = probed(tmp_path, method=method), method != "scratch"
    steps, trained = 6 + asked, 6 * found.step_seconds
    assert found.views_seconds == pytest.approx(trained * 2 / steps)
    assert found.plain_seconds == pytest.approx(trained * asked / steps)


def test_the_bytes_are_those_of_the_files(tmp_path: Path) -> None:
    config = tiny.config(tiny.BATCHNORM)
    training = Training(config, LocalIO(tmp_path), load(config.data, tmp_path), None, None)
    indices, images = torch.arange(4), torch.zeros(4, 3, 32, 32)
    train_step(training, config, images, torch.full((4, 10), 0.1), indices, 0)
    state = training.state(config)
    training.io.report([], state)
    training.io.export(training.product())
    assert checkpoint_bytes(state) == pytest.approx((tmp_path / CHECKPOINT).stat().st_size, rel=0.005)
    assert student_bytes(training.product()) == (tmp_path / "student.safetensors").stat().st_size
    counted = count(config, 10)
    assert counted.student_bytes == pytest.approx(student_bytes(training.product()), rel=0.05)
    assert counted.checkpoint_bytes == pytest.approx(checkpoint_bytes(state), rel=0.1)


def test_a_probe_leaves_random_numbers_and_threads_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    probed(tmp_path, method="scratch")
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 2


def test_a_probe_fetches_no_initial_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    create = sweeps.costs.probe.Training.__init__

    def watched(self: Training, config: Any, *rest: Any) -> None:
        asked.append(config.initial)
        create(self, config, *rest)

    monkeypatch.setattr(sweeps.costs.probe.Training, "__init__", watched)
    probe(tiny.config(initial=f"timm:{tiny.VIT}.none"), tmp_path, None, CPU, steps=2)
    assert asked == [""]


def test_the_identity_of_a_teacher_that_is_not_here_is_not_asked_for(tmp_path: Path) -> None:
    config = tiny.config(method="kd", teacher=Teacher(tiny.CNN, "sha256:" + "0" * 64))
    assert probe(config, tmp_path, None, CPU, steps=2).epoch_seconds > 0


def refusing(most: int) -> Callable[..., Any]:
    """A training step that runs out of memory with more than `most` images."""

    def step(training: Training, config: Any, images: torch.Tensor, *rest: Any) -> Any:
        if len(images) > most:
            raise torch.OutOfMemoryError("made to fail")
        return train_step(training, config, images, *rest)

    return step


@pytest.mark.parametrize(("most", "workers"), [(16, 1), (8, 2), (5, 4), (0, 0)])
def test_running_out_of_memory_is_a_result(
    most: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps.costs.probe, "train_step", refusing(most))
    found = probed(tmp_path, method="scratch")
    assert (found.asked_workers, found.workers, found.fits) == (1, workers, workers == 1)
    if workers:
        assert found.share == BATCH // workers
        assert found.epoch_seconds == pytest.approx(6 * workers * found.step_seconds + found.score_seconds)
    else:
        assert found.epoch_seconds == 0 and found.peak_bytes is None


def test_a_run_of_two_workers_is_probed_with_half_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps.costs.probe, "train_step", refusing(8))
    found = probed(tmp_path, method="scratch", workers=2)
    assert (found.workers, found.share, found.fits) == (2, 8, True)


def test_other_errors_are_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="batch_size = 512"):
        probe(tiny.config(recipe={"batch_size": 512}), tmp_path, None, CPU)


def test_a_slow_device_does_fewer_images_and_at_least_two_steps(tmp_path: Path) -> None:
    found = probed(tmp_path, method="scratch", seconds=0.0)
    assert (found.batch, found.share, found.steps) == (sweeps.costs.probe.FEW, BATCH, 2)
    assert found.peak_bytes is None and found.epoch_seconds > 0


def test_probes_are_remembered_by_device(tmp_path: Path) -> None:
    one = Probe("", "s", "scratch", "GPU A", 1, 1, epoch_seconds=2.0)
    other = Probe("", "s", "scratch", "GPU B", 1, 1, epoch_seconds=3.0)
    write_probes(tmp_path, [one])
    write_probes(tmp_path, [other])
    assert read_probes(tmp_path, "GPU A") == {one.key: one} and read_probes(tmp_path, "GPU C") == {}
    assert read_probes(tmp_path) == {one.key: other}


@pytest.mark.parametrize("change", [{"version": 0}, {"torch": "1.0"}, {"probes": [{"student": "s"}]}, {"probes": 3}])
def test_an_old_or_damaged_file_is_probed_again(change: dict[str, Any], tmp_path: Path) -> None:
    one = Probe("", "s", "scratch", "GPU", 1, 1)
    write_probes(tmp_path, [one])
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**content, **change}))
    assert read_probes(tmp_path, "GPU") == {}
    (tmp_path / FILE).write_text("{cut of")
    assert read_probes(tmp_path, "GPU") == {}
    write_probes(tmp_path, [one])
    assert read_probes(tmp_path, "GPU") == {one.key: one}


@pytest.mark.parametrize(
    ("cell", "gflop"),
    [
        (Cell("", "mobilenetv2_100", "scratch"), 1.78),  # torch's counter says 12.3: it forgets the groups
        (Cell("swin_tiny_patch4_window7_224", "resnet18", "kd"), 19.6),
        (Cell("swin_tiny_patch4_window7_224", "resnet18", "pat"), 60.6),
    ],
)
def test_the_arithmetic_of_a_step(cell: Cell, gflop: float) -> None:
    """Against figures that were counted and measured independently of this code base, per image."""
    study = preset("cifar100")
    options = default_options(study, cell) if cell.teacher else {}
    found = count(student_run(study, cell, options, 0, "run:none" if cell.teacher else ""), 100)
    assert found.step.flop / 1e9 == pytest.approx(gflop, rel=0.02)
    assert found.score.flop < found.step.flop / 2


def test_the_assistant_of_fbt_is_counted() -> None:
    """Over KD's step: the last stage of ViT-Ti, two blocks forward and back to what enters them, and the bridge."""
    study, (teacher, student) = preset("cifar100"), ("vit_tiny_patch16_224", "resnet18")

    def gflop(method: str) -> float:
        run = student_run(study, Cell(teacher, student, method), {}, 0, "run:none")
        return count(run, 100).step.flop / 1e9

    def block(tokens: int, seen: int) -> tuple[float, float]:
        """GFLOP of the layers and of the products of attention, of width 192."""
        return 2e-9 * 12 * tokens * 192**2, 2e-9 * 2 * tokens * seen * 192

    layers, products = block(197, 197)
    assistant = 2 * (2 * layers + 3 * products) + 3 * (sum(block(14 * 14, 7 * 7)) + 2e-9 * 14 * 14 * 256 * 192)
    assert gflop("fbt") - gflop("kd") == pytest.approx(assistant, rel=0.02)


LEFT_OUT = {"fitnet": 0.06, "ofa": 0.026}
"""Shares of a step in small modules of a method's own, which are not counted."""


def counted_by_torch(run: RunConfig, classes: int) -> tuple[float, float]:
    """FLOP an image of a step on real tensors and of what scores, by torch's counter, which forgets the groups of
    convolutions."""
    task = create_task(run.task, run.data, classes, torch.arange(2 * classes) % classes)
    models = [task.student(name, 0) for name in (run.student, run.teacher and run.teacher.name) if name]
    method = create_method(run.method.name, *models, *([] if run.teacher else [None]), task, **run.method.options)
    indices, images, targets = task.blank(4, CPU)
    pixels = torch.zeros(4, 3, run.data.image_size, run.data.image_size, dtype=torch.uint8)
    split = Split(pixels, torch.arange(4) % classes)

    def counted(call: Callable[[], Any]) -> float:
        mapping = {torch.ops.aten.convolution_backward: _convolution_backward}
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter, sdpa_kernel(SDPBackend.MATH):
            call()
        return counter.get_total_flops() / 4

    step = lambda: method.train()(images, targets, indices)["loss"].backward()  # noqa: E731
    step()
    return counted(step), counted(lambda: method.score(method.student, split))


@pytest.mark.parametrize("name", ["spark", "hgkd"])
def test_a_pre_training_costs_what_torch_counts(name: str) -> None:
    """Student, decoder and teacher, in a step and in what scores: to the last multiplication."""
    teacher = Teacher("vit_micro_patch4_32", "run:none") if name == "hgkd" else None
    task, method = Task("generation", {"cell": 8, "stride": 4}), Method(name, {"width": 32})
    run = RunConfig("convnext_nano_patch1_32", Data("tiny", 32), Recipe(1, 8, 1e-3), method, teacher, task=task)
    found, (step, score) = count(run, 10), counted_by_torch(run, 10)
    assert (found.step.flop, found.score.flop) == (step, score)
    narrow = replace(run, method=Method(name, {"width": 8}))
    assert count(narrow, 10).step.flop < 0.95 * step, "the decoder is a part of it"


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.METHODS)
def test_a_step_costs_what_torch_counts(name: str) -> None:
    run = replace(tiny.config("test_resnet", name, options={}), data=Data("tiny", 96))
    run = replace(run, teacher=run.teacher and Teacher("vit_tiny_patch16_224", "run:none"))
    planned, real = count(run, 10).step.flop, counted_by_torch(run, 10)[0]
    assert planned == pytest.approx(real * (1 - LEFT_OUT.get(name, 0)), rel=0.01)


def test_a_gradient_that_nobody_asks_for_costs_nothing() -> None:
    """Of a first convolution that of its weights alone: one more forward pass, not two."""
    with torch.device("meta"):
        convolution, images = torch.nn.Conv2d(3, 8, 3, padding=1), torch.empty(2, 3, 16, 16)
    forward = 2 * 3 * 8 * 9 * 16 * 16
    assert _counted(lambda: convolution(images)).flop == forward
    assert _counted(lambda: convolution(images).sum().backward()).flop == 2 * forward
    images.requires_grad_()
    assert _counted(lambda: convolution(images).sum().backward()).flop == 3 * forward


def test_work_adds_up() -> None:
    assert Work(1.0, 2) + Work(3.0, 4) == Work(4.0, 6)


def test_a_probe_that_fails_is_said_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sweeps.costs.probing as probing
    import sweeps.engine.cluster as cluster

    class Task:
        """A function whose call is an argument list; `Ray.get` makes it."""

        def __init__(self, function: Callable[..., Any]) -> None:
            self.function = function

        def remote(self, *given: Any) -> tuple[Any, ...]:
            return (self.function, *given)

    def fail(config: str, root: str, teacher: str, workers: int, cell: tuple[str, str, str]) -> Probe:
        if cell[2] == "kd":
            raise OSError(28, "No space left on device")
        return Probe(*cell, device="cpu", asked_workers=workers, workers=workers)

    fake = SimpleNamespace(
        remote=lambda **options: Task,
        get=lambda task: task[0](*task[1:]),
        wait=lambda waiting, num_returns: (waiting[:1], waiting[1:]),
    )
    monkeypatch.setattr(cluster, "ray", fake)
    monkeypatch.setattr(probing, "_probe", fail)
    monkeypatch.setattr(probing, "kinds_on_ray", lambda: [Kind("cpu", 0, "")])
    said: list[str] = []
    study = small_study()
    assert probe_on_ray(study, tmp_path, tmp_path, said.append) == [Kind("cpu", 0, "")]
    kept = {key.cell.method for key in read_probes(tmp_path, "cpu")}
    assert kept == {"scratch", "pat"} and sum("No space left" in line for line in said) == 2

    def look() -> list[Kind]:
        raise RuntimeError("no machine answers\nand more")

    monkeypatch.setattr(probing, "kinds_on_ray", look)
    assert probe_on_ray(study, tmp_path, tmp_path, said.append) == []
    assert said[-1] == "no probes: no machine answers"
