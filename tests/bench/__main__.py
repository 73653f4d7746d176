"""`make bench`: what steps cost against their arithmetic and against scratch, how fast views are made, how full the
planner keeps a cluster, and what warm starts save.

Ratios within one process, never seconds alone. `python -m tests.bench flops methods` runs some parts only.
"""

from __future__ import annotations

import os
import sys

import torch

from tests.bench import coverage, flops, methods, report, scale, scheduling, step, views, warm

PARTS = {
    "flops": flops.report,
    "step": step.report,
    "methods": methods.report,
    "views": views.report,
    "scheduling": scheduling.report,
    "warm": warm.report,
    "scale": scale.report,
    "coverage": coverage.report,
    "report": report.report,
}
LONG = ("scale", "coverage", "report")


def main(names: list[str]) -> None:
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, 1 thread, load average {load:.1f} on {os.cpu_count()} cores\n")
    for name in names or (name for name in PARTS if name not in LONG):
        PARTS[name]()
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
