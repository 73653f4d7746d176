"""What a run of each unit is expected to take: from the ledger, else from probes, else from FLOPs and a throughput."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import timm
import torch

from analysis import ledger
from pat.config import ConfigError, Data, RunConfig
from pat.data import load
from pat.models import create_model
from pat.tasks import create_task, task_class
from pat.weights import is_url
from sweeps.configs import default_options, student_run
from sweeps.costs.flops import Count, Work, counts
from sweeps.costs.groups import Alone, Shares, shares
from sweeps.costs.probe_file import Probe, read_probes
from sweeps.planning.speeds import Speeds
from sweeps.planning.together import MOST
from sweeps.planning.units import Key, Runs, keys
from sweeps.study import SEARCH_SEED, Cell, Study

GPU_FLOPS = {"bf16": 100e12, "fp32": 20e12}
"""Assumed FLOP/s of a datacentre GPU with models of this size run eagerly: a quarter and less of what it could."""
GPU_OPERATION = 10e-6
"""Assumed seconds to start an operation, which goes on while others compute; small models wait for it alone."""
CPU_FLOPS, CPU_OPERATION = 60e9, 15e-6
"""The same of one thread, where starting and computing take turns, and views are computed too. Measured: 20 GFLOP/s
with models of 0.1 GFLOP, 110 to 170 with ResNet-18 at 224 pixels."""
CPU_VIEW, CPU_VIEW_224 = 2e-4, 1e-3
"""Seconds to make the view of an image: of any size, and what is added for one of 224 x 224 pixels."""
CPU_WHOLE, CPU_WHOLE_224 = 1e-2, 5e-3
"""The same where the whole photograph is shown, with its boxes or mask, and for a canvas of as many pixels. Measured
with COCO's: 13 ms on 128 x 224 pixels, 42 on 400 x 672, 125 on 800 x 1333."""
MARGIN = 1.15
"""For what an allocator loses to fragments over a long run."""
KEPT = 1.5
"""What a run keeps in memory from step to step over its checkpoint, which has no gradients: a fifth to a half more."""
COLUMNS = ("phase", "teacher", "student", "method", "seconds", "epochs_done", "device", "cpu")


class Images(NamedTuple):
    """How many images there are to train on and to score, and their classes."""

    train: int
    validation: int
    test: int
    classes: int


KNOWN = {
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
    "imagenet": (1_281_167, 50_000, 1000),
    "coco": (117_266, 5_000, 80),
    "voc": (1_464, 1_449, 21),
    "ade20k": (20_210, 2_000, 150),
}
"""Train and test images and classes of data sets that may not be here yet."""


class Size(NamedTuple):
    """Bytes of a run's checkpoint and of its exported student."""

    checkpoint: int
    student: int


@dataclass(frozen=True)
class Expected:
    """Times and sizes by unit. `fetched_bytes`: teachers that are not trained here.

    `assumed` says at what throughput FLOPs became times, empty where none did; `device`: whose times these are, empty
    if that is unknown. `together`: so many runs at most share a process, on which the times count.
    """

    speeds: Speeds
    sizes: Mapping[Key, Size]
    fetched_bytes: int
    probes: Mapping[Key, Probe]
    assumed: str = ""
    device: str = ""
    together: int = 1


def expect(
    study: Study,
    folder: Path,
    device: str = "",
    gpus: bool = False,
    share: float = 1.0,
    data_root: Path = Path("data"),
    slots: int = 0,
    most: int | None = None,
    memory: int = 0,
    say: Callable[[str], None] = lambda line: None,
    counting: bool = True,
) -> Expected:
    """Everything that is known of the runs of `study`, whose ledger and probes are in `folder`. Counts FLOPs, which
    takes up to half a second a unit, only where a time or a size is not known otherwise and `counting`.

    `device`: the kind of device to say it for (`probe.device_name`; empty: whatever there are times of). `gpus`: what
    is assumed where FLOPs must do. `share` of a GPU that a run of one worker gets. At most `most` runs share a process
    on one of the `slots`, by default as many as its `memory` has room for. What takes seconds is told `say`.
    """
    runs = configs(study)
    probes = read_probes(folder, device) if device else {}
    sizes = {key: Size(one.checkpoint_bytes, one.student_bytes) for key, one in read_probes(folder).items()}
    probed = probed_seconds(probes, share)
    ended = _ended(study, folder, device)
    known = {key for key, _, epochs in ended if epochs} | probed.keys()
    counted_runs: dict[Key, Count] = {}
    images: dict[Data, Images | None] = {}
    if counting and not (runs.keys() <= known and runs.keys() <= sizes.keys()):
        images = {data: images_of(data, data_root) for data in dict.fromkeys(run.data for run in runs.values())}
        here = {key: (run, found.classes) for key, run in runs.items() if (found := images[run.data])}
        counted_runs = counts(here, say)
    counted = {
        key: counted_seconds(runs[key], one, found, gpus)
        for key, one in counted_runs.items()
        if (found := images[runs[key].data])
    }
    sizes = {key: Size(one.checkpoint_bytes, one.student_bytes) for key, one in counted_runs.items()} | sizes
    most = most or together(sizes.values(), probes.values(), memory)
    shared = shares(study, runs, slots, most)

    def seconds(alone: Mapping[Key, Alone], share: float) -> dict[Key, float]:
        return {key: one.together(shared.get(key, Shares())) / share for key, one in alone.items()}

    speeds = Speeds(seconds(probed, 1.0), seconds(counted, share))
    for key, took, epochs in ended:
        speeds.note(key, took, epochs)
    used = any(speeds.source(key) == "flops" for key in runs)
    assumed = _assumption(study, gpus) if used else ""
    return Expected(speeds, sizes, _fetched_bytes(study), probes, assumed, device, most)


def together(sizes: Iterable[Size], probes: Iterable[Probe], memory: int) -> int:
    """How many runs one process has room for in `memory` bytes (0: unknown): beside the largest peak what each other
    one keeps from step to step - its checkpoint, its gradients. Where no peak is known it is taken to be half."""
    kept = max((size.checkpoint for size in sizes), default=0) * KEPT
    peaks = [one.peak_bytes for one in probes if one.peak_bytes is not None]
    left = memory - max(peaks) * MARGIN if peaks else memory / 2
    return max(1, min(MOST, 1 + int(left // kept))) if kept and memory else 1


def configs(study: Study) -> dict[Key, RunConfig]:
    """One run of every unit; the weights of its teacher may not exist yet."""
    found: dict[Key, RunConfig] = {}
    runs = Runs(study)
    for key in keys(study):
        cell = key.cell
        if key.awaited:
            found[key] = runs.awaited(key).config
            continue
        options = default_options(study, cell)
        seed = SEARCH_SEED if study.searches(cell.method) else SEARCH_SEED + 1
        found[key] = student_run(study, cell, options, seed, "run:none" if cell.teacher else "")
    return found


def probed_seconds(probes: Mapping[Key, Probe], share: float) -> dict[Key, Alone]:
    """Seconds an epoch of a run that gets `share` of a device. Probes have a device for themselves; sharing it is taken
    to gain nothing, so that what runs cost is rather over- than underestimated."""
    found = {}
    for key, one in probes.items():
        if one.workers:
            own = share if one.asked_workers == 1 else 1.0
            found[key] = Alone(one.epoch_seconds / own, one.views_seconds / own, one.plain_seconds / own)
    return found


def counted_seconds(config: RunConfig, counted: Count, images: Images, gpus: bool) -> Alone:
    """Seconds an epoch of one worker, by arithmetic at the assumed throughput. A GPU makes views for nothing."""
    recipe = config.recipe
    view = 0.0 if gpus else _view_seconds(config)

    def seconds(work: Work, batch: int, precision: str) -> float:
        if gpus:
            return max(work.flop * batch / GPU_FLOPS[precision], work.operations * GPU_OPERATION)
        return work.flop * batch / (CPU_FLOPS * config.threads) + work.operations * CPU_OPERATION

    train, scored = images.train, images.validation + images.test
    if config.data.validation == 0:
        train, scored = images.train + images.validation, images.test
    scoring = seconds(counted.score, scored, "fp32") + scored * view  # images are scored without autocast
    steps = train // recipe.batch_size
    step, own = (
        seconds(work, recipe.batch_size, recipe.precision) for work in (counted.step, counted.step - counted.plain)
    )
    views = recipe.batch_size * view
    whole = steps * (step + views) + scoring * (2 if recipe.ema_decay else 1)
    return Alone(whole, steps * views, steps * (step - own))


def _view_seconds(config: RunConfig) -> float:
    """What the view of an image takes one thread."""
    height, width = create_task(config.task, config.data, num_classes=1).canvas
    whole = task_class(config.task.name).truths in ("boxes", "masks")
    fixed, of_224 = (CPU_WHOLE, CPU_WHOLE_224) if whole else (CPU_VIEW, CPU_VIEW_224)
    return fixed + of_224 * height * width / 224**2


def images_of(data: Data, data_root: Path) -> Images | None:
    """How many images a data set has, without reading them where that is known; None where it is not here."""
    if data.name in KNOWN:
        train, test, classes = KNOWN[data.name]
        held = round(train * data.validation)
        return Images(train - held, held, test, classes)
    try:
        found = load(data, data_root)
    except ConfigError:
        return None
    return Images(len(found.train), len(found.val), len(found.test), found.num_classes)


def _ended(study: Study, folder: Path, device: str = "") -> list[tuple[Key, float, int]]:
    """What the ended runs in `folder` took, on one kind of device or (empty) on any: unit, seconds, epochs.

    A teacher of a timm tag stands in the ledger under its full name.
    """
    names = {source.tag: name for name, source in study.given_teachers().items() if source.tag}
    runs = ledger.read_runs(folder, columns=COLUMNS)
    if device:
        runs = runs[(runs["device"] == device) | ((runs["device"] == "cpu") & (runs["cpu"] == device))]
    return [
        (
            Key.of(row["phase"], Cell(names.get(row["teacher"], row["teacher"]), row["student"], row["method"])),
            row["seconds"],
            row["epochs_done"],
        )
        for row in runs.to_dict("records")
    ]


def _fetched_bytes(study: Study) -> int:
    """What teachers that are fetched take in the study's folder, about: four bytes a parameter."""
    total = 0
    for name, source in study.given_teachers().items():
        if name in study.used_teachers() and (source.tag or is_url(source.path)):
            with torch.device("meta"):
                model = create_model(
                    name,
                    timm.get_pretrained_cfg(source.tag or name).num_classes,
                    study.taught(name)[1].image_size,
                )
            total += sum(4 * parameter.numel() for parameter in model.parameters())
    return total


def _assumption(study: Study, gpus: bool) -> str:
    precisions = dict.fromkeys(study.recipe(name).precision for name in study.used_students())
    if not gpus:
        rate = f"{CPU_FLOPS / 1e9:.0f} GFLOP/s a thread and {CPU_OPERATION * 1e6:.0f} µs"
    else:
        rates = " and ".join(f"{GPU_FLOPS[name] / 1e12:.0f} TFLOP/s in {name}" for name in precisions)
        rate = f"{rates} and {GPU_OPERATION * 1e6:.0f} µs"
    return f"FLOPs at an assumed {rate} an operation"
