"""The command of the matrix: from flags to a report, and whatever goes wrong to one line and an exit code."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from analysis.current import PLACE, current, note
from analysis.schema import LedgerError
from pat.config import ConfigError
from pat.data import Dataset, load
from pat.plugins import load_plugins
from sweeps.checks import check_batches
from sweeps.cluster.bootstrap import farewell, read_cluster
from sweeps.commands.flags import asked, limits, most, needs_gpu, parser
from sweeps.commands.lists import listed, shown
from sweeps.commands.plan import plan
from sweeps.costs.devices import agree, cluster_devices, slow_precision
from sweeps.costs.predicted import predicted_against_actual
from sweeps.engine.driver import Driver
from sweeps.engine.keep import retry
from sweeps.engine.limits import Limits
from sweeps.engine.lock import locked
from sweeps.engine.siblings import provide_initial_runs
from sweeps.engine.texts import changed, changed_lines
from sweeps.fitting import check_fit
from sweeps.given import chance_of, keep_account, say_scores
from sweeps.guard import guarded, interrupt, on_signal
from sweeps.looking.region import is_terminal
from sweeps.meanwhile import still, tell
from sweeps.places import DataPlace, data_place, storage_place
from sweeps.predictors import write_predictors
from sweeps.presets import DIGITS
from sweeps.started import address, in_job
from sweeps.store import grown_study, study_folder, write_study
from sweeps.study import Study
from sweeps.teachers import provide_used, recorded, resolve_used
from sweeps.version import ROOT, digest

SHOWN = 20
WORKS_HERE = f"what works here: python sweeps/hetero_grid.py --preset {DIGITS}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 complete, 1 something could not be completed, 2 bad input, 3 paused."""
    argv = list(sys.argv[1:] if argv is None else argv)
    code = guarded(lambda: _main(parser().parse_args(argv)), "--verbose" in argv)
    if in_job() and (cluster := read_cluster()):
        print(farewell(cluster, ROOT), flush=True)
    return code


def _main(flags: argparse.Namespace) -> int:
    load_plugins()
    study, root = asked(flags)
    if root is not None:
        flags.data_root = str(root)
    if flags.list or flags.show:
        print(listed(flags.list) if flags.list else shown(study))
        return 0
    return begin(study, flags)


def begin(asked: Study, flags: argparse.Namespace) -> int:
    """Plan a study or bring it to its end, as the flags say; the exit code."""
    at_most = limits(flags)
    on_signal(signal.SIGUSR2, lambda *_: at_most.end("signal USR2 came"))  # Tune has uses of its own for USR1
    if flags.devices is not None and flags.devices < 1:
        raise ConfigError(f"--devices {flags.devices}: a positive number")
    if flags.together is not None and flags.together < 1:
        raise ConfigError(f"--together {flags.together}: a positive number; 1: each run by itself")
    if flags.log and (flags.together or 1) > 1:
        raise ConfigError(f"--together {flags.together}: with --log each run has a process for itself")
    if flags.wait is not None and not flags.wait >= 0:
        raise ConfigError(f"--wait {flags.wait}: minutes, not negative")
    if flags.json and not flags.plan:
        raise ConfigError("--json: with --plan; `python -m sweeps status DIR --json` says how far a study is")
    return plan(asked, flags) if flags.plan else _run(asked, flags, at_most)


def _run(asked: Study, flags: argparse.Namespace, at_most: Limits) -> int:
    """Bring the study to its end, then its report."""
    where = address(flags.address)
    away = where != "local"
    place = data_place(flags.data_root, flags.stage, away)
    gpu_needed = needs_gpu(flags)
    if not away:
        _check_gpu(asked, gpu_needed, torch.cuda.is_available())
    dataset = _check_data(asked, place)
    num_classes = dataset.num_classes
    folder = study_folder(storage_place(flags.storage, away), asked)
    check_fit(grown_study(folder, asked), asked, folder, num_classes, tell)  # what is refused leaves no lock either
    with ExitStack() as stack:
        pulse = stack.enter_context(locked(folder))
        definition = grown_study(folder, asked)
        if flags.retry:
            _retry(folder, flags.retry)
        resolve_used(asked, folder, num_classes)
        study = recorded(definition, folder)
        gpus = torch.cuda.is_available()
        if away:
            from sweeps.cluster.waiting import wait_for_machines
            from sweeps.engine.cluster import nodes, ray_running  # Ray is imported only where something may run

            stack.enter_context(ray_running(where, flags.verbose))
            on_signal(signal.SIGTERM, interrupt)  # Ray has put its own handler there
            wait_for_machines(asked, read_cluster(), flags.devices, flags.wait, gpu_needed, tell)
            gpus = any(node.gpus for node in nodes())
            _check_gpu(asked, gpu_needed, gpus)
            _check_machines(asked, folder, place)
        driver = Driver(
            folder, study, asked, place.root, gpus,
            keep=flags.keep, verbose=flags.verbose, pulse=pulse, data_source=place.source,
        )  # fmt: skip
        driver.price, driver.limits = flags.price, at_most
        driver.progress.chance = chance_of(asked, dataset)
        driver.foresee()
        driver.changed = changed_lines(folder, changed(folder))
        for line in driver.changed:
            driver.progress.say(line)
        driver.progress.say(f"study {study.name} in {folder}: {driver.progress.status()}")
        if driver.kind() is None and not driver.elsewhere:
            write_study(folder, definition)
            keep_account(asked, folder, dataset)
            driver.finish()
        else:
            provide_used(asked, folder, num_classes, [found.run_id for _, found in driver.elsewhere])
            provide_initial_runs(folder, driver.planner)
            say_scores(asked, folder, lambda: dataset, driver.progress.say)
            from sweeps.engine.cluster import ray_running

            stack.enter_context(ray_running(where, flags.verbose))
            on_signal(signal.SIGTERM, interrupt)
            _launch(driver, definition, asked, flags, dataset)
    return _close(driver, folder)


def _check_machines(study: Study, folder: Path, place: DataPlace) -> None:
    """Raises ConfigError with the table of what is wrong with the cluster's machines."""
    from sweeps.cluster.examine import examine
    from sweeps.cluster.verdict import table
    from sweeps.engine.cluster import nodes

    several = len(nodes()) > 1 and study.workers != 1
    if problems := examine(folder.parent, study.data, place.root, place.source, several):
        raise ConfigError(f"the cluster cannot run study {study.name!r}:\n{table(problems)}")


def _launch(driver: Driver, definition: Study, asked: Study, flags: argparse.Namespace, dataset: Dataset) -> None:
    """Once it is known what it costs and nobody objects; only then `definition` is what the folder holds."""
    from sweeps.cluster.waiting import growth
    from sweeps.engine.callbacks import callbacks
    from sweeps.engine.launch import launch

    folder, say = driver.folder, driver.progress.say
    study = replace(driver.study, gpu_share=asked.gpu_share)  # what was found before may have been another kind of GPU
    devices = cluster_devices(study, folder, driver.data_root, say, probing=driver.gpus)
    if line := slow_precision(study, devices):
        say(line)
    agreed = flags.yes or driver.limits.any
    driver.together = agree(
        driver.planner, folder, driver.data_root, devices, flags.price, flags.keep, agreed, say, most(flags)
    )
    driver.study = replace(study, gpu_share=devices.share if devices.gpus else None)
    write_study(folder, replace(definition, gpu_share=driver.study.gpu_share))
    keep_account(asked, folder, dataset)
    if not driver.adopt():
        provide_used(asked, folder, dataset.num_classes)
    growing = growth(read_cluster() if in_job() else None, study.threads, devices.share)
    launch(driver, growing, flags.devices, callbacks=callbacks(flags.log, study.name) if flags.log else ())
    if table := predicted_against_actual(folder, driver.planner):
        say(table)


def _retry(folder: Path, what: str) -> None:
    """Set the records aside that are to be made again, and say which."""
    for run_id in (found := retry(folder, what))[:SHOWN]:
        print(f"run {run_id} is set aside and runs again")
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more")
    if not found:
        print(f"no run is {what}; nothing is set aside")


def _check_gpu(study: Study, needed: bool, there: bool) -> None:
    if needed and not there:
        raise ConfigError(f"study {study.name!r} needs a GPU and there is none; {WORKS_HERE}")


def _check_data(study: Study, place: DataPlace) -> Dataset:
    """The data set, once it is there."""
    try:
        place.bring(study.data)
        dataset = load(study.data, place.root)
    except ConfigError as error:
        hint = f"; {WORKS_HERE}" if study.data.name != "digits" else ""
        raise ConfigError(f"{error}{hint}") from error
    tell(f"data {study.data.name}: {dataset.account}")
    check_batches(study, len(dataset.train))
    return dataset


def _measure_teachers(driver: Driver, folder: Path) -> None:
    """What may tell how good a teacher is. No result of the study hangs on it."""
    try:
        write_predictors(folder, driver.planner.scope, driver.data_root, tell)
    except (ConfigError, LedgerError, OSError, RuntimeError) as error:
        print(f"the teachers are not measured: {str(error).splitlines()[0]}", file=sys.stderr)


def write_report(folder: Path) -> str:
    """The report, as text. What draws it is imported only now."""
    from analysis.report import write_report as write

    return write(folder)


def report_place(folder: Path) -> str:
    """Where a person finds it."""
    from analysis.report import place

    return str(folder / PLACE) if in_job() else str(place(folder))


def _close(driver: Driver, folder: Path) -> int:
    """The report, and what could not be completed."""
    made = (digest(), *driver.changed)
    if not (text := current(folder, made)):
        if driver.planner.complete:
            _measure_teachers(driver, folder)
        with still("drawing the report"):
            text = write_report(folder)
        note(folder, made)
    from sweeps.looking.ending import short

    print(short(folder, text) if is_terminal(sys.stdout) else text)
    print(f"report in {report_place(folder)}")
    planner = driver.planner
    if planner.complete:
        return 0
    problems = planner.problems
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    print(f"incomplete: {problems[0] if problems else 'not every run is finished'}{more}", file=sys.stderr)
    return 1
