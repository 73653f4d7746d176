"""One place that turns what a person calls a model into what timm has: its current name, and the tag of its weights."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import timm
from timm.models import get_arch_name, get_arch_pretrained_cfgs, get_deprecated_models

from pat import architectures  # noqa: F401  (registers its names with timm)
from pat.errors import ConfigError, unknown


class Resolved(NamedTuple):
    """A model's name without a tag, as timm has it now, and `<name>.<tag>` where a tag was given, else empty."""

    name: str
    tag: str = ""


def list_models() -> list[str]:
    """Every name that a student or teacher may have: timm's and those of `pat.architectures`."""
    return timm.list_models()


def resolve(given: str, what: str = "model") -> Resolved:
    """Raises ConfigError, with the nearest names, for a model or a tag that timm does not have."""
    name, dot, tag = given.partition(".")
    if not timm.is_model(name):
        raise unknown(what, given, list_models())
    if name in _deprecated():
        return Resolved(_current(given, name, what))
    if not dot:
        return Resolved(name)
    tags = [known.partition(".")[2] for known in get_arch_pretrained_cfgs(name)]
    if tag not in tags:
        raise unknown("tag", tag, tags, of=f" of {what} {name!r}")
    return Resolved(name, given)


def check_model(name: str, what: str = "model") -> None:
    """Raises ConfigError unless timm has `name`, with or without a tag, and calls it so itself."""
    found = resolve(name, what)
    if name not in found:
        raise ConfigError(f"{what} {name!r}: timm calls it {found.name!r} now")


def _current(given: str, name: str, what: str) -> str:
    """What timm calls a model of an older name, which may have stood for weights, too: these are asked for by a tag."""
    current = _deprecated()[name]
    if current is None:
        raise ConfigError(f"{what} {given!r}: timm has removed it")
    if given != name:
        raise ConfigError(f"{what} {given!r}: timm calls it {current!r} now")
    return get_arch_name(current)


@lru_cache(maxsize=1)
def _deprecated() -> dict[str, str | None]:
    return get_deprecated_models()
