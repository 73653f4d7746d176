"""Models that answer as if they knew nothing: said before a study spends hours, in its plan and in its report."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from small import CNN_TEACHER, MLP_STUDENT, small_study
from test_driver import drive

from analysis.account import guessing, read_account
from analysis.chance import at_chance
from analysis.frames import load as load_frames
from analysis.report import write_tables_only
from pat.data import load
from pat.weights import sha256
from sweeps.given import chance_of, keep_account, say_scores
from sweeps.study import Study, TeacherFile

PAIR = ((CNN_TEACHER, MLP_STUDENT),)


def given(tmp_path: Path, guesses: bool) -> Study:
    """A study with a teacher from a file, which always gives the same answer or does not."""
    torch.manual_seed(0)
    teacher = timm.create_model(CNN_TEACHER, num_classes=10)
    if guesses:
        torch.nn.init.zeros_(teacher.get_classifier().weight)
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    file = tmp_path / "teacher.safetensors"
    teachers = {CNN_TEACHER: TeacherFile(str(file), sha256(file))}
    return small_study(pairs=PAIR, methods=("kd",), teachers=teachers)


@pytest.mark.parametrize(
    ("score", "images", "guesses"),
    [
        (5.5, 360, True),
        (10.0, 360, True),
        (13.1, 360, True),
        (13.3, 360, False),
        (13.1, 10_000, False),
        (90.0, 9, False),
    ],
)
def test_at_chance(score: float, images: int, guesses: bool) -> None:
    """Two standard errors of a constant answer: of 10 % on 360 images 3.16."""
    assert at_chance(score, 10.0, images) is guesses
    for unknown in ((None, 10.0, images), (score, None, images), (score, 10.0, None), (float("nan"), 10.0, images)):
        assert not at_chance(*unknown)


def test_a_given_teacher_is_scored_before_anything_else(tmp_path: Path) -> None:
    dataset, said = load(small_study().data, tmp_path), list[str]()
    say_scores(given(tmp_path, guesses=True), tmp_path / "study", lambda: dataset, said.append)
    assert len(said) == 2 and said[0].startswith(f"the given teacher {CNN_TEACHER}: accuracy ")
    assert said[0].endswith(f" on {len(dataset.val) // 2} validation images")  # every second one
    assert said[1].startswith(f"warning: the given teacher {CNN_TEACHER} is at chance: it scores ")

    def unread() -> None:
        raise AssertionError("nothing is read for teachers that are not given")

    say_scores(small_study(pairs=PAIR), tmp_path / "study", unread, said.append)  # type: ignore[arg-type]
    assert len(said) == 2


def test_who_guesses_stands_in_the_report(replayed: None, tmp_path: Path) -> None:
    study = small_study(pairs=PAIR, methods=("kd",))
    folder, driver, _ = drive(tmp_path, study)
    dataset = load(study.data, tmp_path)
    keep_account(study, folder, dataset)
    counts = dataset.test.labels.bincount()
    assert (
        chance_of(study, dataset)
        == read_account(folder)["chance"]
        == pytest.approx(100 * counts.max().item() / len(dataset.test))
    )
    assert read_account(folder)["classes"] == list(dataset.classes)
    frames = load_frames(folder)
    assert guessing(frames) == "" and f"Images: {dataset.account}." in write_tables_only(folder)
    frames.cells["teacher_score"] = 5.5  # replayed runs have no teacher to score
    account = {**frames.account, "chance": 100.0}
    object.__setattr__(frames, "account", account)
    text = guessing(frames)
    assert text.startswith("At chance, where always the same answer scores 100.00 %: the teacher ")
    assert f"without a teacher {MLP_STUDENT} (" in text and f"{CNN_TEACHER} → {MLP_STUDENT} kd" in text
    assert text.endswith("What a teacher at chance gains its student, it does not teach.")
