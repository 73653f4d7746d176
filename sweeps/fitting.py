"""Whether the options that a study names suit its models: tried on shapes alone, before anything is written or run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from analysis.words import counted
from pat.config import ConfigError, Method, RunConfig
from pat.methods import method_options
from sweeps.configs import default_options, pretrain_run, student_run
from sweeps.costs.flops import method_on_meta
from sweeps.costs.known import known
from sweeps.settings import parts
from sweeps.store import read_study
from sweeps.study import SEARCH_SEED, Cell, Study


def settings_to_try(study: Study) -> list[tuple[Cell, RunConfig]]:
    """A run of each default setting that the study has changed, and of each of its choices in the place of a default:
    so many that each model is tried with each of its settings.

    A setting that is the method's own is not among them: it suits every model that has stages, but for one of
    pre-training, whose task says which stages are needed.
    """
    found, tried = list[tuple[Cell, RunConfig]](), set[tuple[str, str, Method]]()
    for cell in study.cells():
        default = default_options(study, cell)
        make = pretrain_run if study.pretrains(cell.method) else partial(student_run, seed=SEARCH_SEED)
        settings = [] if parts(default)[0] == method_options(cell.method) and make is not pretrain_run else [default]
        for name, values in study.choices.get(cell.method, {}).items():
            settings += [{**default, name: value} for value in values]
        for options in settings:
            run = make(study, cell, options, weights="run:none" if cell.teacher else "")
            sides = {("teacher", cell.teacher, run.method), ("student", cell.student, run.method)}
            if not sides <= tried:
                found.append((cell, run))
                tried |= sides
    return found


def check_settings(settings: list[tuple[Cell, RunConfig]], num_classes: int, say: Callable[[str], None]) -> None:
    """Raises ConfigError, naming the cell, for options that do not suit its models. Takes up to half a second a setting
    that was not tried before."""
    runs = {place: (run, num_classes) for place, (_, run) in enumerate(settings)}

    def fits(run: RunConfig, classes: int) -> bool:
        try:
            method_on_meta(run, classes)
        except ConfigError as error:
            cell = next(cell for cell, tried in settings if tried is run)
            raise ConfigError(f"{cell}: {error}") from error
        return True

    known("settings", fits, runs, "trying settings on their models", say)


def check_fit(grown: Study, asked: Study, folder: Path, num_classes: int, say: Callable[[str], None]) -> None:
    """Raises ConfigError where options that are new to a study's folder do not suit their models."""
    if grown == read_study(folder):
        return
    if settings := settings_to_try(asked):
        say(f"trying {counted(len(settings), 'setting')} on their models")
        check_settings(settings, num_classes, say)
