"""`make bench`: what a PAT step costs against its arithmetic. Ratios within one process, never seconds alone."""

from __future__ import annotations

import os

import torch

from tests.bench import flops, step


def main() -> None:
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, 1 thread, load average {load:.1f} on {os.cpu_count()} cores\n")
    flops.report()
    print()
    step.report()


if __name__ == "__main__":
    main()
