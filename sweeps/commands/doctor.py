"""`python -m sweeps doctor`: whether every machine of a cluster can run a study; a table of what is wrong where not.

On the head of a cluster it asks all machines, elsewhere (without --address) this one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.words import counted
from sweeps.cluster.bootstrap import read_cluster
from sweeps.cluster.verdict import Problem, table
from sweeps.commands.flags import add_places
from sweeps.guard import Parser, guarded
from sweeps.places import data_place, storage_place
from sweeps.presets import CIFAR100, PRESETS, preset
from sweeps.started import address


def main(argv: Sequence[str]) -> int:
    """The command; returns the exit code: 0 sound, 2 with a table of problems."""
    flags = Parser(prog="python -m sweeps doctor", description=__doc__, allow_abbrev=False)
    flags.add_argument("--preset", default=CIFAR100, help=f"whose data is looked for: {', '.join(PRESETS)}")
    flags.add_argument("--workers", type=int, help="workers that are to share a run: then names must resolve too")
    add_places(flags)
    flags.add_argument("--verbose", action="store_true", help="tracebacks")
    return guarded(lambda: _doctor(flags.parse_args(argv)), "--verbose" in argv)


def _doctor(flags: argparse.Namespace) -> int:
    study = preset(flags.preset)
    if flags.workers is not None:
        study = replace(study, workers=flags.workers)
    cluster = read_cluster() if flags.address is None else None
    where = address(flags.address or ("auto" if cluster else None))
    from sweeps.cluster.examine import examine
    from sweeps.engine.cluster import nodes, ray_running

    away = where != "local"
    storage, place = storage_place(flags.storage, away), data_place(flags.data_root, flags.stage, away)
    with ray_running(where, flags.verbose):
        count, missing = len(nodes()), list[Problem]()
        several = count > 1 and study.workers != 1
        if cluster and count < cluster.promised:
            found = f"{count} joined", f"{cluster.promised}, by the cluster's definition; ray status says more"
            missing = [Problem(f"cluster {cluster.name}", "machines", *found)]
        problems = missing + examine(
            Path(storage).expanduser().absolute(), study.data, place.root, place.source, several
        )
    if problems:
        print(table(problems))
        return 2
    print(f"{counted(count, 'machine')}: nothing is wrong")
    return 0
