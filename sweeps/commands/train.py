"""`python -m sweeps train`: one teacher, one student, one method on named or own data. No Ray."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch

from analysis import ledger, storage
from analysis.chance import at_chance, chance_line
from analysis.metrics import METRICS, Metric
from analysis.words import counted
from pat.config import ConfigError, Method, RunConfig, Teacher
from pat.data import Dataset, load
from pat.io import CONFIG, STUDENT
from pat.methods import check_task, list_methods
from pat.models import family
from pat.options import teacherless
from pat.plugins import announce, load_plugins
from pat.precision import slow_bf16
from pat.starting import FILE, RUN
from pat.tasks import Task, task_class, task_on
from pat.weights import is_url, sha256
from sweeps.checks import check_batch
from sweeps.commands.train_flags import (
    Side,
    check_flags,
    chosen_device,
    data_and_recipe,
    learnt_task,
    options,
    parser,
    student_side,
    teacher_side,
)
from sweeps.costs.flops import method_on_meta
from sweeps.engine.keep import RETRIED, set_aside, set_aside_changed
from sweeps.engine.lock import locked
from sweeps.engine.runs import Job, execute, run_folder
from sweeps.engine.telling import TellingIO
from sweeps.engine.texts import Changed, changed_lines, changed_run
from sweeps.given import say_score
from sweeps.guard import guarded
from sweeps.study import CLASSIFICATION, SCRATCH, TIMM, TeacherFile, check_tag
from sweeps.teachers import initial_file, initial_sha256, provide, provide_initial, resolve

FOLDER = "train"
BASELINES = (SCRATCH, "kd")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 the run failed, 2 bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _train(argv), "--verbose" in argv)


class _Room:
    """Where the runs of one call are kept and trained: the folder, the data, the device."""

    def __init__(self, flags: argparse.Namespace, root: Path, device: torch.device | None) -> None:
        self.folder = Path(flags.storage).expanduser().absolute() / FOLDER
        self.root, self.again = root, flags.retry
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"storage {str(self.folder)!r} cannot be written: {error.strerror}") from error


def _train(argv: Sequence[str]) -> int:
    load_plugins()
    flags = parser().parse_args(argv)
    for name in flags.imports:
        announce(name, str(Path.cwd()))
    check_flags(flags)
    device = chosen_device(flags.device)
    student = student_side(flags)
    teacher = teacher_side(flags) if flags.teacher else None
    data, root, recipe = data_and_recipe(flags, student)
    learnt = learnt_task(flags, data)
    methods = _methods(flags, learnt.name)
    dataset = load(data, root)
    print(f"data {data.name}: {dataset.account}", flush=True)
    check_batch(student.name, recipe, len(dataset.train))
    task = task_on(learnt, data, dataset, flags.teacher_size)
    task.check(student.name, recipe, student.initial)
    if teacher and not flags.teacher_file:
        task.check(teacher.name, recipe, teacher.initial)
    runs = []
    for method in methods:
        given = None if teacher is None or teacherless(method.name) else teacher.name
        known = Teacher(given, "run:none", flags.teacher_size) if given else None
        run = RunConfig(
            student.name, data, recipe, method, known, flags.seed, flags.threads, student.initial, task=learnt
        )
        method_on_meta(run, task.num_classes)
        runs.append(run)
    room = _Room(flags, root, device)
    on_cpu = device.type == "cpu" if device else not torch.cuda.is_available()
    if on_cpu and (line := slow_bf16(recipe.precision)):
        print(line, file=sys.stderr, flush=True)
    with locked(room.folder):
        found, file, digest = None, "", ""
        if teacher and flags.teacher_file:
            found, file, digest = _given_teacher(flags, room, task, dataset)
        elif teacher:
            own = replace(runs[-1], student=teacher.name, data=task.for_teacher.data, method=Method(), teacher=None)
            own = replace(own, seed=0, initial=teacher.initial)
            found, file, digest = _trained_teacher(own, teacher, flags.teacher_size, room)
        runs = [replace(run, teacher=found if run.teacher else None) for run in runs]
        rows = [_run(run, student, room, _phase(run), file, digest) for run in runs]
    _tell(runs, rows, found, room.folder, task)
    return 0


def _methods(flags: argparse.Namespace, task: str) -> list[Method]:
    """The method that is asked for, and before it those that it is compared with."""
    check_task(flags.method, task)
    asked = Method(flags.method, options("--option", flags.option))
    if not flags.baselines:
        return [asked]
    serving = [name for name in BASELINES if name in list_methods(task) and (teacherless(name) or flags.teacher)]
    if SCRATCH not in serving:
        raise ConfigError(f"--baselines: {task} has no {SCRATCH}, only methods of its own")
    return [*(Method(name) for name in serving if name != asked.name), asked]


def _phase(run: RunConfig) -> str:
    return SCRATCH if run.method.name == SCRATCH else "confirm"


def _given_teacher(flags: argparse.Namespace, room: _Room, task: Task, dataset: Dataset) -> tuple[Teacher, str, str]:
    """The identity of a teacher that is not trained here, its file and the SHA-256 of its bytes; what it scores is said
    before anything is trained."""
    place, digest = flags.teacher_file, flags.teacher_sha256 or ""
    own, folder = task.for_teacher, room.folder
    if not digest and not is_url(place) and not place.startswith(TIMM):
        digest = sha256(Path(place).expanduser())
    source = TeacherFile(place, digest)
    if source.tag:
        check_tag(task.name, flags.teacher, source.tag)
    source = resolve(source, folder, own)
    path = provide(flags.teacher, source, folder, own)
    say_score(source.tag or flags.teacher, path, own, dataset, _say, room.device)
    weights = f"sha256:{source.sha256}"
    return Teacher(source.tag or flags.teacher, weights, flags.teacher_size), str(path), source.sha256


def _trained_teacher(run: RunConfig, side: Side, size: int, room: _Room) -> tuple[Teacher, str, str]:
    """The identity of a teacher once it is trained here, its file and the SHA-256 of its bytes."""
    row = _run(run, side, room, "teacher")
    path = run_folder(room.folder, run.run_id) / STUDENT
    _warn(f"the teacher {run.student}", row["test_last_" + row["exported"]], room.folder, run)
    return Teacher(run.student, f"run:{run.run_id}", size), str(path), row["student_sha256"]


def _run(
    run: RunConfig, side: Side, room: _Room, phase: str, teacher_file: str = "", teacher_sha256: str = ""
) -> dict[str, Any]:
    """Train one run to its end, or find it done; returns its row. Raises ConfigError with its message if it failed.

    One that had failed before is tried again, with --retry one that diverged, too: only what a run itself finds is
    final.
    """
    folder, found = room.folder, ledger.read_run(room.folder, run.run_id)
    if found is not None and found["status"] in (RETRIED if room.again else ("failed",)):
        set_aside(folder, run.run_id)
    elif (other := changed_run(folder, run.run_id)) is not None:
        _other_text(folder, other, room.again)
    file, digest = _initial(run, side, folder)
    job = Job(
        folder=str(folder),
        study=FOLDER,
        config=run.to_json(),
        until=run.recipe.epochs,
        phase=phase,
        student_family=family(run.student),
        teacher_family=family(run.teacher.name) if run.teacher else "",
        data_root=str(room.root),
        teacher_file=teacher_file if run.teacher else "",
        teacher_sha256=teacher_sha256 if run.teacher else "",
        initial_file=file,
        initial_sha256=digest,
    )
    print(f"{phase} {run.student}, method {run.method.name}, seed {run.seed}: run {run.run_id}", flush=True)
    execute(job, partial(TellingIO, METRICS[task_class(run.task.name).metric], run.recipe.epochs, room.device))
    row = ledger.read_run(folder, run.run_id)
    assert row is not None  # a segment to the full length always ends the run
    if row["status"] != "finished":
        hint = "; --retry trains it again" if row["status"] == "diverged" else ""
        raise ConfigError(f"run {run.run_id} {row['status']}: {row['message']}{hint}")
    return row


def _other_text(folder: Path, run: Changed, again: bool) -> None:
    """A run whose own files have changed: set aside, or kept and said so."""
    if again:
        print(*(f"run {run_id} is set aside" for run_id in set_aside_changed(folder, (run.run_id,))), sep="\n")
    else:
        print(*changed_lines(folder, (run,), "--retry"), sep="\n", flush=True)


def _initial(run: RunConfig, side: Side, folder: Path) -> tuple[str, str]:
    """The file of the weights that a run starts from, and the SHA-256 that its bytes must have where it is known."""
    if run.initial.startswith(FILE):
        return side.file, run.initial.removeprefix(FILE)
    if run.initial.startswith(RUN):
        run_id = run.initial.removeprefix(RUN)
        row = ledger.read_run(folder, run_id) if run_id.isalnum() else None
        path = run_folder(folder, run_id) / STUDENT
        if row is None or not path.is_file():
            raise ConfigError(f"initial weights {run.initial}: no finished run of that id in {str(folder)!r}")
        return str(path), str(row["student_sha256"])
    if not run.initial:
        return "", ""
    tag = run.initial.removeprefix(TIMM)
    provide_initial(tag, folder)
    return str(initial_file(tag, folder)), initial_sha256(tag, folder)


def _tell(
    runs: Sequence[RunConfig], rows: Sequence[dict[str, Any]], teacher: Teacher | None, folder: Path, task: Task
) -> None:
    """What came out: the teacher, each student, its gain over scratch, who is at chance, how to open the last one."""
    metric, run, row = METRICS[rows[-1]["metric"]], runs[-1], rows[-1]
    scores = [float(one[f"test_last_{one['exported']}"]) for one in rows]
    if teacher:
        print(f"{teacher.name}: {metric.told(row['teacher_score'])} on test, the teacher")
    print(f"{run.student}: {metric.told(scores[-1])} on test after {counted(row['epochs_done'], 'epoch')}")
    if len(runs) > 1:
        print(_gains([one.method.name for one in runs], scores, metric))
    for one, score in zip(runs, scores, strict=True):
        _warn(f"{run.student} with method {one.method.name}", score, folder, one)
    print(_opened(run, task.num_classes, run_folder(folder, run.run_id)))


def _gains(names: Sequence[str], scores: Sequence[float], metric: Metric) -> str:
    """A line for each method: its score and what it gains over scratch."""
    width, base = max(map(len, names)), scores[names.index(SCRATCH)]
    lines = [f"  {'method':{width}}  {metric.short:>7}  gain over scratch"]
    for name, score in zip(names, scores, strict=True):
        gain = "" if name == SCRATCH else f"  {score - base:+.2f}"
        lines.append(f"  {name:{width}}  {score:7.2f}{gain}")
    return "\n".join([*lines, f"  in {metric.points}, one seed: whether it is luck, only several can say"])


def _config(folder: Path, run: RunConfig) -> dict[str, Any]:
    """What a run's student carries; empty for a run of before."""
    found: dict[str, Any] = json.loads(storage.read_file(run_folder(folder, run.run_id), CONFIG) or b"{}")
    return found


def _warn(who: str, score: float, folder: Path, run: RunConfig) -> None:
    """Say it where a model of a run's data set answers no better than always the same."""
    about = _config(folder, run).get("pat", {})
    if at_chance(score, about.get("chance"), about.get("test_images")):
        print(f"warning: {chance_line(who, score, about['chance'])}", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


def _opened(run: RunConfig, num_classes: int, folder: Path) -> str:
    """A line of Python that opens what was trained."""
    if run.task.name == CLASSIFICATION and not _config(folder.parents[1], run).get("architecture"):
        arguments = f"{run.student!r}, num_classes={num_classes}, checkpoint_path={str(folder / STUDENT)!r}"
        return f"import {timm.model_entrypoint(run.student).__module__}, timm; timm.create_model({arguments})"
    if run.task.name == CLASSIFICATION:
        module = timm.model_entrypoint(run.student).__module__
        own = "" if module.startswith("timm.") else f"{module}, "
        return f"import {own}timm; timm.create_model({f'local-dir:{folder}'!r}, pretrained=True)"
    task = f"pat.create_task(pat.{run.task!r}, pat.{run.data!r}, {num_classes})"
    return f"import pat, pathlib; model, _ = {task}.trained({run.student!r}, pathlib.Path({str(folder / STUDENT)!r}))"
