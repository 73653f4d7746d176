"""The flags of the matrix: what runs is a preset in Python, where and how much of it are flags."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pat.config import ConfigError
from pat.plugins import announce
from sweeps.engine.kept import KEEP
from sweeps.engine.limits import ASK_ABOVE, Limits
from sweeps.guard import Parser
from sweeps.places import IN_PLACE, SHARED, STAGE
from sweeps.presets import CIFAR100, GPU_PRESETS, PRESETS, preset

if TYPE_CHECKING:
    from sweeps.spaces import Log, Space
    from sweeps.study import Study

LISTS = ("presets", "methods", "data", "models", "tasks")
RETRY = "failed, diverged, changed (own files, since) or a run's id: set these records aside, run again"
IMPORT = "import a module first, which registers methods, models or data sets; its file lies here"


EXAMPLES = """\
examples
  what there is, what a study is, what it costs; nothing is trained:
    %(prog)s --list presets
    %(prog)s --preset digits --show
    %(prog)s --preset digits --plan
  a small study on two cores, some methods, three seeds; the same command goes on after a stop:
    %(prog)s --preset digits --methods kd,rsd --seeds 3
  own data, any two models of timm, other settings:
    %(prog)s --preset cifar100-small --data path/to/flowers \\
        --pairs resnet50.a1_in1k:mobilenetv3_small_100 --set recipe.epochs=30 --plan
  a study of one's own:
    %(prog)s --study flowers.py:study
"""


def parser() -> Parser:
    """The flags of `hetero_grid.py`."""
    about = (
        "Compute a matrix of distillation gains: teachers x students x methods, over scratch and KD, with intervals."
    )
    form = argparse.RawDescriptionHelpFormatter
    usage = "%(prog)s [--preset NAME | --study FILE.py:NAME] [options]"
    flags = Parser(
        prog="python sweeps/hetero_grid.py", usage=usage, description=about, epilog=EXAMPLES, formatter_class=form
    )
    _study_flags(flags)
    _change_flags(flags)
    add_places(flags.add_argument_group("where"))
    _run_flags(flags)
    look = flags.add_argument_group("only look; nothing is trained")
    look.add_argument("--plan", action="store_true", help="what would be done and what it costs")
    look.add_argument("--json", action="store_true", help="the plan as JSON")
    look.add_argument("--list", choices=LISTS, help="what there is")
    look.add_argument("--show", action="store_true", help="the study as JSON")
    return flags


def _study_flags(flags: argparse.ArgumentParser) -> None:
    what = flags.add_argument_group("which study")
    what.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)} [{CIFAR100}]")
    what.add_argument("--study", metavar="FILE.py:NAME", help="a study of one's own instead: a Study in a file")
    what.add_argument("--import", metavar="MODULE", action="append", default=[], dest="imports", help=IMPORT)
    what.add_argument("--data", metavar="FOLDER", help="own data in its place: train/<class>/ and test/<class>/")
    what.add_argument("--unreadable", choices=("stop", "skip"), help="what an image that is none does [the study's]")


def _change_flags(flags: argparse.ArgumentParser) -> None:
    how = flags.add_argument_group("how much of it, and what is changed")
    how.add_argument(
        "--pairs", metavar="PAIRS", help="the first N, or teacher:student,teacher:student of any timm models"
    )
    how.add_argument("--methods", metavar="NAMES", help="for instance kd,pat; scratch is always there [the study's]")
    how.add_argument("--only", metavar="CELL", help="teacher:student:method, this cell alone (and its baselines)")
    how.add_argument("--seeds", metavar="SEEDS", help="of confirmation: how many, or a list as 1,5,7 [the study's]")
    how.add_argument(
        "--trials", type=int, metavar="N", help="of the search of every cell, in whole waves [the study's]"
    )
    how.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", default=[], dest="settings",
        help="change a field of the study, as recipe.epochs=3 or data.image_size=64; its name says so",
    )  # fmt: skip
    how.add_argument(
        "--search-recipe", metavar="FIELD=LOW:HIGH",
        help="search multiples of the recipe's own value too, for scratch as for every method (lr=0.3:3)",
    )  # fmt: skip
    how.add_argument(
        "--teacher-seeds",
        type=int,
        metavar="N",
        help="train each teacher under N seeds: is a gain its luck?",
    )
    how.add_argument(
        "--exchange", type=int, metavar="N", help="try each cell's best setting in N others: does it travel?"
    )
    how.add_argument("--workers", type=int, metavar="N", help="that share one run (Ray Train); a study of its own name")


def _run_flags(flags: argparse.ArgumentParser) -> None:
    run = flags.add_argument_group("how it is run")
    run.add_argument("--devices", type=int, metavar="N", help="on a cluster: begin with N GPUs, and use no more")
    run.add_argument("--together", type=int, metavar="N", help="runs that share a process [as many as memory allows]")
    run.add_argument("--wait", type=float, metavar="MINUTES", help="for the cluster's machines [20]")
    run.add_argument("--keep", choices=KEEP, default="all", help="students' files that outlive their runs [all]")
    run.add_argument("--price", type=float, metavar="X", help="money per device-hour, for plan, progress and status")
    run.add_argument("--max-hours", type=float, metavar="H", help="pause after so many hours of this call")
    run.add_argument("--max-cost", type=float, metavar="X", help="pause once it has spent so much, at --price an hour")
    run.add_argument("--yes", action="store_true", help=f"do not ask, also above {ASK_ABOVE:.0f} device-hours")
    run.add_argument("--retry", metavar="WHAT", help=RETRY)
    run.add_argument("--log", metavar="WHERE", help="also log each epoch to wandb:PROJECT or mlflow:TRACKING_URI")
    run.add_argument("--verbose", action="store_true", help="tracebacks, and the output of the workers")


def limits(flags: argparse.Namespace) -> Limits:
    """What the call may take at most, from now on. Raises ConfigError for what is no limit."""
    for name in ("max_hours", "max_cost"):
        value = getattr(flags, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g}: a positive number")
    if flags.price is not None and not flags.price >= 0:
        raise ConfigError(f"--price {flags.price}: money per device-hour, not negative")
    if flags.max_cost is not None and not flags.price:
        raise ConfigError(f"--max-cost {flags.max_cost:g}: needs --price, the money for a device-hour")
    words = f"--max-hours {flags.max_hours or 0:g}", f"--max-cost {flags.max_cost or 0:g}"
    return Limits(flags.max_hours, None if flags.max_cost is None else flags.max_cost / flags.price, words)


def add_places(flags: argparse._ActionsContainer) -> None:
    """The flags that say where: storage, data sets, Ray."""
    flags.add_argument(
        "--storage", metavar="DIR", help=f"holds a folder for each study [runs; on a cluster {SHARED}/runs]"
    )
    flags.add_argument(
        "--data-root", metavar="PLACE", help=f"folder, or URI, of the data sets [data; on a cluster {SHARED}/data]"
    )
    flags.add_argument(
        "--stage",
        metavar="DIR",
        help=f"each machine's own folder for a copy of the data [on a cluster {STAGE}; {IN_PLACE}: no copy]",
    )
    flags.add_argument("--address", metavar="ADDRESS", help="a Ray cluster to run on [a Ray of its own, here]")


def select(study: Study, flags: argparse.Namespace) -> Study:
    """The study with what the flags change. Raises ConfigError for what is not there."""
    changes: dict[str, Any] = {}
    if flags.only is not None:
        study, changes["methods"] = _only(study, flags)
    if flags.pairs is not None:
        from sweeps.own import with_pairs

        study = with_pairs(study, _pairs(study, flags.pairs))
    if flags.teacher_seeds is not None:
        from sweeps.teacher_seeds import with_teacher_seeds

        study = with_teacher_seeds(study, flags.teacher_seeds)
    if flags.methods is not None:
        changes["methods"] = tuple(name.strip() for name in flags.methods.split(",") if name.strip())
    if flags.seeds is not None:
        changes["seeds"] = _seeds(flags.seeds)
    if flags.trials is not None:
        changes["search"] = replace(study.search, trials=flags.trials)
    if flags.exchange is not None:
        changes["exchange"] = flags.exchange
    if flags.search_recipe is not None:
        from sweeps.settings import RECIPE

        recipe = _recipe(flags.search_recipe)
        changes |= {"spaces": {**study.spaces, RECIPE: recipe}, "name": f"{study.name}-{'-'.join(recipe)}"}
    if flags.workers is not None and flags.workers != study.workers:
        changes |= {"workers": flags.workers, "name": f"{changes.get('name', study.name)}-{flags.workers}workers"}
    return replace(study, **changes)


def asked(flags: argparse.Namespace) -> tuple[Study, Path | None]:
    """The study that the flags ask for, and the folder of its data where they name one."""
    from sweeps.own import load_study, with_data, with_settings

    for name in flags.imports:
        announce(name, str(Path.cwd()))
    if flags.study and flags.preset:
        raise ConfigError("--study, --preset: one of them")
    study, root = load_study(flags.study) if flags.study else preset(flags.preset or CIFAR100), None
    if flags.data is not None:
        study, root = with_data(study, flags.data)
    unreadable = [f"data.unreadable={flags.unreadable}"] if flags.unreadable else []
    return select(with_settings(study, [*flags.settings, *unreadable]), flags), root


def most(flags: argparse.Namespace) -> int | None:
    """How many runs may share a process; None: as many as there is room for."""
    return 1 if flags.log else flags.together


def needs_gpu(flags: argparse.Namespace) -> bool:
    """Whether a study is not begun without a GPU."""
    return not (flags.study or flags.data) and (flags.preset or CIFAR100) in GPU_PRESETS


def _only(study: Study, flags: argparse.Namespace) -> tuple[Study, tuple[str, ...]]:
    parts = flags.only.split(":")
    if len(parts) != 3 or flags.pairs is not None or flags.methods is not None:
        raise ConfigError(f"--only {flags.only!r}: teacher:student:method, without --pairs and --methods")
    from sweeps.own import with_pairs

    teacher, student, method = parts
    return with_pairs(study, [(teacher, student)]), (method,)


def _seeds(text: str) -> int | tuple[int, ...]:
    try:
        listed = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--seeds {text!r}: a number of seeds, or seeds as 1,5,7") from None
    return listed if "," in text else listed[0]


def _recipe(text: str) -> Space:
    """The space of the recipe out of `lr=0.3:3,weight_decay=0.1:10`."""
    from sweeps.spaces import Log

    found: dict[str, Log] = {}
    for part in text.split(","):
        field, _, ends = part.strip().partition("=")
        try:
            low, high = map(float, ends.split(":"))
        except ValueError:
            raise ConfigError(f"--search-recipe {part!r}: FIELD=LOW:HIGH, for instance lr=0.3:3") from None
        found[field] = Log(low, high)
    return found


def _pairs(study: Study, text: str) -> tuple[tuple[str, str], ...]:
    if text.strip("-").isdigit():
        if not 1 <= int(text) <= len(study.pairs):
            raise ConfigError(f"--pairs {text}: study {study.name!r} has 1 to {len(study.pairs)} pairs")
        return study.pairs[: int(text)]
    parts = [tuple(part.strip().split(":")) for part in text.split(",") if part.strip()]
    for part in parts:
        if len(part) != 2:
            raise ConfigError(f"--pairs {':'.join(part)!r}: a number, or teacher:student,teacher:student")
    return tuple((part[0], part[1]) for part in parts)
