"""The flags of the matrix: what runs is a preset in Python, where and how much of it are flags."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pat.config import ConfigError
from pat.plugins import announce
from sweeps.command import Parser
from sweeps.engine.kept import KEEP
from sweeps.engine.limits import ASK_ABOVE, Limits
from sweeps.places import IN_PLACE, SHARED, STAGE
from sweeps.presets import CIFAR100, GPU_PRESETS, PRESETS, preset

if TYPE_CHECKING:
    from sweeps.spaces import Log, Space
    from sweeps.study import Study

LISTS = ("presets", "methods", "data", "models", "tasks")
IMPORT = "import a module first, which registers methods, models or data sets; its file lies here"


def parser() -> Parser:
    """The flags of `hetero_grid.py`."""
    flags = Parser(prog="hetero_grid.py", description="Compute a matrix of distillation gains.", allow_abbrev=False)
    flags.add_argument("--preset", help=f"one of {', '.join(PRESETS)} (default {CIFAR100})")
    flags.add_argument("--study", metavar="FILE.py:NAME", help="a study of one's own instead: a Study in a file")
    flags.add_argument("--import", metavar="MODULE", action="append", default=[], dest="imports", help=IMPORT)
    flags.add_argument("--pairs", help="the first N pairs, or teacher:student,teacher:student, of any timm models")
    flags.add_argument("--methods", help="for instance kd,pat; scratch is always there")
    flags.add_argument("--only", metavar="CELL", help="teacher:student:method, this cell alone (and its baselines)")
    flags.add_argument(
        "--data", metavar="FOLDER", help="own data instead of the study's: train/<class>/ and test/<class>/"
    )
    flags.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", default=[], dest="settings",
        help="change a field of the study, as recipe.epochs=3 or data.image_size=64; its name says so",
    )  # fmt: skip
    flags.add_argument("--seeds", help="confirmation seeds of every setting: how many, or a list as 1,5,7")
    flags.add_argument("--trials", type=int, help="search trials of every cell, in whole waves")
    flags.add_argument(
        "--search-recipe", metavar="FIELD=LOW:HIGH",
        help="search multiples of the recipe's own value too, for scratch as for every method (lr=0.3:3)",
    )  # fmt: skip
    flags.add_argument(
        "--exchange", type=int, metavar="N", help="try each cell's best setting in N others too: does a setting travel?"
    )
    flags.add_argument("--workers", type=int, help="workers that share one run (Ray Train); a study of its own name")
    add_places(flags)
    flags.add_argument("--devices", type=int, metavar="N", help="on a cluster: begin with N GPUs, and use no more")
    together = "runs that one process may train at a time (default: as memory allows)"
    flags.add_argument("--together", type=int, metavar="N", help=together)
    flags.add_argument("--wait", type=float, metavar="MINUTES", help="for the cluster's machines (default 20)")
    flags.add_argument("--plan", action="store_true", help="say what would be done and what it costs; train nothing")
    flags.add_argument("--list", choices=LISTS, help="say what there is, and do nothing")
    flags.add_argument("--show", action="store_true", help="print the study as JSON, and do nothing")
    flags.add_argument(
        "--keep", choices=KEEP, default="all", help="students' files that outlive their runs (default all)"
    )
    flags.add_argument("--price", type=float, help="money per device-hour, for the plan and the status")
    flags.add_argument("--max-hours", type=float, metavar="H", help="pause after so many hours of this call")
    flags.add_argument(
        "--max-cost", type=float, metavar="X", help="pause once this call has spent so much, at --price a device-hour"
    )
    flags.add_argument(
        "--yes", action="store_true", help=f"start without asking, also above {ASK_ABOVE:.0f} device-hours"
    )
    flags.add_argument(
        "--retry", metavar="WHAT", help="failed, diverged or a run's id: set that record aside, run again"
    )
    flags.add_argument("--log", metavar="WHERE", help="also log each epoch to wandb:PROJECT or mlflow:TRACKING_URI")
    flags.add_argument("--verbose", action="store_true", help="tracebacks, and the output of the workers")
    return flags


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


def add_places(flags: argparse.ArgumentParser) -> None:
    """The flags that say where: storage, data sets, Ray."""
    flags.add_argument(
        "--storage", help=f"folder that holds a folder for each study (default runs; on a cluster {SHARED}/runs)"
    )
    flags.add_argument(
        "--data-root", help=f"folder, or URI, of the data sets (default data; on a cluster {SHARED}/data)"
    )
    flags.add_argument(
        "--stage",
        metavar="DIR",
        help=f"each machine's own folder for a copy of the data (default on a cluster {STAGE}; {IN_PLACE}: no copy)",
    )
    flags.add_argument("--address", help="a Ray cluster to run on; else an embedded Ray")


def select(study: Study, flags: argparse.Namespace) -> Study:
    """The study with what the flags change. Raises ConfigError for what is not there."""
    changes: dict[str, Any] = {}
    if flags.only is not None:
        study, changes["methods"] = _only(study, flags)
    if flags.pairs is not None:
        from sweeps.own import with_pairs

        study = with_pairs(study, _pairs(study, flags.pairs))
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
    return select(with_settings(study, flags.settings), flags), root


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
