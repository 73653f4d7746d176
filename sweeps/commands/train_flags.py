"""The flags of `python -m sweeps train`, and what they ask for: names, data, recipe, starting weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch

from pat import config
from pat.config import ConfigError, Data, Recipe, unknown
from pat.data import list_datasets, own_data
from pat.methods import list_methods
from pat.models import check_pretrained, has_record, native_size
from pat.options import teacherless
from pat.resolve import check_model, resolve
from pat.starting import FILE
from pat.tasks import default_task
from pat.weights import sha256
from sweeps.guard import Parser
from sweeps.own import with_fields
from sweeps.study import CLASSIFICATION, TIMM

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
NAMED = {
    "epochs": "recipe.epochs",
    "batch_size": "recipe.batch_size",
    "lr": "recipe.lr",
    "flip": "recipe.flip",
    "image_size": "data.image_size",
    "unreadable": "data.unreadable",
}
"""Flags that stand for a `--set` of a field."""
EXAMPLES = """\
examples
  a first run, on images that come with the package:
    %(prog)s --student vit_nano_patch8_32 --teacher convnext_micro_32 --method rsd \\
        --data digits --epochs 5
  own images, a teacher of one's own, what scratch and KD give beside it:
    %(prog)s --student mobilenetv3_small_100 --teacher resnet50 --teacher-file teacher.pth \\
        --data path/to/flowers --method pat --baselines
  both sides begin with timm's weights, another optimiser, augmentation, an average of the weights, bfloat16:
    %(prog)s --student resnet18 --initial timm --teacher resnet50 --teacher-initial timm --method kd \\
        --data path/to/flowers --set recipe.optimizer=lamb --set recipe.auto_augment=rand-m9-mstd0.5-inc1 \\
        --set recipe.ema_decay=0.999 --set recipe.precision=bf16 --device cuda:1
"""


class Side(NamedTuple):
    """A model that is trained: timm's name, what its training starts from (`RunConfig.initial`), and the file of these
    weights where they are one's own."""

    name: str
    initial: str = ""
    file: str = ""


def parser() -> Parser:
    """The flags of `python -m sweeps train`."""
    about = "Distil one student from one teacher: one method, one seed. The same command goes on after a stop."
    form = argparse.RawDescriptionHelpFormatter
    prog, usage = "python -m sweeps train", "%(prog)s --student NAME --data NAME [--teacher NAME] [options]"
    flags = Parser(prog=prog, usage=usage, description=about, epilog=EXAMPLES, formatter_class=form)
    what = flags.add_argument_group("what is trained")
    what.add_argument("--student", required=True, metavar="NAME", help="a timm name; a tag: its weights to begin with")
    what.add_argument("--teacher", metavar="NAME", help="a timm name; trained first unless --teacher-file is given")
    what.add_argument("--method", default="pat", metavar="NAME", help=f"one of {', '.join(list_methods())} [pat]")
    what.add_argument("--import", metavar="MODULE", action="append", default=[], dest="imports",
                      help="import a module first, which registers methods, models or data sets")  # fmt: skip
    what.add_argument(
        "--baselines", action="store_true", help="also what scratch and KD give, so that the gain is known"
    )
    weights = flags.add_argument_group("from which weights")
    start = "timm (its default tag), timm:NAME.TAG, run:ID of this storage, or a file [random ones]"
    weights.add_argument("--initial", metavar="WEIGHTS", help=f"what the student begins with: {start}")
    weights.add_argument("--teacher-initial", metavar="WEIGHTS", help="the same of a teacher that is trained here")
    given = "a teacher that is not: a file (safetensors, state dict), a URL or timm:NAME.TAG"
    weights.add_argument("--teacher-file", metavar="WEIGHTS", help=given)
    weights.add_argument("--teacher-sha256", metavar="HEX", help="what that file must hash to; a URL needs it")
    _data_flags(flags)
    _recipe_flags(flags)
    where = flags.add_argument_group("where")
    where.add_argument("--storage", default="runs", metavar="DIR", help="the run is kept in DIR/train [runs]")
    where.add_argument("--data-root", default="data", metavar="DIR", help="folder of the named data sets [data]")
    where.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps [a GPU, if there is one]")
    where.add_argument(
        "--retry", action="store_true", help="train again what diverged, or what own files of now have not trained"
    )
    where.add_argument("--verbose", action="store_true", help="tracebacks")
    return flags


def _data_flags(flags: Parser) -> None:
    data = flags.add_argument_group("on which images")
    kinds = "a folder a class in train/ and test/ (or val/), boxes in COCO's layout, or images/ and masks/"
    named = ", ".join(name for name in list_datasets() if ":" not in name)
    data.add_argument("--data", required=True, metavar="NAME", help=f"{named}, or a folder: {kinds}")
    size = f"pixels [what the student was made for; with boxes or masks, of the shorter side, {DENSE_SIZE}]"
    data.add_argument("--image-size", type=int, metavar="N", help=size)
    data.add_argument("--teacher-size", type=int, default=0, metavar="N", help="the teacher's own [the student's]")
    data.add_argument("--unreadable", choices=("stop", "skip"), help="what an image that is none does [stop]")


def _recipe_flags(flags: Parser) -> None:
    how = flags.add_argument_group("how, teacher and student alike")
    how.add_argument("--epochs", type=int, metavar="N", help=f"[{RECIPE.epochs}]")
    sizes = f"[{RECIPE.batch_size}; with boxes or masks {DENSE.batch_size}]"
    how.add_argument("--batch-size", type=int, metavar="N", help=sizes)
    how.add_argument("--lr", type=float, metavar="X", help=f"of the optimiser [{RECIPE.lr}]")
    how.add_argument("--flip", type=float, metavar="P", help="probability of a horizontal flip [0]")
    how.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", default=[], dest="settings",
        help="any other field: recipe.optimizer=sgd, recipe.ema_decay=0.999, data.validation=0.2",
    )  # fmt: skip
    option: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
    how.add_argument("--option", **option, help="an option of the method, for instance weight=2")
    how.add_argument("--task-option", **option, help="an option of detection or segmentation, for instance width=128")
    how.add_argument("--seed", type=int, default=1, metavar="N", help="of the student [1]")
    how.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, part of what a run is [1]")


def check_flags(flags: argparse.Namespace) -> None:
    """Raises ConfigError for flags that contradict each other."""
    if flags.method not in list_methods():
        raise unknown("method", flags.method, list_methods())
    needs_teacher = not teacherless(flags.method)
    if needs_teacher != bool(flags.teacher):
        raise ConfigError(f"--teacher: method {flags.method!r} takes {'one' if needs_teacher else 'none'}")
    for flag, other in (
        ("teacher_sha256", "teacher_file"),
        ("teacher_file", "teacher"),
        ("teacher_size", "teacher"),
        ("teacher_initial", "teacher"),
    ):
        if getattr(flags, flag) and not getattr(flags, other):
            raise ConfigError(f"--{flag.replace('_', '-')}: only with --{other.replace('_', '-')}")
    if flags.teacher_initial and flags.teacher_file:
        raise ConfigError("--teacher-initial, --teacher-file: one of them; a teacher from a file is not trained here")


def student_side(flags: argparse.Namespace) -> Side:
    """The student and what it starts from."""
    return _side(flags.student, flags.initial, "student")


def teacher_side(flags: argparse.Namespace) -> Side:
    """The same of the teacher. A tag of one that is given says for which statistics of the pixels it was made."""
    if flags.teacher_file:
        check_model(flags.teacher, "teacher")
        return Side(flags.teacher)
    return _side(flags.teacher, flags.teacher_initial, "teacher")


def _side(given: str, initial: str | None, role: str) -> Side:
    """timm's name of a model, and the weights that its training starts from: what a flag says, else its tag."""
    flag = "--initial" if role == "student" else "--teacher-initial"
    found = resolve(given, role)
    if given not in found:
        print(f"{role} {given} is timm's {found.name} now", flush=True)
    if initial and found.tag:
        raise ConfigError(f"{flag} {initial!r}: the tag of {given!r} says already what it begins with")
    if initial == TIMM.rstrip(":"):
        if not timm.models.is_model_pretrained(found.name):
            raise ConfigError(f"{flag} timm: timm has no weights of {found.name!r}")
        initial = f"{TIMM}{found.name}.{timm.get_pretrained_cfg(found.name).tag}"
    if found.tag:
        initial = f"{TIMM}{found.tag}"
    if not initial:
        return Side(found.name)
    if initial.startswith(TIMM):
        check_pretrained(found.name, initial.removeprefix(TIMM), role)
    elif not initial.startswith("run:"):
        path = Path(initial).expanduser()
        if not path.is_file():
            raise ConfigError(f"{flag} {initial!r}: no such file; or timm, timm:{found.name}.TAG, run:ID")
        return Side(found.name, f"{FILE}{sha256(path)}", str(path.absolute()))
    return Side(found.name, initial)


def data_and_recipe(flags: argparse.Namespace, student: Side) -> tuple[Data, Path, Recipe]:
    """The data set, the folder in which its files lie, and the recipe."""
    tagged = student.initial.removeprefix(TIMM) if student.initial.startswith(TIMM) else student.name
    size = native_size(tagged)[1]
    if flags.image_size is None and not has_record(tagged):
        print(f"{student.name} has no record of its input: {size} px; --image-size says another", flush=True)
    root = Path(flags.data_root).expanduser().absolute()
    if flags.data in list_datasets():
        data = Data(flags.data, size)
    else:
        path = Path(flags.data).expanduser().absolute()
        if not path.is_dir():
            names = (name for name in list_datasets() if ":" not in name)
            raise unknown("data set", flags.data, names, " (and no folder)")
        data, root = own_data(path, size), path.parent
    classifies = default_task(data).name == CLASSIFICATION
    parts: dict[str, Any] = {
        "data": data if classifies else replace(data, image_size=DENSE_SIZE),
        "recipe": RECIPE if classifies else DENSE,
    }
    given = [(f"--{name.replace('_', '-')}", field, getattr(flags, name)) for name, field in NAMED.items()]
    values, said = with_fields(parts, [one for one in given if one[2] is not None], flags.settings)
    recipe = values["recipe"]
    if not said & {"recipe.warmup_epochs", "recipe.warmup_steps"}:
        recipe = replace(recipe, warmup_epochs=min(1, recipe.epochs - 1))
    return values["data"], root, recipe


def learnt_task(flags: argparse.Namespace, data: Data) -> config.Task:
    """What the data set is made for. BatchNorm is trained where the task asks: no weights are there to begin with."""
    learnt = default_task(data)
    scratch = {"freeze_norm": False} if "freeze_norm" in learnt.options else {}
    return config.Task(learnt.name, {**scratch, **options("--task-option", flags.task_option)})


def options(flag: str, given: Sequence[str]) -> dict[str, Any]:
    """`name=value` texts as options; values are JSON where they can be, else text."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {text!r}: NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def chosen_device(name: str | None) -> torch.device | None:
    """The device of that name, None where none is named. Raises ConfigError for one that is not here."""
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch raises many kinds, some of several lines
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"--device {name!r}: {reason}") from error
    return device
