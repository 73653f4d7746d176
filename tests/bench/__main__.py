"""`make bench`: what steps cost against their arithmetic and against scratch, what an epoch is made of, what runs gain
that are trained together, how fast views are made and files decoded, how full the planner keeps a cluster and what it
costs itself, what a sick device costs, what warm starts save, and how near to the best setting searches come.

    python -m tests.bench                    # all but the parts that take from minutes to hours
    python -m tests.bench flops methods      # these parts
    python -m tests.bench --record methods   # makes what these parts measure the baseline

Ratios within one process, never seconds, are compared with `baseline.json`: exit status 1 where one is beyond the
tolerance of its part, or is not in both.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

import torch

from tests.bench.compare import compare, of_parts, read, record, table

PARTS = (
    "flops", "step", "methods", "epoch", "lockstep", "diagnostics", "dense", "sparse", "views", "decoding",
    "scheduling", "blackhole", "planner", "warm", "replay", "scale", "coverage", "report", "disks",
)  # fmt: skip
"""Modules of this folder: `report()` prints and returns ratios by name, `TOLERANCE` says how far they may change."""
LONG = ("replay", "scale", "coverage", "report", "disks")
KINDS = ("AVX512", "AVX2")
"""Of CPUs, as torch names them: those that the tolerances of costs allow for."""
BASELINE = Path(__file__).with_name("baseline.json")


def main(arguments: list[str], baseline: Path = BASELINE) -> int:
    """The exit status: 0, 1 where a ratio is not as recorded, 2 for a part that is not there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Ratios against the recorded ones.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (all but {', '.join(LONG)})")
    parser.add_argument("--record", action="store_true", help="make what is measured the baseline of these parts")
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in PARTS]:
        print(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    parts = list(dict.fromkeys(options.parts)) or [part for part in PARTS if part not in LONG]
    load, kind = os.getloadavg()[0], torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {kind}, 1 thread, load average {load:.1f} on {os.cpu_count()} cores\n")
    if kind not in KINDS:
        print(f"costs are recorded for {' and '.join(KINDS)}: on {kind} they are others\n")
    known, found, lines = read(baseline), dict[str, float](), []
    for part in parts:
        module, start = importlib.import_module(f"tests.bench.{part}"), time.monotonic()
        ratios = {f"{part}/{name}": ratio for name, ratio in module.report().items()}
        print(f"{part}: {time.monotonic() - start:.0f} s\n", flush=True)
        lines += compare(ratios, of_parts(known, [part]), module.TOLERANCE)
        found |= ratios
    print(table(lines))
    if options.record:
        record(found, parts, baseline)
        print(f"recorded: {len(found)} ratios of {', '.join(parts)}")
        return 0
    failed = [line for line in lines if line.fails]
    if failed:
        print(f"{len(failed)} of {len(lines)} are not as recorded. Where that is meant:")
        print("    python -m tests.bench --record", *dict.fromkeys(line.name.partition("/")[0] for line in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
