"""`python -m sweeps train`: one teacher, one student, one method on named or own data. No Ray."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm

from analysis import ledger
from analysis.metrics import METRICS, Metric
from pat import config
from pat import resolve as names
from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Teacher, unknown
from pat.data import list_datasets, load, own_data
from pat.io import STUDENT, Files, LocalIO
from pat.methods import check_task, list_methods
from pat.models import check_pretrained, family
from pat.options import teacherless
from pat.resolve import check_model
from pat.tasks import Task, default_task, task_class, task_on
from pat.weights import is_url, sha256
from sweeps.command import Parser, guarded
from sweeps.costs.flops import method_on_meta
from sweeps.engine.keep import set_aside
from sweeps.engine.lock import locked
from sweeps.engine.runs import Job, execute, run_folder
from sweeps.study import CLASSIFICATION, SCRATCH, TIMM, TeacherFile, check_tag
from sweeps.teachers import initial_file, initial_sha256, provide, provide_initial, resolve

FOLDER = "train"
RECIPE = Recipe(
    epochs=30,
    batch_size=64,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.05,
    min_lr=1e-5,
    clip_grad=5.0,
    label_smoothing=0.1,
    crop_scale=(0.5, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
)
"""A start for any model on any data; the flags change what matters first."""
DENSE = replace(
    RECIPE, batch_size=8, label_smoothing=0.0, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), interpolation="bilinear"
)
"""The same for whole images with boxes or masks."""
DENSE_SIZE = 480


def parser() -> Parser:
    """The flags of `python -m sweeps train`."""
    about = "Distil one student from one teacher: one method, one seed."
    flags = Parser(prog="python -m sweeps train", description=about, allow_abbrev=False)
    flags.add_argument("--student", required=True, help="a timm name")
    flags.add_argument("--teacher", help="a timm name; trained first unless --teacher-file is given")
    flags.add_argument("--method", default="pat", help=f"one of {', '.join(list_methods())} (default pat)")
    kinds = "a folder a class in train/ and test/ (or val/), boxes in COCO's layout, or images/ and masks/"
    named = ", ".join(name for name in list_datasets() if ":" not in name)
    flags.add_argument("--data", required=True, help=f"{named}, or a folder: {kinds}")
    option: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
    flags.add_argument("--option", **option, help="an option of the method, for instance weight=2")
    flags.add_argument("--task-option", **option, help="an option of detection or segmentation, for instance width=128")
    flags.add_argument("--data-root", default="data", help="folder of the named data sets (default data)")
    flags.add_argument("--unreadable", choices=("stop", "skip"), default="stop", help="what an unreadable image does")
    flags.add_argument("--teacher-file", help="its weights: a file (safetensors, state dict), a URL or timm:NAME.TAG")
    flags.add_argument("--teacher-sha256", metavar="HEX", help="what that file must hash to; a URL needs it")
    flags.add_argument("--storage", default="runs", help=f"the run is kept in STORAGE/{FOLDER} (default runs)")
    flags.add_argument(
        "--image-size",
        type=int,
        help="pixels (default: what the student was made for); where there are boxes or masks, those of the shorter "
        f"side (default {DENSE_SIZE})",
    )
    flags.add_argument("--teacher-size", type=int, default=0, help="the teacher's own (default: the student's)")
    flags.add_argument("--epochs", type=int, default=RECIPE.epochs, help=f"default {RECIPE.epochs}")
    sizes = f"default {RECIPE.batch_size}, where there are boxes or masks {DENSE.batch_size}"
    flags.add_argument("--batch-size", type=int, help=sizes)
    lr = f"of AdamW, for teacher and student (default {RECIPE.lr})"
    flags.add_argument("--lr", type=float, default=RECIPE.lr, help=lr)
    flags.add_argument("--flip", type=float, default=0.0, help="probability of a horizontal flip")
    flags.add_argument("--seed", type=int, default=1, help="of the student (default 1)")
    flags.add_argument("--threads", type=int, default=1, help="of torch, part of what a run is (default 1)")
    flags.add_argument("--verbose", action="store_true", help="tracebacks")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 the run failed, 2 bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _train(parser().parse_args(argv)), "--verbose" in argv)


def _train(flags: argparse.Namespace) -> int:
    if flags.method not in list_methods():
        raise unknown("method", flags.method, list_methods())
    needs_teacher = not teacherless(flags.method)
    if needs_teacher != bool(flags.teacher):
        raise ConfigError(f"--teacher: method {flags.method!r} takes {'one' if needs_teacher else 'none'}")
    if flags.teacher_sha256 and not flags.teacher_file:
        raise ConfigError("--teacher-sha256: only with --teacher-file")
    if flags.teacher_file and not flags.teacher:
        raise ConfigError("--teacher-file: only with --teacher NAME, the model that it holds")
    if flags.teacher_size and not flags.teacher:
        raise ConfigError("--teacher-size: only with --teacher NAME")
    flags.student, flags.initial = _named(flags.student, "student")
    teacher_initial = ""
    if needs_teacher:
        if flags.teacher_file:
            check_model(flags.teacher, "teacher")  # a tag says for which statistics of the pixels the file was made
        else:
            flags.teacher, teacher_initial = _named(flags.teacher, "teacher")
    data, root = _data(flags)
    learnt = _task(flags, data)
    check_task(flags.method, learnt.name)
    start = RECIPE if learnt.name == CLASSIFICATION else DENSE
    batch_size = start.batch_size if flags.batch_size is None else flags.batch_size
    changes = {"epochs": flags.epochs, "batch_size": batch_size, "lr": flags.lr, "flip": flags.flip}
    recipe = replace(start, **changes, warmup_epochs=min(1, flags.epochs - 1))
    method = Method(flags.method, _options("--option", flags.option))
    dataset = load(data, root)
    print(f"data {data.name}: {dataset.account}", flush=True)
    task = task_on(learnt, data, dataset, flags.teacher_size)
    task.check(flags.student, recipe, flags.initial)
    if needs_teacher and not flags.teacher_file:
        task.check(flags.teacher, recipe, teacher_initial)
    given = Teacher(flags.teacher, "run:none", flags.teacher_size) if needs_teacher else None
    run = RunConfig(flags.student, data, recipe, method, given, flags.seed, flags.threads, flags.initial, task=learnt)
    method_on_meta(run, task.num_classes)
    folder = Path(flags.storage).expanduser().absolute() / FOLDER
    _make(folder)
    with locked(folder):
        teacher, file, digest = None, "", ""
        if flags.teacher_file:
            teacher, file, digest = _given_teacher(flags, folder, task.for_teacher)
        elif needs_teacher:
            run_of_teacher = RunConfig(
                flags.teacher, task.for_teacher.data, recipe, seed=0, threads=flags.threads, initial=teacher_initial,
                task=learnt,
            )  # fmt: skip
            teacher, file, digest = _trained_teacher(run_of_teacher, flags.teacher_size, root, folder)
        run = replace(run, teacher=teacher)
        row = _run(run, folder, root, "scratch" if flags.method == SCRATCH else "confirm", file, digest)
    path = run_folder(folder, run.run_id) / STUDENT
    metric = METRICS[row["metric"]]
    if teacher:
        print(f"{flags.teacher}: {metric.told(row['teacher_score'])} on test, the teacher")
    score = metric.told(row[f"test_last_{row['exported']}"])
    print(f"{flags.student}: {score} on test after {row['epochs_done']} epochs")
    print(_opened(run, task.num_classes, path))
    return 0


def _named(given: str, role: str) -> tuple[str, str]:
    """timm's name of a model, and the weights that its training starts from, where a tag was given."""
    found = names.resolve(given, role)
    if given not in found:
        print(f"{role} {given} is timm's {found.name} now", flush=True)
    if found.tag:
        check_pretrained(found.name, found.tag, role)
    return found.name, f"{TIMM}{found.tag}" if found.tag else ""


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"storage {str(folder)!r} cannot be written: {error.strerror}") from error


def _data(flags: argparse.Namespace) -> tuple[Data, Path]:
    """The data set and the folder in which its files lie."""
    own = timm.get_pretrained_cfg(flags.initial.removeprefix(TIMM) or flags.student).input_size[-1]
    root = Path(flags.data_root).expanduser().absolute()
    if flags.data in list_datasets():
        data = Data(flags.data, own)
    else:
        path = Path(flags.data).expanduser().absolute()
        if not path.is_dir():
            names = (name for name in list_datasets() if ":" not in name)
            raise unknown("data set", flags.data, names, " (and no folder)")
        data, root = own_data(path, own), path.parent
    size = own if default_task(data).name == CLASSIFICATION else DENSE_SIZE
    given = size if flags.image_size is None else flags.image_size
    return replace(data, image_size=given, unreadable=flags.unreadable), root


def _task(flags: argparse.Namespace, data: Data) -> config.Task:
    """What the data set is made for. BatchNorm is trained where the task asks: no weights are there to begin with."""
    learnt = default_task(data)
    scratch = {"freeze_norm": False} if "freeze_norm" in learnt.options else {}
    return config.Task(learnt.name, {**scratch, **_options("--task-option", flags.task_option)})


def _options(flag: str, given: Sequence[str]) -> dict[str, Any]:
    """`name=value` texts as options; values are JSON where they can be, else text."""
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {text!r}: NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def _given_teacher(flags: argparse.Namespace, folder: Path, task: Task) -> tuple[Teacher, str, str]:
    """The identity of a teacher that is not trained here, its file and the SHA-256 of its bytes."""
    place, digest = flags.teacher_file, flags.teacher_sha256 or ""
    if not digest and not is_url(place) and not place.startswith(TIMM):
        digest = sha256(Path(place).expanduser())
    source = TeacherFile(place, digest)
    if source.tag:
        check_tag(task.name, flags.teacher, source.tag)
    source = resolve(source, folder, task)
    path = provide(flags.teacher, source, folder, task)
    weights = f"sha256:{source.sha256}"
    return Teacher(source.tag or flags.teacher, weights, flags.teacher_size), str(path), source.sha256


def _trained_teacher(run: RunConfig, size: int, root: Path, folder: Path) -> tuple[Teacher, str, str]:
    """The identity of a teacher once it is trained here, its file and the SHA-256 of its bytes."""
    row = _run(run, folder, root, "teacher")
    path = run_folder(folder, run.run_id) / STUDENT
    return Teacher(run.student, f"run:{run.run_id}", size), str(path), row["student_sha256"]


def _run(
    run: RunConfig, folder: Path, root: Path, phase: str, teacher_file: str = "", teacher_sha256: str = ""
) -> dict[str, Any]:
    """Train one run to its end, or find it done; returns its row. Raises ConfigError with its message if it failed.

    One that had failed before is tried again: only what a run itself finds is final.
    """
    found = ledger.read_run(folder, run.run_id)
    if found is not None and found["status"] == "failed":
        set_aside(folder, run.run_id)
    initial = run.initial.removeprefix(TIMM)
    if initial:
        provide_initial(initial, folder)
    job = Job(
        folder=str(folder),
        study=FOLDER,
        config=run.to_json(),
        until=run.recipe.epochs,
        phase=phase,
        student_family=family(run.student),
        teacher_family=family(run.teacher.name) if run.teacher else "",
        data_root=str(root),
        teacher_file=teacher_file,
        teacher_sha256=teacher_sha256,
        initial_file=str(initial_file(initial, folder)) if initial else "",
        initial_sha256=initial_sha256(initial, folder) if initial else "",
    )
    print(f"{phase} {run.student}, method {run.method.name}, seed {run.seed}: run {run.run_id}", flush=True)
    execute(job, partial(_talking, METRICS[task_class(run.task.name).metric]))
    row = ledger.read_run(folder, run.run_id)
    assert row is not None  # a segment to the full length always ends the run
    if row["status"] != "finished":
        raise ConfigError(f"run {run.run_id} {row['status']}: {row['message']}")
    return row


def _talking(metric: Metric, folder: Path, on_epoch: Any, stop: Callable[[], bool], files: Files) -> LocalIO:
    """A `LocalIO` that also prints a line an epoch."""

    def tell(history: list[dict[str, Any]]) -> None:
        on_epoch(history)
        row = history[-1]
        scores = f"loss {row['train_loss']:.3f}, validation {metric.told(row['val_score_raw'])}"
        print(f"  epoch {row['epoch']}: {scores}, {row['seconds']:.1f} s", flush=True)

    return LocalIO(folder, tell, stop, files)


def _opened(run: RunConfig, num_classes: int, path: Path) -> str:
    """A line of Python that opens what was trained."""
    if run.task.name == CLASSIFICATION:
        arguments = f"{run.student!r}, {_size(run)}num_classes={num_classes}, checkpoint_path={str(path)!r}"
        return f"import pat, timm; timm.create_model({arguments})"
    task = f"pat.create_task(pat.{run.task!r}, pat.{run.data!r}, {num_classes})"
    return f"import pat, pathlib; model, _ = {task}.trained({run.student!r}, pathlib.Path({str(path)!r}))"


def _size(run: RunConfig) -> str:
    """The argument that a model of fixed input size needs for another one."""
    cfg = timm.get_pretrained_cfg(run.student)
    same = not cfg.fixed_input_size or cfg.input_size[-1] == run.data.image_size
    return "" if same else f"img_size={run.data.image_size}, "
