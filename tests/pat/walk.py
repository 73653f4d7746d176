"""Walks over timm's models: is each one usable as a student, and as a PAT teacher? One JSON line a name. By hand.

    python -m tests.pat.walk RESULTS.jsonl [NAME ...]

Names already in the file are not done again, so a walk that was stopped goes on; at the end it sums up. The record of
all names is `TAPS`.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pat.taps import StageTaps, TapError

TAPS = Path(__file__).parents[2] / "evidence" / "timm-1.0.31-taps.jsonl"
"""Of the version of timm that constraints.txt names."""
SIZES = (64, 84, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Square inputs tried, the smallest that a model takes is used; its own default comes last."""
CLASSES = 10
LARGEST_RUN = 250e6
"""Models with more parameters are checked on meta tensors, by shapes only."""
SECONDS = 180
MEMORY = 12 << 30
"""Limits of one model (processor time) and of the process (address space in bytes)."""
SPREAD = 11
"""A walk over all takes every eleventh name first, so that a part of it already speaks for the whole."""


def build(name: str, size: int, device: str) -> nn.Module:
    """The model with ten classes for square images of `size`, random weights, on `device`."""
    torch.manual_seed(0)
    config = timm.get_pretrained_cfg(name)
    fixed = {"img_size": size} if config is not None and config.fixed_input_size else {}
    with torch.device(device):
        return timm.create_model(name, num_classes=CLASSES, **fixed)


def smallest(name: str) -> tuple[int, StageTaps]:
    """The smallest input size in pixels that the model and its taps take, and the taps on the model.

    Sizes are tried on meta tensors; the model itself is built where it is not too large to be run.
    """
    config = timm.get_pretrained_cfg(name)
    default = max(config.input_size[1:]) if config is not None and config.input_size else 224
    refusal: Exception | None = None
    for size in (*(size for size in SIZES if size < default), default):
        try:
            model = build(name, size, "meta").eval()
            with torch.no_grad():
                model(torch.empty(2, 3, size, size, device="meta"))
            if sum(weight.numel() for weight in model.parameters()) <= LARGEST_RUN:
                model = build(name, size, "cpu")
                without_zeros(model)
            return size, StageTaps(model, size)
        except TimeoutError:
            raise
        except Exception as error:  # a size that does not fit shows in many ways
            refusal = refusal if isinstance(refusal, TapError) else error
    assert refusal is not None
    raise refusal


def without_zeros(model: nn.Module) -> None:
    """Weights that start as zeros (heads, last layers) would hide whether a gradient can pass."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1 and not weight.is_meta and not weight.any():
                weight.normal_(std=0.02)


def as_student(taps: StageTaps, images: Tensor) -> None:
    """Forward and backward in train mode; in eval mode the logits are the model's own."""
    shown = taps.model.requires_grad_(True).train()
    tapped = taps(images)
    given = list(tapped.logits.shape)
    assert given == [len(images), CLASSES], f"its forward gives {given}, not ten logits an image"
    for stage, found in zip(taps.stages, tapped.maps, strict=True):
        assert found.shape == (len(images), stage.channels, *stage.size), f"map {tuple(found.shape)} is not {stage}"
        assert found.requires_grad, "a map carries no gradient"
    (tapped.logits.square().mean() + sum(found.square().mean() for found in tapped.maps)).backward()
    assert any(weight.grad is not None for weight in shown.parameters()), "no weight gets a gradient"
    shown.zero_grad(set_to_none=True)
    shown.eval()
    with torch.no_grad():
        same(taps(images).logits, shown(images), "logits with taps are not the model's own")


def as_teacher(taps: StageTaps, images: Tensor) -> None:
    """Prompts of strength 0 change no logit, and a gradient reaches each; resumed before the first and last stage."""
    model = taps.model.eval().requires_grad_(False)
    with torch.no_grad():
        plain = model(images)
    for before in (0, len(taps.stages) - 1):
        with torch.no_grad():
            clean, memory = taps.remember(images, before)
        same(clean.logits, plain, "the remembered pass is not the plain one")
        stages = range(before, len(taps.stages))
        strengths = {i: torch.zeros((), device=images.device, requires_grad=True) for i in stages}
        tapped = taps.prompted(images, {i: prompt(strength) for i, strength in strengths.items()}, memory)
        same(tapped.logits, plain, "prompts of strength 0 change the logits")
        for a, b in zip(tapped.maps, clean.maps, strict=True):
            same(a, b, "prompts of strength 0 change a map")
        tapped.logits.square().sum().backward()
        for i, strength in strengths.items():
            assert strength.grad is not None, f"no gradient reaches the prompt at stage {i + 1}"
            assert strength.is_meta or strength.grad.abs() > 0, f"the gradient of the prompt at stage {i + 1} is 0"


def prompt(strength: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: x + strength * torch.randn(x.shape, device=x.device)


def same(a: Tensor, b: Tensor, otherwise: str) -> None:
    """Equal within 1e-6 (of the largest value, where that is above 1): some kernels differ under autograd."""
    assert a.shape == b.shape, otherwise
    if not a.is_meta:
        apart = float((a - b).detach().abs().max())
        assert apart <= 1e-6 * max(1.0, float(b.abs().max())), f"{otherwise} (by {apart:.1e})"


def as_timm(taps: StageTaps, images: Tensor) -> str:
    """Which of the stages' maps are, by value, among those of timm's own forward_intermediates."""
    with torch.no_grad():
        try:
            theirs = taps.model.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)  # type: ignore[operator]
        except Exception as error:
            return f"no intermediates: {type(error).__name__}"
        ours = taps(images).maps
    hits = [any(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for b in theirs) for a in ours]
    return "".join("=" if hit else "x" for hit in hits)


def examine(name: str) -> dict[str, Any]:
    """What the walk says of one model; an empty reason means that it is usable."""
    row = left_out(name, "")
    started = time.process_time()
    try:
        with alarm(SECONDS):
            size, taps = smallest(name)
            device = next(taps.model.parameters()).device
            images = torch.randn(2, 3, size, size, device=device)
            row |= {"size": size, "params": sum(weight.numel() for weight in taps.model.parameters())}
            row["how"] = "shapes" if device.type == "meta" else "run"
            row["teacher"] = attempt(as_teacher, taps, images)
            row["student"] = attempt(as_student, taps, images)  # changes BatchNorm statistics, so it comes second
            row["maps"] = as_timm(taps, images) if row["how"] == "run" else ""
    except Exception as error:
        row["student"] = row["teacher"] = reason(error)
    return row | {"seconds": round(time.process_time() - started, 2)}


def left_out(name: str, why: str) -> dict[str, Any]:
    return {"name": name, "student": why, "teacher": why, "how": "none", "maps": "", "seconds": 0}


def attempt(check: Callable[[StageTaps, Tensor], None], taps: StageTaps, images: Tensor) -> str:
    try:
        check(taps, images)
    except TimeoutError:
        raise
    except Exception as error:
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    first = (str(error).strip() or "no message").splitlines()[0]
    return first if isinstance(error, TapError | AssertionError) else f"{type(error).__name__}: {first}"[:200]


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """TimeoutError after so many seconds of this process's own time: others may share the cores."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s of processor time")

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Per role: the share of usable models in percent, how many were run and how many seen by shapes only, the rest."""
    found: dict[str, Any] = {"models": len(rows), "seconds": round(sum(row["seconds"] for row in rows))}
    for role in ("student", "teacher"):
        good = Counter(row["how"] for row in rows if not row[role])
        percent = round(100 * sum(good.values()) / len(rows), 2)
        counts = {how: good[how] for how in ("run", "shapes")}
        found[role] = {"percent": percent, **counts, "left_out": group(rows, role)}
    return found


def summary(rows: list[dict[str, Any]]) -> str:
    """The figures as a readable table: shares, then who is left out, by reason."""
    found = figures(rows)
    lines = [f"{found['models']} models, {found['seconds']} s of one core"]
    for role in ("student", "teacher"):
        one = found[role]
        lines.append(f"{role}: {one['percent']} % usable, {one['run']} run, {one['shapes']} by shapes only; left out:")
        for why, names in one["left_out"].items():
            lines.append(f"  {len(names):4d}  {why}: {' '.join(names[:6])}{' ...' if len(names) > 6 else ''}")
    return "\n".join(lines)


def group(rows: Iterable[dict[str, Any]], role: str) -> dict[str, list[str]]:
    """The names that are not usable, by reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row[role]:
            by_reason.setdefault(row[role], []).append(row["name"])
    return dict(sorted(by_reason.items(), key=lambda item: -len(item[1])))


def main(results: Path, names: list[str]) -> None:
    """Walks over `names` (all, if none is given) and adds a line for each to `results`."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    done = {row["name"] for row in read(results)}
    present = results.with_suffix(".now")
    every = timm.list_models()
    tried = present.read_text().split() if present.exists() else []
    for name in names or sorted(every, key=lambda name: every.index(name) % SPREAD):
        if name in done:
            continue
        tried = [*tried, name] if name in tried else [name]
        present.write_text(" ".join(tried))
        row = left_out(name, "the process died twice") if len(tried) > 2 else examine(name)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
    present.unlink(missing_ok=True)
    print(summary(read(results)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
