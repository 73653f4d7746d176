"""What runs that are trained together gain over each for itself: images a second of a group over those of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from pat.config import RunConfig
from pat.data import Dataset, Split
from pat.epochs import train_epoch
from pat.io import LocalIO
from pat.lockstep import lockstep
from pat.models import create_model
from pat.plain import Teachers
from pat.training import Training
from sweeps.configs import default_options, student_run
from sweeps.costs.groups import Alone, Shares
from sweeps.costs.shared import Parts, shared_parts
from sweeps.presets import preset
from sweeps.study import SCRATCH, Study
from tests.bench.clock import interleaved, spread
from tests.bench.compare import Tolerance

METHODS, SIZES, STEPS, ROUNDS, PROBES, CLASSES = (SCRATCH, "kd", "dist", "fitnet", "pat"), (1, 2, 4, 8), 2, 5, 3, 100
TOLERANCE = Tolerance(0.25)
"""Recorded on two cores that had four times as much to do: single rounds lay a third apart."""


def report() -> dict[str, float]:
    """Prints, for each pair and method, how many times the images a second of one run a group does, and beside it how
    many times the forecast takes it to do; gives the inverse, the time of a run in a group over its time alone. Views,
    steps and optimiser; no scoring."""
    torch.set_num_threads(1)
    study = preset("cifar100-small-methods")
    print(f"images a second of a group of k runs over those of one: CPU time, batch of the study, {STEPS} steps, 1")
    print(f"thread, median (min - max) of {ROUNDS} interleaved rounds")
    ratios = {}
    with TemporaryDirectory() as folder:
        for teacher, student in study.pairs[:: len(study.pairs) - 1]:
            print(f"{teacher} -> {student}")
            for method in METHODS:
                times = interleaved(
                    {str(k): _epoch(study, teacher, student, method, k, Path(folder)) for k in SIZES}, ROUNDS
                )
                alone, parts = times.pop("1"), _parts(study, teacher, student, method, Path(folder))
                for k, each in times.items():
                    gains = [int(k) * one / group for one, group in zip(alone, each, strict=True)]
                    foreseen = 1 / Alone(1.0, *parts).together(Shares(1 / int(k), 1 / int(k)))
                    print(f"  {method:8} k = {k}   {spread(gains)}   forecast {foreseen:.2f}", flush=True)
                    ratios[f"{teacher} -> {student}/{method}/k = {k}"] = 1 / median(gains)
    return ratios


def _epoch(study: Study, teacher: str, student: str, method: str, members: int, folder: Path) -> Callable[[], object]:
    """An epoch of a few steps of so many runs, on made-up images."""
    config, dataset, members_of, teachers = runs(study, teacher, student, method, members, folder)

    def run() -> None:
        walks = {number: train_epoch(training, config, dataset) for number, training in enumerate(members_of)}
        for _, end in lockstep(walks, teachers.forget):
            if isinstance(end, Exception):
                raise end

    return run


def _parts(study: Study, teacher: str, student: str, method: str, folder: Path) -> Parts:
    """What a probe finds of one run: the median of a few."""
    config, dataset, (training,), _ = runs(study, teacher, student, method, 1, folder)
    found = [shared_parts(training, config, dataset, config.recipe.batch_size) for _ in range(PROBES)]
    return Parts(*(median(values) for values in zip(*found, strict=True)))


def runs(
    study: Study, teacher: str, student: str, method: str, members: int, folder: Path
) -> tuple[RunConfig, Dataset, list[Training], Teachers]:
    cell = study.cell("" if method == SCRATCH else teacher, student, method)
    config = student_run(
        study, cell, {} if method == SCRATCH else default_options(study, cell), seed=1, weights="run:bench"
    )
    config = replace(config, recipe=replace(config.recipe, warmup_epochs=0))
    count = STEPS * config.recipe.batch_size
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(count) % CLASSES)
    dataset = Dataset(split, split, split, CLASSES)
    teachers = Teachers(shared=members > 1)
    file = None if method == SCRATCH else _weights(teacher, folder)
    runs = [_training(config, folder, dataset, file, teachers) for _ in range(members)]
    return config, dataset, runs, teachers


def _training(config: RunConfig, folder: Path, dataset: Dataset, file: Path | None, teachers: Teachers) -> Training:
    io = LocalIO(folder / "run", device=torch.device("cpu"))
    return Training(config, io, dataset, file, None, teachers=teachers)


def _weights(teacher: str, folder: Path) -> Path:
    torch.manual_seed(0)
    state = create_model(teacher, CLASSES, 32).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / teacher)
    return folder / teacher
