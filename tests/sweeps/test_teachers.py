"""Teachers that are not trained here: found, fetched once, verified, and part of a study's identity."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import CNN_TEACHER, MLP_STUDENT, RECIPE, VIT_TEACHER, small_study

from analysis import read_runs
from pat.config import ConfigError, Data
from pat.methods import Method
from pat.models import create_student, create_teacher, sha256
from sweeps.__main__ import main as train_main
from sweeps.commands.grid import main
from sweeps.costs.devices import Devices
from sweeps.engine.alone import run_here
from sweeps.engine.driver import Driver
from sweeps.planning.planner import Planner
from sweeps.planning.units import Segment
from sweeps.presets import PRESETS
from sweeps.store import open_study, read_study
from sweeps.study import Search, Study, TeacherFile
from sweeps.teachers import local_file, provide, provide_used, recorded, resolve, resolve_used
from tests import tiny
from tests.tags import add_tag

HEX = "ab" * 32
TASK = tiny.task()


@pytest.fixture
def tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tag of the CNN teacher that timm finds in the file `timm.pth`."""
    return add_tag(monkeypatch, CNN_TEACHER, tmp_path / "timm.pth")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that fits the CNN teacher and ten classes."""
    file = tmp_path / "weights.pth"
    torch.save(create_student(CNN_TEACHER, 10, 32, seed=1).state_dict(), file)
    return file


def with_teacher(source: TeacherFile) -> Study:
    return small_study(teachers={CNN_TEACHER: source, VIT_TEACHER: RECIPE}, methods=("kd",))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.pth",), "'a.pth': SHA-256 none, 64 hexadecimal digits"),
        (("https://host/a.pth",), "'https://host/a.pth': SHA-256 none"),
        (("a.pth", "abc"), "SHA-256 abc, 64"),
        (("timm:resnet18.a1_in1k", "abc"), "SHA-256 abc, 64"),
        (("s3://bucket/a.pth", HEX), "'s3://bucket/a.pth': a path, https://, http://, file:// or timm:<name.tag>"),
    ],
)
def test_bad_sources_are_refused_when_made(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TeacherFile(*arguments)


def test_sources_are_checked_with_their_study(tag: str) -> None:
    assert TeacherFile("a.pth", HEX.upper()) == TeacherFile("a.pth", HEX)
    assert with_teacher(TeacherFile(f"timm:{tag}")).given_teachers()[CNN_TEACHER].tag == tag
    with pytest.raises(ConfigError, match="did you mean convnext_micro_32.local"):
        with_teacher(TeacherFile(f"timm:{CNN_TEACHER}.locale"))
    with pytest.raises(ConfigError, match=f"needed are timm:{CNN_TEACHER}"):
        with_teacher(TeacherFile("timm:resnet18.a1_in1k"))


def test_a_tag_is_fetched_once_and_recorded(tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, source = tmp_path / "study", TeacherFile(f"timm:{tag}")
    found = resolve(source, folder, TASK)
    file = local_file(found, folder)
    assert sha256(file) == found.sha256 == file.stem and tag in capsys.readouterr().out
    teacher, _ = create_teacher(tag, 10, 32, file, found.sha256)
    assert torch.equal(teacher.head.fc.weight, create_student(CNN_TEACHER, 10, 32, seed=3).head.fc.weight)
    (tmp_path / "timm.pth").unlink()  # as if there were no network
    assert resolve(source, folder, TASK) == found and provide(CNN_TEACHER, found, folder, TASK) == file
    assert recorded(with_teacher(source), folder).given_teachers() == {CNN_TEACHER: found}
    assert not recorded(with_teacher(source), tmp_path / "other").given_teachers()[CNN_TEACHER].sha256
    larger = replace(with_teacher(source), data=Data("digits", 64))
    assert not recorded(larger, folder).given_teachers()[CNN_TEACHER].sha256, "timm fits weights to the image size"
    file.unlink()
    with pytest.raises(ConfigError, match=f"with weights {tag}: .*; a file can be given instead"):
        provide(CNN_TEACHER, found, folder, TASK)


def test_a_lost_file_is_fetched_again_and_must_be_the_same(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = tmp_path / "study", TeacherFile(f"timm:{tag}")
    found = resolve(source, folder, TASK)
    local_file(found, folder).unlink()
    assert sha256(provide(CNN_TEACHER, found, folder, TASK)) == found.sha256
    local_file(found, folder).unlink()
    add_tag(monkeypatch, CNN_TEACHER, tmp_path / "timm.pth", seed=4)
    with pytest.raises(ConfigError, match=f"now have SHA-256 .*, but {found.sha256} is expected"):
        provide(CNN_TEACHER, found, folder, TASK)
    assert [path.name for path in (folder / "teachers").iterdir()] == ["tags.json"]
    with pytest.raises(ConfigError, match=f"now have SHA-256 .*, but {HEX} is expected"):
        provide(CNN_TEACHER, replace(source, sha256=HEX), folder, TASK)


def test_a_tag_of_other_classes_is_not_fetched(tag: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"'timm:{tag}' have 10 classes, the data set has 100"):
        resolve(TeacherFile(f"timm:{tag}"), tmp_path / "study", tiny.task(classes=100))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_broken_record_is_one_line(text: str, tag: str, tmp_path: Path) -> None:
    (tmp_path / "teachers").mkdir()
    (tmp_path / "teachers" / "tags.json").write_text(text, encoding="latin1")
    with pytest.raises(ConfigError, match="tags.json' cannot be read") as caught:
        resolve(TeacherFile(f"timm:{tag}"), tmp_path, TASK)
    assert "\n" not in str(caught.value)


def test_a_url_is_fetched_once_under_its_hash(weights: Path, tmp_path: Path) -> None:
    folder, source = tmp_path / "study", TeacherFile(weights.as_uri(), sha256(weights))
    assert resolve(source, folder, TASK) == source
    path = provide(CNN_TEACHER, source, folder, TASK)
    assert path == folder / "teachers" / f"{source.sha256}.pth" and path.read_bytes() == weights.read_bytes()
    weights.unlink()
    assert provide(CNN_TEACHER, source, folder, TASK) == path
    with pytest.raises(ConfigError, match="has 10 classes, the data set has 7"):
        provide(CNN_TEACHER, source, folder, tiny.task(classes=7))
    path.write_bytes(b"other bytes")
    with pytest.raises(ConfigError, match=f"but {source.sha256} is expected"):
        provide(CNN_TEACHER, source, folder, TASK)


def test_only_teachers_in_use_are_fetched(tag: str, tmp_path: Path) -> None:
    study = with_teacher(TeacherFile(f"timm:{tag}"))
    other = replace(study, pairs=study.pairs[1:])
    resolve_used(other, tmp_path / "study", 10)
    provide_used(other, tmp_path / "study", 10)
    assert not (tmp_path / "study").exists()
    resolve_used(study, tmp_path / "study", 10)
    provide_used(study, tmp_path / "study", 10)
    assert len(list((tmp_path / "study" / "teachers").iterdir())) == 2


def segments(planner: Planner) -> Iterator[Segment]:
    return (segment for segment in planner.ready() if segment.cell.teacher == CNN_TEACHER)


def test_runs_are_addressed_by_the_bytes_and_named_by_the_tag(tag: str, tmp_path: Path) -> None:
    study = with_teacher(TeacherFile(f"timm:{tag}"))
    before = Planner(study, {})
    assert list(segments(before)) and not before.problems, "a plan needs no network"
    resolve_used(study, tmp_path, 10)
    known = recorded(study, tmp_path)
    digest = known.given_teachers()[CNN_TEACHER].sha256
    for segment in segments(Planner(known, {})):
        assert segment.config.teacher is not None
        assert (segment.config.teacher.name, segment.config.teacher.weights) == (tag, f"sha256:{digest}")
        assert segment.cell.teacher == CNN_TEACHER


def test_the_tag_belongs_to_the_study(tag: str, tmp_path: Path) -> None:
    study = with_teacher(TeacherFile(f"timm:{tag}"))
    folder, _ = open_study(tmp_path, study)
    assert read_study(folder) == study
    _, grown = open_study(tmp_path, replace(study, seeds=5, methods=("kd", "pat")))
    assert grown.teachers == study.teachers and grown.seeds == 5
    with pytest.raises(ConfigError, match=rf"its teachers.{CNN_TEACHER}.path is 'timm:{tag}', not ''"):
        open_study(tmp_path, with_teacher(TeacherFile("a.pth", HEX)))


def test_moving_a_file_leaves_the_study_the_same(tmp_path: Path) -> None:
    open_study(tmp_path, with_teacher(TeacherFile("a.pth", HEX)))
    _, grown = open_study(tmp_path, with_teacher(TeacherFile("https://host/b.pth", HEX)))
    assert grown.given_teachers()[CNN_TEACHER].path == "https://host/b.pth"
    with pytest.raises(ConfigError, match=f"teachers.{CNN_TEACHER}.sha256"):
        open_study(tmp_path, with_teacher(TeacherFile("a.pth", "cd" * 32)))


@pytest.mark.usefixtures("replayed")
def test_a_finished_study_needs_neither_file_nor_network(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = with_teacher(TeacherFile(f"timm:{tag}"))
    study = replace(whole, pairs=whole.pairs[:1], seeds=1, search=Search(trials=0))
    monkeypatch.setitem(PRESETS, "small", lambda: study)
    monkeypatch.setattr("sweeps.commands.grid.write_report", lambda folder: "")
    monkeypatch.setattr("sweeps.commands.plan.local_devices", lambda *rest: Devices("a small box", False, 2, 1.0))
    folder, _ = open_study(tmp_path / "runs", study)
    assert main(["--preset", "small", "--storage", str(tmp_path / "runs"), "--plan"]) == 0
    said = capsys.readouterr().out
    assert f"teachers not trained here: {CNN_TEACHER} (timm:{tag})" in said
    assert not (folder / "teachers").exists()
    resolve_used(study, folder, 10)
    driver = Driver(folder, recorded(study, folder), study, tmp_path, stream=io.StringIO())
    run_here(driver)
    assert driver.planner.complete
    runs = read_runs(folder)
    assert set(runs[runs["phase"] == "confirm"]["teacher"]) == {tag}
    (tmp_path / "timm.pth").unlink()
    local_file(recorded(study, folder).given_teachers()[CNN_TEACHER], folder).unlink()
    assert main(["--preset", "small", "--storage", str(tmp_path / "runs")]) == 0
    assert main(["--preset", "small", "--storage", str(tmp_path / "runs"), "--plan"]) == 0
    assert "1/1" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["file", "url", "tag"])
def test_a_teacher_that_cannot_be_used_stops_a_study_before_it_starts(
    place: str, weights: Path, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "timm.pth").unlink()
    source = {
        "file": TeacherFile(str(weights), HEX),
        "url": TeacherFile(weights.as_uri(), HEX),
        "tag": TeacherFile(f"timm:{tag}"),
    }[place]
    words = {"file": f"but {HEX} is expected", "url": f"but {HEX} is expected", "tag": tag}[place]
    monkeypatch.setitem(PRESETS, "small", lambda: with_teacher(source))
    assert main(["--preset", "small", "--storage", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
    assert not list((tmp_path / "runs").rglob("run.parquet"))


def test_a_teacher_of_the_study_is_scored_in_its_own_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny.config(epochs=1).recipe
    study = small_study(
        data=Data("tiny", 32), teachers={CNN_TEACHER: recipe}, students={MLP_STUDENT: recipe}, seeds=1, options={},
        pairs=((CNN_TEACHER, MLP_STUDENT),), methods=("kd",), search=Search(trials=0),
    )  # fmt: skip
    folder, grown = open_study(tmp_path, study)
    scored: list[object] = []

    def own(method: Method, *rest: object) -> float:
        scored.append(method.teacher)
        return math.nan

    monkeypatch.setattr("pat.train.teacher_score", own)
    run_here(Driver(folder, grown, study, tmp_path, stream=io.StringIO()))
    runs = read_runs(folder).set_index("phase")
    assert set(scored) == {None} and runs.loc["teacher", "exported"] == "ema"
    assert runs.loc["confirm", "teacher_score"] == runs.loc["teacher", "test_last_ema"] > 0


def arguments(tmp_path: Path, *more: str, method: str = "kd") -> list[str]:
    given = ["train", "--student", "mixer_nano_patch8_32", "--method", method, "--data", "tiny", "--epochs", "1"]
    return [*given, "--batch-size", "64", "--storage", str(tmp_path / "runs"), *more]


def test_one_pair_with_a_teacher_from_anywhere(
    weights: Path, tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same bytes from a file and from a URL are the same run; timm's are another one."""
    teacher = ["--teacher", CNN_TEACHER, "--teacher-file"]
    assert train_main(arguments(tmp_path, *teacher, str(weights))) == 0
    said = capsys.readouterr().out
    assert re.search(r"epoch 1 of \d+: loss [\d.]+, validation accuracy [\d.]+ %, ", said)
    assert re.search(rf"^{CNN_TEACHER}: accuracy [\d.]+ % on test, the teacher$", said, re.M)
    url = [*teacher, weights.as_uri(), "--teacher-sha256", sha256(weights).upper()]
    assert train_main(arguments(tmp_path, *url)) == 0
    assert "epoch 1" not in capsys.readouterr().out
    assert train_main(arguments(tmp_path, *teacher, f"timm:{tag}")) == 0
    assert "epoch 1" in capsys.readouterr().out
    runs = read_runs(tmp_path / "runs" / "train").set_index("teacher")
    assert set(runs.index) == {CNN_TEACHER, tag}
    assert runs.loc[CNN_TEACHER, "teacher_weights"] == f"sha256:{sha256(weights)}"
    assert 0 <= runs.loc[tag, "teacher_score"] <= 100


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--teacher", CNN_TEACHER, "--teacher-file", "https://host/a.pth"), "'https://host/a.pth': SHA-256 none"),
        (("--teacher", CNN_TEACHER, "--teacher-sha256", HEX), "--teacher-sha256: only with --teacher-file"),
        (("--teacher", CNN_TEACHER, "--teacher-file", "FILE", "--teacher-sha256", HEX), f"but {HEX} is expected"),
        (("--teacher", CNN_TEACHER, "--teacher-file", "FILE", "--teacher-sha256", "12"), "SHA-256 12, 64 hexa"),
        (("--teacher", VIT_TEACHER, "--teacher-file", "FILE"), "lacks weights"),
        (("--teacher", CNN_TEACHER, "--teacher-file", "/tmp"), "Is a directory"),
        (("--teacher", CNN_TEACHER, "--teacher-file", f"timm:{CNN_TEACHER}.x"), "unknown timm weights"),
        (
            ("--teacher", CNN_TEACHER, "--teacher-file", "http://127.0.0.1:9/a.pth", "--teacher-sha256", HEX),
            "Connection refused",
        ),
        (("--teacher-file", "FILE"), "--teacher-file: only with --teacher"),
    ],
)
def test_bad_teachers_of_one_pair_are_one_line(
    more: tuple[str, ...], words: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(weights) if part == "FILE" else part for part in more]
    method = "kd" if "--teacher" in more else "scratch"
    assert train_main(arguments(tmp_path, *given, method=method)) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("run.parquet"))
