"""The options of methods and tasks, declared by their classes: a configuration is completed and checked with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, get_type_hints

from pat.errors import ConfigError, check_choice, unknown
from pat.values import typed

VARIANT = "variant"
"""The option that names one of a method's variants, where it has some."""


@dataclass(frozen=True)
class Declared:
    """The options of a method or task with their defaults. `teacherless`: a method that takes no teacher.

    `variants`: named sets of other defaults, the first one that of the option `variant`; none: no such option.
    `later`: options that joined after runs had been addressed. `hints`: the types of options, as far as they say any.
    """

    defaults: Mapping[str, Any]
    teacherless: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    later: frozenset[str] = frozenset()
    hints: Mapping[str, Any] = field(default_factory=dict)

    def under(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All defaults where these options are given. Raises ConfigError for a variant that there is not."""
        if not self.variants:
            return dict(self.defaults)
        variant = given.get(VARIANT, next(iter(self.variants)))
        check_choice(VARIANT, variant, self.variants)
        return {VARIANT: variant, **self.defaults, **self.variants[variant]}

    def written(self, complete: Mapping[str, Any]) -> dict[str, Any]:
        """All options but those of `later` that say what was so before they joined: what is left out is read as that.

        Where a variant has another default than the method, both are written.
        """
        usual = self.under(complete)
        at_rest = {name for name in self.later if complete[name] == usual[name] == self.defaults[name]}
        return {name: value for name, value in complete.items() if name not in at_rest}


_declared: dict[str, dict[str, Declared]] = {"method": {}, "task": {}}


def declare(
    kind: str,
    name: str,
    defaults: Mapping[str, Any],
    teacherless: bool = False,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    later: Iterable[str] = (),
    hints: Mapping[str, Any] | None = None,
) -> None:
    """Make the options of a "method" or "task" known; names in `later` that are none of them are another class'."""
    joined = frozenset(later) & defaults.keys()
    _declared[kind][name] = Declared(plain(defaults), teacherless, plain(variants or {}), joined, hints or {})


def declared(kind: str, name: str) -> Declared:
    """Raises ConfigError, with the nearest names, for a method or task that does not exist."""
    if name not in _declared[kind]:
        import_module(f"pat.{kind}s")  # which declares those that come with this package
    if name not in _declared[kind]:
        raise unknown(kind, name, _declared[kind])
    return _declared[kind][name]


def teacherless(method: str) -> bool:
    """Whether a method takes no teacher. Raises ConfigError for one that does not exist."""
    return declared("method", method).teacherless


def complete_options(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a method or task, the defaults (of the variant, where one is given) filled in.

    Raises ConfigError for an unknown name, option or variant, and for a value of another type or size.
    """
    known = declared(kind, name)
    defaults = known.under(plain(given))
    for key in given:
        if key not in defaults:
            raise unknown("option", key, defaults, of=f" of {kind} {name!r}")
    filled = {key: plain(given.get(key, default)) for key, default in defaults.items()}
    kept = {key: typed(f"{kind} {name!r}: {key}", value, known.hints.get(key, Any)) for key, value in filled.items()}
    if kind == "method":  # a task says itself of what size its options are
        for key, value in kept.items():
            _check_size(f"{kind} {name!r}: {key}", key, value)
    return kept


_MOST, _LARGEST = 10**6, 1e38
"""Of whole numbers, and of others: single precision has none much beyond."""
_POSITIVE = frozenset(
    "temperature confidence_temperature epsilon dim head_dim region_dim width heads regions areas negatives "
    "expansion".split()
)
_SHARES = frozenset({"momentum", "ratio"})
"""Options, whosever they are, that are positive, and those in [0, 1). No other number is negative."""


def _check_size(what: str, key: str, value: Any) -> None:
    """Raises ConfigError for a number that no method could mean."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        largest = _MOST if isinstance(number, int) else _LARGEST
        if key in _SHARES:
            ok, allowed = 0 <= number < 1, "in [0, 1)"
        elif key in _POSITIVE:
            ok, allowed = 0 < number <= largest, f"a positive number, at most {largest:g}"
        else:
            ok, allowed = 0 <= number <= largest, f"not negative, at most {largest:g}"
        if not ok:
            raise ConfigError(f"{what} = {value!r}: {allowed}")


def signature_defaults(build: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only arguments of a class' `__init__` and their defaults: its options."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def signature_hints(build: Callable[..., Any]) -> dict[str, Any]:
    """The types of a class' options; none where its file does not import what they are written with."""
    try:
        return get_type_hints(build)
    except NameError:
        return {}


def plain(value: Any) -> Any:
    """`value` as it is kept, read from JSON or given: lists and tuples become tuples, inside of mappings too."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return tuple(plain(item) for item in value) if isinstance(value, list | tuple) else value
