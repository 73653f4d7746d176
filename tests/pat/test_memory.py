"""What a run does when the memory does not suffice: never another result, and a clear end where nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pat.memory import Measures, OutOfMemory, can_checkpoint, is_out_of_memory, next_measures, separable
from pat.methods import Method, create_method
from pat.models import create_model
from pat.options import teacherless
from pat.tasks import Seen
from tests import tiny

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more")


def build(name: str, student: str = tiny.VIT, saving: bool = False) -> Method:
    torch.manual_seed(0)
    models = create_model(student, 10, 32), None if teacherless(name) else create_model(tiny.CNN, 10, 32)
    if saving:
        models[0].set_grad_checkpointing(True)
    return create_method(name, *models, tiny.task(32, torch.arange(24) % 10), **tiny.SMALL.get(name, {}))


def gradients(method: Method, parts: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, targets = torch.randn(8, 3, 32, 32, generator=generator), torch.eye(10)[torch.arange(8)]
    method.train().zero_grad()
    for rows in torch.arange(8).chunk(parts):
        (method(images[rows], targets[rows], rows)["loss"] / parts).backward()
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", tiny.METHODS)
def test_a_method_that_says_so_may_be_done_in_parts(name: str) -> None:
    method = build(name)
    whole, parts = gradients(method, 1), gradients(build(name), 4)
    alike = all(torch.allclose(whole[key], parts[key], rtol=1e-3, atol=1e-5) for key in whole)
    if separable(method):
        assert alike
    elif name in ("rkd", "cc", "crd", "rsd", "fbt"):
        assert not alike


def test_batchnorm_is_not_done_in_parts() -> None:
    assert separable(build("kd")) and not separable(build("kd", tiny.BATCHNORM))
    assert not separable(build("fitnet"))  # its aligners normalise over the batch


@pytest.mark.parametrize("student", [tiny.BATCHNORM, tiny.VIT, tiny.MLP])
@pytest.mark.parametrize("name", tiny.METHODS)
def test_checkpointing_changes_nothing(name: str, student: str) -> None:
    assert can_checkpoint(build(name, student).student)
    one, other = gradients(build(name, student), 1), gradients(build(name, student, saving=True), 1)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_measures_in_their_order() -> None:
    kd, coupled = build("kd"), build("rkd")
    ladder, now = [], Measures()
    while (following := next_measures(now, kd, share=8)) is not None:
        ladder.append(str(following))
        now = following
    assert ladder == [
        f"checkpointing{rest}" for rest in ("", ", accumulation 2", ", accumulation 4", ", accumulation 8")
    ]
    assert next_measures(Measures(True), coupled, share=8) is None
    assert next_measures(Measures(True), kd, share=7) is None
    assert not can_checkpoint(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("measures", [Measures(), Measures(True), Measures(True, 4), Measures(False, 2)])
def test_measures_have_a_text(measures: Measures) -> None:
    assert Measures.parse(str(measures)) == measures


def test_no_other_text_is_a_measure() -> None:
    with pytest.raises(ValueError, match="no measures"):
        Measures.parse("checkpoint")


def test_what_counts_as_out_of_memory() -> None:
    refused = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")
    assert all(map(is_out_of_memory, (FULL, MemoryError(), refused)))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
    """A device on which only so many images fit, with or without checkpointing."""

    def shrink(fitting: int, needs_checkpointing: bool) -> None:
        own = Method.result

        def result(self: Any, seen: Seen, *rest: Any, **parts: Any) -> Any:
            saving = getattr(self.student, "grad_checkpointing", False)
            if len(seen.logits) > fitting or (needs_checkpointing and not saving):
                raise FULL
            return own(self, seen, *rest, **parts)

        monkeypatch.setattr(Method, "result", result)

    return shrink


def test_a_run_says_what_to_try_next(
    tmp_path: Path, teacher_file: Path, small_device: Callable[[int, bool], None]
) -> None:
    small_device(4, True)
    config, given, tried = tiny.config(method="kd", epochs=1), Measures(), []
    outcome = None
    while outcome is None:
        try:
            outcome = tiny.run(config, tmp_path, teacher_file, measures=given)
        except OutOfMemory as problem:
            assert problem.measures is not None
            given = problem.measures
            tried.append(str(given))
    assert tried == ["checkpointing", "checkpointing, accumulation 2", "checkpointing, accumulation 4"]
    assert outcome.status == "finished" and outcome.measures == tried[-1]


def test_a_run_that_cannot_fit_says_on_how_many_workers_it_would(
    tmp_path: Path, teacher_file: Path, small_device: Callable[[int, bool], None]
) -> None:
    small_device(4, False)
    with pytest.raises(
        OutOfMemory, match="batch of 16 on 1 worker.*2.00 GiB; a share of 4 workers would fit"
    ) as caught:
        tiny.run(tiny.config(method="rkd", epochs=1), tmp_path, teacher_file, measures=Measures(True))
    assert caught.value.measures is None
    small_device(0, False)
    with pytest.raises(OutOfMemory, match="not even one image fits"):
        tiny.run(tiny.config(method="rkd", epochs=1), tmp_path, teacher_file, measures=Measures(True))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_accumulation_trains_the_same_student(optimizer: str, tmp_path: Path, teacher_file: Path) -> None:
    """But for rounding, which Adam's first steps magnify: the losses stay close. Adam takes the same steps from
    gradients of any size; SGD does not."""
    config = tiny.config(method="kd", epochs=2, recipe={"optimizer": optimizer, "lr": 2e-3})
    one = tiny.run(config, tmp_path / "one", teacher_file)
    parts = tiny.run(config, tmp_path / "parts", teacher_file, measures=Measures(True, 4))
    for a, b in zip(one.history, parts.history, strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-4)
