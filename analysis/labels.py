"""Short, unambiguous labels for timm names."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable

from analysis.schema import AT

_PATCHES = re.compile(r"(patch|window)\d+")
_NUMBERED = ("regnet", "levit")
"""Families whose members are told apart by a number that looks like an input size: regnety_160, levit_256."""
_METHODS = {
    "scratch": "scratch", "fitnet": "FitNet", "reviewkd": "ReviewKD", "sokd": "SoKD", "longer": "longer",
    "spark": "SparK", "hgkd": "H-GKD", "pat_relational": "PAT (relational)",
    "pat_hinted": "PAT (hinted)",
}  # fmt: skip


def shorten(names: Iterable[str]) -> dict[str, str]:
    """Each name with the shortest label that no other of the `names` has.

    `swin_tiny_patch4_window7_224` is `swin_tiny`; beside `swin_tiny_patch4_window7_384` it is `swin_tiny_224`.
    Pretrained tags (after the dot) are dropped unless two names differ only there. Which seed of a teacher it is (after
    the @) stays.
    """
    marked = {name: name.partition(AT) for name in names}
    models = _shorten({model for model, *_ in marked.values()})
    return {name: models[model] + at + seed for name, (model, at, seed) in sorted(marked.items())}


def _shorten(names: set[str]) -> dict[str, str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups["_".join(_kept(name, set()))].append(name)
    labels = {}
    for label, group in groups.items():
        if len(group) == 1:
            labels[group[0]] = label
            continue
        common = set.intersection(*(set(_parts(name)) for name in group))
        for name in group:
            labels[name] = "_".join(_kept(name, set(_parts(name)) - common))
    return labels if len(set(labels.values())) == len(labels) else {name: name for name in labels}


def method_label(name: str) -> str:
    """A method as papers write it; a name of its own is in capitals."""
    return _METHODS.get(name, name.upper())


def family_label(name: object) -> str:
    """A family as papers write it: CNN, ViT, MLP."""
    return {"vit": "ViT"}.get(str(name), str(name).upper())


def number(value: float, digits: int = 2) -> str:
    """A signed number with a true minus; what rounds to zero has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def wrap(label: str, width: int, lines: int = 2) -> str:
    """`label` on up to `lines` lines of about `width` characters, broken at underscores and spaces; longer: cut by …"""
    broken = textwrap.wrap(re.sub(r"([_.:/-])", r"\1 ", label), width, break_long_words=True) or [""]
    rejoined = [re.sub(r"([_.:/-]) ", r"\1", line) for line in broken]
    if len(rejoined) > lines:
        rejoined = [*rejoined[: lines - 1], rejoined[lines - 1][: width - 1] + "…"]
    return "\n".join(rejoined)


def _noise(part: str) -> bool:
    """Whether a part of a timm name says how the model sees its input, not what it is: patch16, window7, 224.

    Input sizes are told from width multipliers (mobilenetv2_100) by being multiples of 16 from 128 on, or of 32 below.
    """
    size = part.isdigit() and (
        len(part) == 3 and int(part) >= 128 and int(part) % 16 == 0 or part in ("32", "64", "96")
    )
    return size or _PATCHES.fullmatch(part) is not None


def _parts(name: str) -> list[str]:
    base, _, tag = name.partition(".")
    return base.split("_") + ([tag] if tag else [])


def _kept(name: str, needed: set[str]) -> list[str]:
    base, _, tag = name.partition(".")
    parts = base.split("_")
    known = base.startswith(_NUMBERED)
    kept = [part for i, part in enumerate(parts) if i == 0 or part in needed or known or not _noise(part)]
    return [*kept, tag] if tag and tag in needed else kept
