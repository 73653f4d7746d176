"""What a score needs that is the same each time is made once; a loss that is no number is seen soon."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pat.epochs
import pat.finite
from pat.config import Data
from pat.data import Pixels, Split, load, load_on, own_data
from pat.data.beside import _kept, beside
from pat.finite import Watch
from pat.methods import create_method
from pat.steps import train_step
from pat.tasks import Score, create_task
from pat.tasks.classification import Classification, evaluate, evaluate_all
from pat.views import eval_batch, middles
from tests import tiny
from tests.pat.folders import make

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Counted(Split):
    """Counts the passes over its images."""

    def stream(self, batches: Sequence[Tensor]) -> Iterator[Pixels]:
        passes.append(len(batches))
        yield from super().stream(batches)


passes: list[int] = []


@pytest.fixture(autouse=True)
def no_passes() -> None:
    passes.clear()


def split(size: int = 12, count: int = 300) -> Counted:
    images = torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    return Counted(images, torch.arange(count) % 10)


@pytest.mark.parametrize(("size", "crop_pct", "made"), [(32, 1.0, 1), (32, 0.9, 1), (12, 1.0, 2), (12, 0.9, 1)])
def test_scored_images_are_made_once_and_the_same(size: int, crop_pct: float, made: int) -> None:
    """To the bit; what is shown as it is is not kept twice."""
    part, batches = split(), torch.arange(300).split(128)
    expected = torch.cat([eval_batch(pixels, size, crop_pct) for pixels in Split.stream(part, batches)])
    for _ in range(2):
        assert torch.equal(torch.cat(list(middles(part, batches, size, crop_pct, True))), expected)
    some = torch.tensor([5, 299, 0])
    assert torch.equal(next(middles(part, [some], size, crop_pct, True)), expected[some])
    assert len(passes) == (made if made == 1 else 3)
    other = torch.cat(list(middles(part, batches, size, 0.8, False)))
    assert not torch.equal(other, expected) and len(passes) == (2 if made == 1 else 4)


def test_what_does_not_fit_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pat.views.scored.HELD_BYTES", 300 * 3 * 32**2 - 1)
    part = split()
    first, second = (torch.cat(list(middles(part, torch.arange(300).split(128), 32, 1.0, True))) for _ in range(2))
    assert torch.equal(first, second) and len(passes) == 2 and id(part) not in _kept


def test_a_part_of_a_part_has_its_own_and_what_is_gone_is_forgotten() -> None:
    part = split()
    whole = torch.cat(list(middles(part, [torch.arange(300)], 32, 1.0, True)))
    few = part.take(torch.tensor([7, 3]))
    assert torch.equal(next(middles(few, [torch.arange(2)], 32, 1.0, True)), whole[[7, 3]])
    numbers = {id(part), id(few)}
    assert numbers <= _kept.keys()
    del part, few
    gc.collect()
    assert not numbers & _kept.keys()


def test_beside_another_object_of_the_same_address_there_is_nothing() -> None:
    part = split()
    assert beside(part, "a", lambda: 1) == beside(part, "a", lambda: 2) == 1 and beside(part, "b", lambda: 3) == 3
    number, old = id(part), _kept[id(part)]
    other = split()
    _kept[id(other)] = old  # as if the first one's memory had been used again before it was told to be gone
    assert beside(other, "a", lambda: 4) == 4
    del part
    gc.collect()
    assert number not in _kept and beside(other, "a", lambda: 5) == 4


def test_several_models_on_one_stream_score_as_each_alone() -> None:
    models = [tiny_model(seed) for seed in range(3)]
    models[1].eval()
    part, data = split(), Data("tiny", 32, crop_pct=0.9)
    alone = [evaluate(model, part, data, 128) for model in models]
    together = evaluate_all(models, part, data, 128)
    for one, other in zip(alone, together, strict=True):
        assert (one.loss, one.score) == (other.loss, other.score)
        assert one.correct is not None and other.correct is not None and torch.equal(one.correct, other.correct)
    assert [model.training for model in models] == [True, False, True]
    assert len({one.loss for one in together}) == 3


def tiny_model(seed: int) -> nn.Module:
    return create_task(tiny.config().task, Data("tiny", 32), 10).student(tiny.BATCHNORM, seed).train()


def test_a_method_that_scores_itself_is_asked_for_each() -> None:
    task = create_task(tiny.config().task, Data("tiny", 32), 10)
    method = create_method("scratch", tiny_model(0), None, task)
    asked: list[nn.Module] = []

    class Own(type(method)):  # type: ignore[misc]
        def score(self, model: nn.Module, split: Any, rank: int = 0, world: int = 1) -> Score:
            asked.append(model)
            return Score(0.0, 1.0)

    models = [tiny_model(0), tiny_model(1)]
    method.__class__ = Own
    assert [one.score for one in method.scores(models, split())] == [1.0, 1.0] and asked == models


def test_a_teacher_is_scored_once_in_a_process(
    tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By each of two runs that have it, one after the other; another data set or teacher is scored anew."""
    scored: list[str] = []
    own = Classification.score

    def counting(self: Classification, *rest: Any) -> Score:
        scored.append(self.name)
        return own(self, *rest)

    monkeypatch.setattr(Classification, "score", counting)
    load_on(Data("digits", 32), tmp_path, CPU)  # whatever tests before have kept
    found = [
        tiny.run(tiny.config(method="kd", seed=seed, epochs=1), tmp_path / str(seed), teacher_file).teacher_score
        for seed in (1, 2)
    ]
    assert found[0] == found[1] and len(scored) == 1
    other = tiny.config(method="kd", epochs=1)
    tiny.run(replace(other, data=replace(other.data, crop_pct=0.9)), tmp_path / "other", teacher_file)
    assert len(scored) == 2


def test_files_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "own", {"train": 2, "test": 3})
    part, decoded = load(own_data(tmp_path / "own", 16, 0.0), tmp_path).test, list[int]()
    data = Data("tiny", 16)
    monkeypatch.setattr(type(part), "stream", counting_stream(type(part).stream, decoded))
    model = tiny_model(0)
    first, second = (evaluate(model, part, data, 64) for _ in range(2))
    assert first.loss == second.loss and len(decoded) == 1


def counting_stream(own: Any, decoded: list[int]) -> Any:
    def stream(self: Any, batches: Sequence[Tensor]) -> Iterator[Pixels]:
        decoded.append(len(batches))
        return own(self, batches)  # type: ignore[no-any-return]

    return stream


def test_a_loss_that_is_no_number_ends_an_epoch_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def counting(*args: Any) -> Any:
        steps.append(1)
        return train_step(*args)

    monkeypatch.setattr(pat.epochs, "train_step", counting)
    monkeypatch.setattr(pat.finite, "EVERY", 4)
    config = tiny.config(epochs=3, recipe={"lr": 1e30, "optimizer": "sgd", "batch_size": 4})
    outcome = tiny.run(config, tmp_path)
    assert outcome.status == "diverged" and outcome.message.endswith("in epoch 1") and len(steps) in (4, 8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_looks_are_every_fifty_steps(bad: float) -> None:
    watch, losses = Watch(1), [{"loss": torch.tensor(1.0)} for _ in range(pat.finite.EVERY)]
    assert not watch.lost([]) and not watch.lost(losses)
    losses += [{"loss": torch.tensor(bad)}]
    assert not watch.lost(losses)
    losses += [{"loss": torch.tensor(1.0)} for _ in range(pat.finite.EVERY - 1)]
    assert watch.lost(losses)
