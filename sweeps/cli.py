"""The command line of the matrix: what runs is a preset in Python, where and how much of it are flags."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from analysis.report import write_report
from analysis.schema import LedgerError
from pat.config import ConfigError
from pat.data import load
from sweeps.driver import Driver, Fatal
from sweeps.plan_text import plan_text
from sweeps.presets import CIFAR100, DIGITS, GPU_PRESETS, PRESETS, preset
from sweeps.store import grow, locked, open_study, read_study, study_folder
from sweeps.study import Study
from sweeps.teachers import provide_used, recorded, resolve_used

WORKS_HERE = f"what works here: python sweeps/hetero_grid.py --preset {DIGITS}"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def parser() -> Parser:
    """The flags of `hetero_grid.py`."""
    flags = Parser(prog="hetero_grid.py", description="Compute a matrix of distillation gains.", allow_abbrev=False)
    flags.add_argument("--preset", help=f"one of {', '.join(PRESETS)} (default {CIFAR100})")
    flags.add_argument("--pairs", help="the first N pairs, or teacher:student,teacher:student")
    flags.add_argument("--methods", help="for instance kd,pat; scratch is always there")
    flags.add_argument("--seeds", type=int, help="confirmation seeds of every setting")
    flags.add_argument("--trials", type=int, help="search trials of every cell, in whole waves")
    flags.add_argument("--workers", type=int, help="workers that share one run (Ray Train); a study of its own name")
    flags.add_argument("--storage", default="runs", help="folder that holds a folder for each study (default runs)")
    flags.add_argument("--data-root", default="data", help="folder of the data sets (default data)")
    flags.add_argument("--address", help="a Ray cluster to run on; else an embedded Ray")
    flags.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    flags.add_argument("--verbose", action="store_true", help="tracebacks, and the output of the workers")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 complete, 1 something could not be completed, 2 bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _main(parser().parse_args(argv)), "--verbose" in argv)


def guarded(command: Callable[[], int], verbose: bool) -> int:
    """Run a command; whatever goes wrong becomes one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        return command()
    except (ConfigError, LedgerError, Fatal) as error:
        code, line = 2, f"error: {error}"
    except KeyboardInterrupt:
        code, line = 130, "stopped; nothing finished is lost, the same command goes on from here"
    except Exception as error:
        code, line = 1, f"internal error: {type(error).__name__}: {str(error).splitlines()[:1]}; --verbose shows where"
    if verbose and code != 130:
        traceback.print_exc()
    print(line, file=sys.stderr)
    return code


def _stop(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _main(flags: argparse.Namespace) -> int:
    asked = select(preset(flags.preset or CIFAR100), flags)
    if "://" in flags.storage:
        raise ConfigError(f"storage {flags.storage!r}: a folder that every machine of the cluster sees")
    if flags.plan:
        folder = study_folder(flags.storage, asked)
        stored = read_study(folder)
        study = grow(stored, asked, folder) if stored else asked
        print(plan_text(recorded(study, folder), asked, folder))
        return 0
    return _run(asked, flags)


def select(study: Study, flags: argparse.Namespace) -> Study:
    """The study with what the flags change. Raises ConfigError for what is not there."""
    changes: dict[str, Any] = {}
    if flags.pairs is not None:
        changes["pairs"] = _pairs(study, flags.pairs)
    if flags.methods is not None:
        changes["methods"] = tuple(name.strip() for name in flags.methods.split(",") if name.strip())
    if flags.seeds is not None:
        changes["seeds"] = flags.seeds
    if flags.trials is not None:
        changes["search"] = replace(study.search, trials=flags.trials)
    if flags.workers is not None and flags.workers != study.workers:
        changes |= {"workers": flags.workers, "name": f"{study.name}-{flags.workers}workers"}
    return replace(study, **changes)


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


def _run(asked: Study, flags: argparse.Namespace) -> int:
    """Bring the study to its end, then its report."""
    from sweeps.cluster import address, nodes, ray_running  # Ray is imported only where something may run

    where = address(flags.address)
    needs_gpu = (flags.preset or CIFAR100) in GPU_PRESETS
    if where == "local":
        _check_gpu(asked, needs_gpu, torch.cuda.is_available())
    root = Path(flags.data_root).expanduser().absolute()
    num_classes = _check_data(asked, root)
    folder, study = open_study(flags.storage, asked)
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        resolve_used(asked, folder, num_classes)
        study = recorded(study, folder)
        gpus = torch.cuda.is_available()
        patience = 0.0
        if where != "local":
            from sweeps.cluster import JOIN_SECONDS

            stack.enter_context(ray_running(where, flags.verbose))
            gpus, patience = any(node.gpus for node in nodes()), JOIN_SECONDS
            _check_gpu(asked, needs_gpu, gpus)
        driver = Driver(folder, study, asked, root, gpus)
        driver.progress.say(f"study {study.name} in {folder}: {driver.progress.status()}")
        if driver.kind() is None:
            driver.finish()
        else:
            provide_used(asked, folder, num_classes)
            from sweeps.launch import launch

            stack.enter_context(ray_running(where, flags.verbose))
            launch(driver, patience)
    return _close(driver, folder)


def _check_gpu(study: Study, needed: bool, there: bool) -> None:
    if needed and not there:
        raise ConfigError(f"study {study.name!r} needs a GPU and there is none; {WORKS_HERE}")


def _check_data(study: Study, root: Path) -> int:
    """How many classes the data set has, once it is there."""
    try:
        return load(study.data, root).num_classes
    except ConfigError as error:
        hint = f"; {WORKS_HERE}" if study.data.name != "digits" else ""
        raise ConfigError(f"{error}{hint}") from error


def _close(driver: Driver, folder: Path) -> int:
    """The report, and what could not be completed."""
    print(write_report(folder))
    print(f"report and figures in {os.path.relpath(folder)}")
    planner = driver.planner
    if planner.complete:
        return 0
    problems = planner.problems
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    print(f"incomplete: {problems[0] if problems else 'not every run is finished'}{more}", file=sys.stderr)
    return 1
