"""The training loop: continuation, determinism, what depends on what."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import pat.data.base
from pat.config import ConfigError, RunConfig, Teacher
from pat.data import Dataset, Split, load
from pat.evaluate import results
from pat.io import CHECKPOINT, STUDENT, LocalIO
from pat.models import create_student, normalisation, sha256
from pat.steps import train_step
from pat.tasks import Score
from pat.train import Outcome, train
from pat.training import Training
from pat.views import epoch_batches, train_views
from tests import tiny


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.parametrize(
    ("student", "method"),
    [*((student, method) for student in (tiny.VIT, tiny.BATCHNORM) for method in ("scratch", "kd", "pat")),
     (tiny.VIT, "crd"), (tiny.BATCHNORM, "ofa"), (tiny.MLP, "reviewkd"), (tiny.VIT, "fbt"), (tiny.BATCHNORM, "fbt")],
)  # fmt: skip
def test_interrupted_and_resumed_equals_uninterrupted(
    student: str, method: str, tmp_path: Path, teacher_file: Path
) -> None:
    configuration = tiny.config(student, method, epochs=3, recipe={"mixup": 0.2, "clip_grad": 1.0})
    whole = tiny.run(configuration, tmp_path / "whole", teacher_file)
    for until in (1, 2):
        part = tiny.run(configuration, tmp_path / "parts", teacher_file, until=until)
        assert part.status == "paused" and part.epoch == until
    resumed = tiny.run(configuration, tmp_path / "parts", teacher_file)
    assert resumed.student_sha256 == whole.student_sha256
    np.testing.assert_equal(timeless(resumed.history), timeless(whole.history))
    assert resumed.test_correct == whole.test_correct
    np.testing.assert_equal(resumed.results, whole.results)


def test_a_checkpoint_that_calls_scores_top1_goes_on(tmp_path: Path, teacher_file: Path) -> None:
    """As programs did before version 4 of the ledger; best epochs are still chosen over the whole run."""
    configuration = tiny.config(epochs=3, recipe={"ema_decay": 0.9})
    whole = tiny.run(configuration, tmp_path / "whole", teacher_file)
    tiny.run(configuration, tmp_path / "parts", teacher_file, until=2)
    path = tmp_path / "parts" / CHECKPOINT
    state = torch.load(path, weights_only=True)
    assert {"val_score_raw", "test_score_ema"} < set(state["history"][0])
    state["history"] = [
        {key.replace("_score_", "_top1_"): value for key, value in row.items()} for row in state["history"]
    ]
    torch.save(state, path)
    resumed = tiny.run(configuration, tmp_path / "parts", teacher_file)
    np.testing.assert_equal(timeless(resumed.history), timeless(whole.history))
    np.testing.assert_equal(resumed.results, whole.results)
    assert resumed.test_correct == whole.test_correct and resumed.student_sha256 == whole.student_sha256


def test_outcome_is_complete(tmp_path: Path, teacher_file: Path) -> None:
    configuration = tiny.config(method="pat", recipe={"ema_decay": 0.9})
    outcome = tiny.run(configuration, tmp_path, teacher_file)
    assert outcome.status == "finished" and outcome.epoch == 2 and outcome.exported == "ema"
    assert outcome.teacher_sha256 == sha256(teacher_file) and 0 <= outcome.teacher_score <= 100
    assert outcome.extra_params > 0 and outcome.test_images == 48 and outcome.initial_sha256 == ""
    bits = np.unpackbits(np.frombuffer(outcome.test_correct["last_ema"], np.uint8))[:48]
    assert 100 * bits.mean() == pytest.approx(outcome.results["test_last_ema"])
    parts = outcome.history[0]["parts"]
    stages = {f"{name}_{i}" for name in ("kept", "explained") for i in (1, 2, 3, 4)}
    assert {"ce", "kd", "feature", "regularisation", "drift", "prompted_top1", *stages} == set(parts)
    student = timm.create_model(tiny.VIT, num_classes=10, checkpoint_path=str(tmp_path / STUDENT))
    again = tiny.run(configuration, tmp_path, teacher_file)  # from the checkpoint of the last epoch
    assert again.student_sha256 == outcome.student_sha256
    assert sum(p.numel() for p in student.parameters()) == outcome.student_params


def test_ema_of_a_short_run_is_not_its_initial_weights(tmp_path: Path) -> None:
    outcome = tiny.run(tiny.config(recipe={"ema_decay": 0.9999, "ema_warmup": True}), tmp_path)
    initial = create_student(tiny.VIT, 10, 32, seed=0).state_dict()
    exported = timm.create_model(tiny.VIT, num_classes=10, checkpoint_path=str(tmp_path / STUDENT)).state_dict()
    raw = torch.load(tmp_path / CHECKPOINT, weights_only=True)["method"]
    key = "blocks.0.attn.qkv.weight"
    assert outcome.exported == "ema"
    moved = (exported[key] - initial[key]).norm() / (raw[f"student.{key}"] - initial[key]).norm()
    assert 0.3 < moved < 1.2


@pytest.mark.parametrize(("decay", "warmup"), [(0.9, False), (0.9999, False), (0.9, True), (0.7, True)])
def test_the_average_of_every_step(decay: float, warmup: bool, tmp_path: Path) -> None:
    """It begins with the weights after the first step; a warm-up lets the decay rise to the one that is asked for."""
    config = tiny.config(epochs=1, recipe={"ema_decay": decay, "ema_warmup": warmup, "lr": 0.1})
    dataset = load(config.data, tmp_path)
    training, key = Training(config, LocalIO(tmp_path), dataset, None, None), "head.weight"
    assert training.ema is not None
    expected, images = torch.zeros(0), torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for step in range(1, 9):
        train_step(training, config, images, torch.eye(10)[torch.arange(16) % 10], torch.arange(16), step - 1)
        weights = training.student.state_dict()[key].double().clone()
        kept = min(decay, 1 - step ** (-2 / 3)) if warmup else decay
        expected = weights if step == 1 else kept * expected + (1 - kept) * weights
        torch.testing.assert_close(training.ema.module.state_dict()[key].double(), expected, rtol=1e-4, atol=1e-6)


def fingerprints(configuration: RunConfig, teacher_file: Path | None, folder: Path) -> tuple[str, str, str]:
    """Bytes of the initial student, the first epoch's order, and one batch of views."""
    dataset = load(configuration.data, Path("data"))
    training = Training(configuration, LocalIO(folder), dataset, teacher_file, None)
    state = b"".join(t.numpy().tobytes() for t in training.student.state_dict().values())
    order = epoch_batches(len(dataset.train), 16, configuration.seed, 0)
    statistics = normalisation(training.student)
    views = train_views(dataset.train, order[:1], configuration.recipe, 32, 10, statistics, configuration.seed, 0)
    images = next(views).images
    return tuple(str(hash(x)) for x in (state, order.numpy().tobytes(), images.numpy().tobytes()))  # type: ignore[return-value]


def test_methods_share_initial_weights_order_and_views(tmp_path: Path, teacher_file: Path) -> None:
    for seed in (1, 2):
        seen = {
            fingerprints(
                tiny.config(method=m, seed=seed, options=o), None if m == "scratch" else teacher_file, tmp_path
            )
            for m, o in (("scratch", {}), ("kd", {}), ("kd", {"weight": 3.0}), ("pat", tiny.SMALL_PAT))
        }
        assert len(seen) == 1


def test_what_a_step_draws_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    """So dropout differs from step to step, and a continued run draws what it would have drawn."""
    config, drawn = tiny.config(), list[float]()
    training = Training(config, LocalIO(tmp_path), load(config.data, tmp_path), None, None)

    def step_module(*batch: torch.Tensor) -> dict[str, torch.Tensor]:
        drawn.append(torch.rand(()).item())
        return {"loss": training.trainable[0].sum()}

    training.step_module = step_module  # type: ignore[assignment]
    batch = torch.zeros(16, 3, 32, 32), torch.zeros(16, 10), torch.arange(16)
    for seed, step in ((0, 0), (0, 1), (0, 0), (1, 0)):
        train_step(training, dataclasses.replace(config, seed=seed), *batch, step)
    assert drawn[2] == drawn[0] and len(set(drawn)) == 3


def test_test_labels_change_nothing_but_test_scores(
    tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tiny.config(method="pat")
    honest = tiny.run(configuration, tmp_path / "honest", teacher_file)
    dataset = load(configuration.data, Path("data"))
    permuted = Split(dataset.test.images, dataset.test.labels.flip(0))
    monkeypatch.setattr(pat.train, "load_on", lambda *_: Dataset(dataset.train, dataset.val, permuted, 10))
    other = tiny.run(configuration, tmp_path / "permuted", teacher_file)
    assert other.student_sha256 == honest.student_sha256
    assert other.test_correct["last_raw"] != honest.test_correct["last_raw"]
    without_test = [{k: v for k, v in r.items() if "test" not in k and k != "seconds"} for r in other.history]
    honest_rows = [{k: v for k, v in r.items() if "test" not in k and k != "seconds"} for r in honest.history]
    np.testing.assert_equal(without_test, honest_rows)


SCRIPT = """
import sys
from pathlib import Path
from tests import tiny
student, method, folder, teacher = sys.argv[1:]
configuration = tiny.config(student, method, epochs=1, recipe={"batch_size": 32})
print(tiny.run(configuration, Path(folder), Path(teacher)).student_sha256)
"""


@pytest.mark.parametrize("method", ["kd", pytest.param("pat", marks=pytest.mark.slow)])
def test_threads_come_from_the_configuration_alone(method: str, tmp_path: Path, teacher_file: Path) -> None:
    found = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        arguments = [tiny.BATCHNORM, method, str(tmp_path / threads), str(teacher_file)]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_teacher_identity(tmp_path: Path, teacher_file: Path) -> None:
    """The same bytes trained here and given as a file are two teachers; other bytes are refused with both hashes."""
    digest = sha256(teacher_file)
    here = tiny.config(method="kd")
    as_file = tiny.config(method="kd", teacher=Teacher(tiny.CNN, f"sha256:{digest}"))
    assert here.run_id != as_file.run_id
    assert tiny.run(as_file, tmp_path / "file", teacher_file).teacher_sha256 == digest
    other = tiny.config(method="kd", teacher=Teacher(tiny.CNN, "sha256:00ff"))
    with pytest.raises(ConfigError, match=f"{digest}.*00ff"):
        tiny.run(other, tmp_path / "other", teacher_file)
    with pytest.raises(ConfigError, match=f"{digest}.*00ff"):
        tiny.run(here, tmp_path / "ledger", teacher_file, teacher_sha256="00ff")
    tiny.run(here, tmp_path / "resumed", teacher_file, until=1)
    tiny.run(tiny.config(tiny.CNN, seed=9, epochs=1), tmp_path / "teacher2")
    with pytest.raises(ConfigError, match=f"began with a teacher of SHA-256 {digest}"):
        tiny.run(here, tmp_path / "resumed", tmp_path / "teacher2" / STUDENT)


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    outcome = tiny.run(tiny.config(recipe={"lr": 1e30, "optimizer": "sgd"}), tmp_path)
    assert outcome.status == "diverged" and "loss became" in outcome.message and not outcome.student_sha256


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"recipe": {"batch_size": 200}}, "recipe.batch_size = 200: train has only 100 images"),
        ({"recipe": {"optimizer": "adamww"}}, "recipe.optimizer = 'adamww'"),
        ({"recipe": {"schedule": "cosinus"}}, "recipe.schedule = 'cosinus'"),
        ({"student": "vit_nano"}, "unknown model 'vit_nano'; did you mean"),
        ({"unsynced_workers": 2}, "unsynced_workers = 2: this run has 1 workers and needs unsynced_workers = 1"),
        ({"initial": "timm:vit_nano_patch8_32.untrained"}, "cannot be built"),
    ],
)
def test_bad_input_is_one_line(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        tiny.run(tiny.config(**fields), tmp_path)
    assert "\n" not in str(caught.value)


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    tiny.run(tiny.config(), tmp_path, until=1)
    with pytest.raises(ConfigError, match="checkpoint belongs to another run"):
        tiny.run(tiny.config(tiny.MLP), tmp_path)
    with pytest.raises(ConfigError, match="no weights file given"):
        train(tiny.config(method="kd"), LocalIO(tmp_path / "kd"))


def test_storage_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="storage .* cannot be written"):
        LocalIO(tmp_path / "file" / "run")


def test_selection_rules_by_hand() -> None:
    rows = [
        {"epoch": e, "val_score_raw": v, "test_score_raw": t, "val_score_ema": math.nan, "test_score_ema": math.nan}
        for e, v, t in ((1, 50.0, 55.0), (2, 70.0, 60.0), (3, 70.0, 66.0), (4, 60.0, 64.0))
    ]
    found = results(rows)
    assert (found["test_last_raw"], found["test_best_val_raw"], found["test_best_test_raw"]) == (64.0, 60.0, 66.0)
    assert found["val_best_test_raw"] == 70.0 and math.isnan(found["test_last_ema"])
    averaged = results([{**row, "val_score_ema": 100 - row["val_score_raw"], "test_score_ema": 1.0} for row in rows])
    assert (averaged["val_best_val_ema"], averaged["val_best_val_raw"], averaged["test_last_ema"]) == (50.0, 70.0, 1.0)


def test_the_bits_that_are_kept_are_those_of_the_chosen_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch has one image more right; the second is best on validation, and the third, after a pause, as good."""
    calls, top1 = itertools.count(), [50.0, 70.0, 70.0]

    def scored(models: Sequence[object], *given: object) -> list[Score]:
        epoch = next(calls) // 2  # validation and test
        return [Score(1.0, top1[epoch], torch.arange(48) <= epoch, {"epoch": float(epoch)})] * len(models)

    monkeypatch.setattr("pat.tasks.classification.evaluate_all", scored)
    tiny.run(tiny.config(epochs=3), tmp_path, until=2)
    outcome = tiny.run(tiny.config(epochs=3), tmp_path)
    right = {rule: int(np.unpackbits(np.frombuffer(b, np.uint8)).sum()) for rule, b in outcome.test_correct.items()}
    assert right == {"last_raw": 3, "last_ema": 3, "best_val_raw": 2, "best_val_ema": 2}
    assert {rule: found["epoch"] for rule, found in outcome.details.items()} == {
        rule: images - 1 for rule, images in right.items()
    }


def test_no_validation_split(tmp_path: Path) -> None:
    configuration = tiny.config()
    outcome: Outcome = tiny.run(
        dataclasses.replace(configuration, data=dataclasses.replace(configuration.data, validation=0.0)), tmp_path
    )
    assert math.isnan(outcome.results["val_last_raw"]) and outcome.results["test_last_raw"] >= 0
    assert math.isnan(outcome.results["test_best_val_raw"])
