"""The entry script: the heterogeneous matrix of a preset. `ray submit CLUSTER.yaml sweeps/hetero_grid.py` copies this
one file, so it holds nothing but the way to the packages.

    python sweeps/hetero_grid.py --preset demo          minutes on two cores
    python sweeps/hetero_grid.py --preset digits --plan what it would do
    python sweeps/hetero_grid.py                        CIFAR-100 at 224 px, the papers' pairs, on GPUs
"""

import sys
from pathlib import Path

CODE = "d3fa8efa88c5"
COPY = Path.home() / "pat-sweeps"


def run() -> int:
    """Find the packages next to this file, in a cluster's copy, or installed, and hand over to them; the exit code."""
    script = Path(__file__).resolve()
    beside = (script.parent / "study.py").exists()
    if beside or (COPY / "sweeps").is_dir():
        sys.path[0] = str(script.parents[1] if beside else COPY)  # not the script's folder: `study` would be a module
    try:
        from sweeps.cluster.handover import hand_over, submitted

        if submitted(script):
            return hand_over(script, sys.argv[1:], COPY)
        from sweeps.commands.entry import main
    except ModuleNotFoundError as error:
        print(f"error: {error}; install the project in this Python ({sys.executable}) first", file=sys.stderr)
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(run())
