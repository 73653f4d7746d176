"""Which cells try the best settings of which others, so that a study says whether a setting travels."""

from __future__ import annotations

import itertools
from functools import lru_cache

from pat.models import family
from sweeps.study import Cell, Study
from sweeps.teacher_seeds import model_of

_family = lru_cache(maxsize=None)(family)


def guests_of(study: Study) -> dict[Cell, list[Cell]]:
    """By cell those whose best settings are tried in it, in the study's order."""
    found: dict[Cell, list[Cell]] = {}
    for method in study.methods if study.exchange else ():
        cells = [cell for cell in study.cells() if cell.method == method and cell.teacher]
        if study.searches(method) and not study.pretrains(method):
            for guest in cells:
                for host in hosts_of(study, guest, cells):
                    found.setdefault(host, []).append(guest)
    return found


def hosts_of(study: Study, guest: Cell, cells: list[Cell]) -> list[Cell]:
    """Where a cell's best setting is tried: in `study.exchange` of the `cells` of its method, in turns one with the
    same student, one with another student of the same pair of families, and any other one. Of each kind those are taken
    that follow it in the study's order, in a circle, so that all cells have about as many guests.
    """
    place = cells.index(guest)
    kinds: tuple[list[Cell], ...] = [], [], []
    for other in (*cells[place + 1 :], *cells[:place]):
        kinds[_kind(guest, other)].append(other)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    return list(itertools.islice(filter(None, turns), study.exchange))


def _kind(one: Cell, other: Cell) -> int:
    """0: the same student; 1: another one of the same pair of families; 2: other families."""
    if one.student == other.student:
        return 0
    return 1 if _families(one) == _families(other) else 2


def _families(cell: Cell) -> tuple[str, str]:
    return _family(model_of(cell.teacher)), _family(cell.student)
