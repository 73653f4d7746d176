"""What a study would do, as text: phases, runs, epochs, and every pair by its exact names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from analysis import ledger
from analysis.schema import PHASES
from sweeps.driver import unsynced_models
from sweeps.planner import Key, Planner, keys
from sweeps.study import SCRATCH, Cell, Study, TeacherFile
from sweeps.view import read_view

COUNTED = ("finished", "pruned", "diverged")


def plan_text(study: Study, asked: Study, folder: Path) -> str:
    """The plan of the part `asked` of `study`, given what its folder holds already. Changes nothing.

    Epochs are those of full-length runs: halving leaves out part of the search.
    """
    planner = Planner(study, read_view(folder), unsynced_models(study, gpus=False), asked)
    return "\n".join([*_head(study, asked), "", *_phases(study, asked, folder), "", *_pairs(planner, asked)])


def _head(study: Study, asked: Study) -> list[str]:
    data, search = study.data, study.search
    rungs = ", ".join(f"{share:.3g}" for share in search.rungs)
    halving = (
        f"{search.trials} trials a cell in waves of {search.wave}, "
        f"1/{search.eta} kept after each rung ({rungs} of a run)"
    )
    return [
        f"study {study.name}: data {data.name} at {data.image_size} px, methods {', '.join((SCRATCH, *asked.methods))}",
        f"search: {halving if search.trials else 'none'}",
        f"confirmation: {'best and default setting' if search.trials else 'default setting'} on {study.seeds} fresh "
        f"seeds; workers per run: {study.workers}",
    ]


def _phases(study: Study, asked: Study, folder: Path) -> list[str]:
    """A table: phase, runs, of them ended, epochs before pruning."""
    runs: Counter[str] = Counter()
    epochs: Counter[str] = Counter()

    def add(phase: str, count: int, length: int) -> None:
        runs[phase] += count
        epochs[phase] += count * length

    for name in asked.used_teachers():
        recipe = study.teachers[name]
        if not isinstance(recipe, TeacherFile):
            add("teacher", 1, recipe.epochs)
    for pair_or_student in [Cell("", name, SCRATCH) for name in asked.used_students()] + asked.cells():
        student = study.recipe(pair_or_student.student)
        if pair_or_student.teacher:
            add("search", study.search.trials, student.epochs)
            add("confirm", (2 if study.search.trials else 1) * study.seeds, student.epochs)
        else:
            add("scratch", study.seeds, student.epochs)
    rows = ledger.read_runs(folder, columns=("phase", "status"))
    done = Counter(rows["phase"][rows["status"].isin(COUNTED)])
    lines = [f"{'phase':10}{'runs':>7}{'done':>7}{'epochs before pruning':>24}"]
    lines += [f"{phase:10}{runs[phase]:7}{done[phase]:7}{epochs[phase]:24}" for phase in PHASES]
    return [*lines, f"{'total':10}{sum(runs.values()):7}{sum(done.values()):7}{sum(epochs.values()):24}"]


def _pairs(planner: Planner, asked: Study) -> list[str]:
    lines = [f"{len(asked.pairs)} pairs, {len(asked.cells())} cells"]
    for number, (teacher, student) in enumerate(asked.pairs, start=1):
        states = [_state(planner, Key("cell", Cell(teacher, student, method))) for method in asked.methods]
        lines.append(f"{number:3}. {teacher} -> {student}: {', '.join(states) or 'scratch only'}")
    wanted = {key.cell.student for key in keys(asked) if key.kind == "teacher"}
    starts = [f"{name} ({tag.removeprefix('timm:')})" for name, tag in asked.initial.items() if name in wanted]
    given = [f"{name} ({asked.given_teachers()[name].path})" for name in asked.used_teachers() if name not in wanted]
    notes = {"teachers start from": starts, "teachers not trained here:": given}
    return [*lines, *(f"{text} {', '.join(names)}" for text, names in notes.items() if names)]


def _state(planner: Planner, key: Key) -> str:
    unit = planner.units[key]
    ended = sum(status in COUNTED for status in unit.runs.values())
    return f"{key.cell.method} {ended} of {len(unit.runs) + unit.unknown_runs} runs done"
