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
from pat.config import ConfigError, Data, Method, Recipe, RunConfig, Teacher, unknown
from pat.data import folder_data, list_datasets, load
from pat.io import STUDENT, LocalIO
from pat.methods import list_methods
from pat.models import check_model, check_pretrained, family
from pat.tasks import Task, default_task, task_class, task_on
from pat.weights import is_url, sha256
from sweeps.cli import guarded
from sweeps.engine.lock import locked
from sweeps.engine.runs import Job, execute, run_folder
from sweeps.flags import Parser
from sweeps.study import TIMM, TeacherFile
from sweeps.teachers import provide, resolve

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


def parser() -> Parser:
    """The flags of `python -m sweeps train`."""
    about = "Distil one student from one teacher: one method, one seed."
    flags = Parser(prog="python -m sweeps train", description=about, allow_abbrev=False)
    flags.add_argument("--student", required=True, help="a timm name")
    flags.add_argument("--teacher", help="a timm name; trained first unless --teacher-file is given")
    flags.add_argument("--method", default="pat", help="for instance pat, kd, scratch (default pat)")
    flags.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the method")
    flags.add_argument("--data", required=True, help="a known name, or a folder with train/ and test/ (or val/)")
    flags.add_argument("--data-root", default="data", help="folder of the named data sets (default data)")
    flags.add_argument("--unreadable", choices=("stop", "skip"), default="stop", help="what an unreadable image does")
    flags.add_argument("--teacher-file", help="its weights: a file (safetensors, state dict), a URL or timm:NAME.TAG")
    flags.add_argument("--teacher-sha256", metavar="HEX", help="what that file must hash to; a URL needs it")
    flags.add_argument("--storage", default="runs", help=f"the run is kept in STORAGE/{FOLDER} (default runs)")
    flags.add_argument("--image-size", type=int, help="pixels (default: what the student was made for)")
    flags.add_argument("--epochs", type=int, default=RECIPE.epochs)
    flags.add_argument("--batch-size", type=int, default=RECIPE.batch_size)
    flags.add_argument("--lr", type=float, default=RECIPE.lr, help="of AdamW, for teacher and student")
    flags.add_argument("--flip", type=float, default=0.0, help="probability of a horizontal flip")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--verbose", action="store_true", help="tracebacks")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 the run failed, 2 bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _train(parser().parse_args(argv)), "--verbose" in argv)


def _train(flags: argparse.Namespace) -> int:
    if flags.method not in list_methods():
        raise unknown("method", flags.method, list_methods())
    needs_teacher = flags.method != "scratch"
    if needs_teacher != bool(flags.teacher):
        raise ConfigError(f"--teacher: method {flags.method!r} takes {'one' if needs_teacher else 'none'}")
    if flags.teacher_sha256 and not flags.teacher_file:
        raise ConfigError("--teacher-sha256: only with --teacher-file")
    if flags.teacher_file and not flags.teacher:
        raise ConfigError("--teacher-file: only with --teacher NAME, the model that it holds")
    check_model(flags.student, "student")
    data, root = _data(flags)
    task = task_on(default_task(data), data, load(data, root))
    changes = {"epochs": flags.epochs, "batch_size": flags.batch_size, "lr": flags.lr, "flip": flags.flip}
    recipe = replace(RECIPE, **changes, warmup_epochs=min(1, flags.epochs - 1))
    method = Method(flags.method, _options(flags.option))
    folder = Path(flags.storage).expanduser().absolute() / FOLDER
    _make(folder)
    with locked(folder):
        teacher, file, digest = None, "", ""
        if needs_teacher:
            check_model(flags.teacher, "teacher")
            if flags.teacher_file:
                teacher, file, digest = _given_teacher(flags, folder, task)
            else:
                teacher, file, digest = _trained_teacher(flags, data, root, recipe, folder)
        config = RunConfig(flags.student, data, recipe, method, teacher, flags.seed, flags.threads)
        row = _run(config, folder, root, "confirm" if teacher else "scratch", file, digest)
    path = run_folder(folder, config.run_id) / STUDENT
    metric = METRICS[row["metric"]]
    if teacher:
        print(f"{flags.teacher}: {metric.number(row['teacher_score'])} on test, the teacher")
    score = metric.number(row[f"test_last_{row['exported']}"])
    print(f"{flags.student}: {score} on test after {row['epochs_done']} epochs")
    arguments = f"{flags.student!r}, {_size(config)}num_classes={task.num_classes}, checkpoint_path={str(path)!r}"
    print(f"import pat, timm; timm.create_model({arguments})")
    return 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"storage {str(folder)!r} cannot be written: {error.strerror}") from error


def _data(flags: argparse.Namespace) -> tuple[Data, Path]:
    """The data set and the folder in which its files lie."""
    size = flags.image_size or timm.get_pretrained_cfg(flags.student).input_size[-1]
    if flags.data in list_datasets():
        return Data(flags.data, size, unreadable=flags.unreadable), Path(flags.data_root).expanduser().absolute()
    path = Path(flags.data).expanduser().absolute()
    if not path.is_dir():
        raise unknown("data set", flags.data, (name for name in list_datasets() if ":" not in name), " (and no folder)")
    return replace(folder_data(path, size), unreadable=flags.unreadable), path.parent


def _options(given: Sequence[str]) -> dict[str, Any]:
    """`name=value` texts as options; values are JSON where they can be, else text."""
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--option {text!r}: NAME=VALUE")
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
        check_pretrained(flags.teacher, source.tag)
    source = resolve(source, folder, task)
    path = provide(flags.teacher, source, folder, task)
    return Teacher(source.tag or flags.teacher, f"sha256:{source.sha256}"), str(path), source.sha256


def _trained_teacher(
    flags: argparse.Namespace, data: Data, root: Path, recipe: Recipe, folder: Path
) -> tuple[Teacher, str, str]:
    """The identity of a teacher once it is trained here, its file and the SHA-256 of its bytes."""
    config = RunConfig(flags.teacher, data, recipe, seed=0, threads=flags.threads)
    row = _run(config, folder, root, "teacher")
    path = run_folder(folder, config.run_id) / STUDENT
    return Teacher(flags.teacher, f"run:{config.run_id}"), str(path), row["student_sha256"]


def _run(
    config: RunConfig, folder: Path, root: Path, phase: str, teacher_file: str = "", teacher_sha256: str = ""
) -> dict[str, Any]:
    """Train one run to its end, or find it done; returns its row. Raises ConfigError with its message if it failed."""
    job = Job(
        folder=str(folder),
        study=FOLDER,
        config=config.to_json(),
        until=config.recipe.epochs,
        phase=phase,
        student_family=family(config.student),
        teacher_family=family(config.teacher.name) if config.teacher else "",
        data_root=str(root),
        teacher_file=teacher_file,
        teacher_sha256=teacher_sha256,
    )
    print(f"{phase} {config.student}, method {config.method.name}, seed {config.seed}: run {config.run_id}", flush=True)
    execute(job, partial(_talking, METRICS[task_class(config.task.name).metric]))
    row = ledger.read_run(folder, config.run_id)
    assert row is not None  # a segment to the full length always ends the run
    if row["status"] != "finished":
        raise ConfigError(f"run {config.run_id} {row['status']}: {row['message']}")
    return row


def _talking(metric: Metric, folder: Path, on_epoch: Any, stop: Callable[[], bool]) -> LocalIO:
    """A `LocalIO` that also prints a line an epoch."""

    def tell(history: list[dict[str, Any]]) -> None:
        on_epoch(history)
        row = history[-1]
        scores = f"loss {row['train_loss']:.3f}, validation {metric.number(row['val_score_raw'])}"
        print(f"  epoch {row['epoch']}: {scores}, {row['seconds']:.1f} s", flush=True)

    return LocalIO(folder, tell, stop)


def _size(config: RunConfig) -> str:
    """The argument that a model of fixed input size needs for another one."""
    cfg = timm.get_pretrained_cfg(config.student)
    same = not cfg.fixed_input_size or cfg.input_size[-1] == config.data.image_size
    return "" if same else f"img_size={config.data.image_size}, "
