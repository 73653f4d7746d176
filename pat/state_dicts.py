"""Which state dict in a training script's file is meant, and under which names it holds its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from timm.models import clean_state_dict
from torch import Tensor

from pat.unpickle import Inert, module_tensors

AVERAGED = ("state_dict_ema", "model_ema")
WRAPPERS = (*AVERAGED, "state_dict", "model", "model_state_dict", "net", "teacher", "student")
"""The names under which training scripts keep a state dict. Of those that fit equally well the first is taken: averaged
weights (EMA) before raw ones, which is also timm's choice and that of the students exported here."""
COUNTERS = ("n_averaged", "total_ops", "total_params")
"""Last parts of names that wrappers and profilers add; nothing is computed with them."""
_DEPTH = 4


class Held(NamedTuple):
    """A state dict in a file: `place` is where it stands, empty at the top; `passed` what is left out of it."""

    place: str
    tensors: dict[str, Tensor]
    prefix: str = ""
    passed: tuple[str, ...] = ()

    def told(self) -> str:
        """What was taken, in a few words; empty where there was nothing to choose."""
        words = [f"under {self.prefix!r}"] if self.prefix else []
        more = f" and {len(self.passed) - 3} others" if len(self.passed) > 3 else ""
        words += [f"without {', '.join(self.passed[:3])}{more}"] if self.passed else []
        return " ".join([f"taken are the weights {self.place!r}" if self.place else "taken are the weights", *words])


def choose(content: Any, own: Collection[str] = ()) -> Held | None:
    """The state dict in what a file held that fits the names `own` best; without them the first of WRAPPERS.

    None where there is none.
    """
    found = [_fitted(held, own) for held in _walk(content, "", _DEPTH)]
    return min(found, key=lambda held: (-len(held.tensors.keys() & set(own)), *_rank(held)), default=None)


def _walk(content: Any, place: str, depth: int) -> Iterator[Held]:
    """Every mapping that holds tensors under texts, from the outer ones to the inner."""
    if isinstance(content, Inert) and (tensors := module_tensors(content)):
        yield Held(place, tensors)
    if not isinstance(content, Mapping):
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        others = tuple(str(key) for key in content if key not in tensors)
        yield Held(place, tensors, passed=others if place else ())
    if depth:
        for key, value in content.items():
            if isinstance(key, str):
                yield from _walk(value, f"{place}.{key}" if place else key, depth - 1)


def _rank(held: Held) -> tuple[int, int]:
    """The place among WRAPPERS, then more tensors before fewer."""
    last = held.place.rpartition(".")[2]
    return WRAPPERS.index(last) if last in WRAPPERS else len(WRAPPERS), -len(held.tensors)


def _fitted(held: Held, own: Collection[str]) -> Held:
    """Under the model's names: without counters, wrappers' prefixes, and one common prefix of the script's own."""
    tensors: dict[str, Tensor] = clean_state_dict(dict(held.tensors))
    counters = {key for key in tensors if key.rpartition(".")[2] in COUNTERS and key not in own}
    tensors = {key: value for key, value in tensors.items() if key not in counters}
    passed = (*held.passed, *sorted(counters))
    prefix = _prefix(tensors, own)
    if not prefix:
        return held._replace(tensors=tensors, passed=passed)
    inside = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    beside = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
    whole = all(key in inside or key.endswith("num_batches_tracked") for key in own)
    if whole:  # whatever else the script trained is no part of this model
        return Held(held.place, inside, prefix, (*passed, *sorted(beside)))
    return Held(held.place, inside | beside, prefix, passed)


def _prefix(tensors: Mapping[str, Tensor], own: Collection[str]) -> str:
    """What most names begin with before one of the model's own; empty where it leads to less than half of these, or
    where as many are the model's without it."""
    found: Counter[str] = Counter({"": len(tensors.keys() & set(own))})
    for key in tensors:
        for place, letter in enumerate(key):
            if letter == "." and key[place + 1 :] in own:
                found[key[: place + 1]] += 1
    best = max(found, key=lambda prefix: (found[prefix], -len(prefix)))
    return best if 2 * found[best] > len(own) else ""
