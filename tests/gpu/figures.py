"""Images a second of training steps on a device, beside what their arithmetic takes there: views, steps, optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pat.config import Data, Method, Recipe, RunConfig, Teacher
from pat.data import Dataset, Split
from pat.epochs import train_epoch
from pat.io import LocalIO
from pat.lockstep import lockstep
from pat.losses import cross_entropy
from pat.models import create_model
from pat.plain import Teachers
from pat.training import Training
from sweeps.costs.flops import count
from sweeps.costs.shared import synchronise

METHODS, GROUPS = ("scratch", "kd", "pat"), (1, 2, 4, 8)
CLASSES, ROUNDS = 100, 3
Say = Callable[[str], None]


class Pair(NamedTuple):
    """Two models, the pixels and the images of a step, and its precision."""

    teacher: str
    student: str
    size: int
    batch: int
    precision: str = "bf16"
    steps: int = 8

    def __str__(self) -> str:
        return f"{self.teacher.split('_')[0]} -> {self.student.split('_')[0]} {self.size} px"


PAIRS = (
    Pair("vit_micro_patch8_32", "resnet_nano_32", 32, 256),
    Pair("swin_tiny_patch4_window7_224", "resnet18", 224, 128),
    Pair("convnext_tiny", "deit_tiny_patch16_224", 224, 128),
    Pair("mixer_b16_224", "mobilenetv2_100", 224, 128),
)


class Row(NamedTuple):
    """One way to train a pair by a method. `of_floor`: its images a second over those of the bare arithmetic (the
    student's forward, backward and optimiser, the teacher's forward) on one batch that is there; a group of k runs has
    k floors one after the other. `flop_share`: model FLOP a second over those of a large product on the device."""

    pair: str
    method: str
    way: str
    images_a_second: float
    of_floor: float
    flop_share: float
    peak_gigabytes: float


def measure(pairs: Iterable[Pair], device: torch.device, seconds: float, say: Say) -> tuple[list[Row], list[str]]:
    """All rows for which there is time, eager ones of all pairs first, and what was left out."""
    begun, rows, left_out = time.monotonic(), list[Row](), list[str]()
    alone = [(pair, method) for pair in pairs for method in METHODS]
    jobs = [(*one, 1, way) for way in ("eager", "captured") for one in alone]
    jobs += [(*one, k, f"group of {k}") for k in GROUPS[1:] for one in alone]
    jobs += [(*one, 1, "compiled") for one in alone]
    peaks: dict[str, float] = {}
    floors: dict[tuple[Pair, bool], float] = {}
    for pair, method, k, way in jobs:
        if time.monotonic() - begun > seconds:
            left_out.append(f"{pair} {method} {way}")
            continue
        peak = peaks.setdefault(pair.precision, peaks.get(pair.precision) or product_flop(device, pair.precision))
        if (pair, method != "scratch") not in floors:
            floors[pair, method != "scratch"] = floor(pair, method != "scratch", device)
        try:
            found, memory = images_a_second(pair, method, k, way, device)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            say(f"{pair} {method} {way}: {str(error).splitlines()[0]}")
            continue
        flop = count(config_of(pair, method), CLASSES).step.flop
        own = floors[pair, method != "scratch"]
        rows.append(Row(str(pair), method, way, found, found / own, flop * found / peak, memory / 1e9))
        say(line(rows[-1]))
    return rows, left_out


def table(rows: Sequence[Row]) -> str:
    """A heading, and a line a row."""
    head = f"{'':34}{'method':8}{'way':12}{'images / s':>12}{'of floor':>10}{'of FLOP/s':>11}{'peak GB':>9}"
    return "\n".join([head, *map(line, rows)])


def line(row: Row) -> str:
    figures = f"{row.images_a_second:12,.0f}{row.of_floor:10.2f}{row.flop_share:11.1%}{row.peak_gigabytes:9.2f}"
    return f"{row.pair:34}{row.method:8}{row.way:12}{figures}"


def config_of(pair: Pair, method: str) -> RunConfig:
    """One run of a pair, in the manner of the papers' recipes."""
    recipe = Recipe(
        epochs=100, batch_size=pair.batch, lr=1e-3, optimizer="adamw", clip_grad=1.0, ema_decay=0.999,
        precision=pair.precision, flip=0.5,
    )  # fmt: skip
    teacher = None if method == "scratch" else Teacher(pair.teacher, "run:none")
    return RunConfig(pair.student, Data("cifar100", pair.size), recipe, Method(method), teacher, threads=1)


def images_a_second(pair: Pair, method: str, k: int, way: str, device: torch.device) -> tuple[float, int]:
    """Of `k` runs side by side together, the best of a few epochs of a few steps; and a GPU's peak memory in bytes."""
    config, images = config_of(pair, method), made_up(pair)
    split = Split(images, torch.arange(len(images)) % CLASSES)
    dataset = Dataset(split, split, split, CLASSES).to(device)
    with TemporaryDirectory() as folder:
        file = weights(pair, Path(folder)) if config.teacher else None
        teachers, io = Teachers(shared=k > 1), LocalIO(Path(folder) / "run", device=device)
        given = {"teachers": teachers, "captured": way == "captured"}
        runs = [Training(config, io, dataset, file, None, **given) for _ in range(k)]
    if way == "compiled":
        for training in runs:
            training.method.compile()

    def epoch() -> None:
        walks = {number: train_epoch(training, config, dataset) for number, training in enumerate(runs)}
        for _, end in lockstep(walks, teachers.forget):
            if isinstance(end, Exception):
                raise end

    took = best(epoch, device)
    memory = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    return k * pair.steps * pair.batch / took, memory


def floor(pair: Pair, taught: bool, device: torch.device) -> float:
    """Images a second of a plain loop on one batch: the student's step, and the teacher's forward where it is
    `taught`."""
    torch.manual_seed(0)
    student = on(create_model(pair.student, CLASSES, pair.size).train(), device)
    teacher = on(create_model(pair.teacher, CLASSES, pair.size).eval(), device) if taught else None
    optimizer = torch.optim.AdamW(student.parameters(), fused=True)
    images = torch.randn(pair.batch, 3, pair.size, pair.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.arange(pair.batch, device=device) % CLASSES
    own = nn.functional.one_hot(targets, CLASSES).float()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=pair.precision == "bf16"):
            if teacher is not None:
                with torch.no_grad():
                    teacher(images)
            loss = cross_entropy(student(images), own)
        loss.backward()
        optimizer.step()

    return pair.batch / best(step, device)


def product_flop(device: torch.device, precision: str, side: int = 0) -> float:
    """FLOP a second of a square product."""
    side = side or (8192 if device.type == "cuda" else 256)
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * side**3 / best(lambda: one @ one, device)


def best(call: Callable[[], Any], device: torch.device) -> float:
    """The least seconds of a few calls, after one that warms up."""
    times = []
    for _ in range(ROUNDS + 1):
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def on(model: nn.Module, device: torch.device) -> nn.Module:
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def made_up(pair: Pair) -> Tensor:
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (pair.steps * pair.batch, 3, pair.size, pair.size), dtype=torch.uint8, generator=drawn)


def weights(pair: Pair, folder: Path) -> Path:
    torch.manual_seed(0)
    state = create_model(pair.teacher, CLASSES, pair.size).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "teacher")
    return folder / "teacher"
