"""`python -m sweeps COMMAND`. A command is imported when it is given, so that those that only look are quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from analysis.environment import bear_surroundings
from analysis.guard import version_line

COMMANDS = {
    "train": ("sweeps.commands.train", "one teacher, one student, one method, on named or own data"),
    "status": ("sweeps.commands.status", "how far a study is, from any machine that sees its folder"),
    "stop": ("sweeps.commands.stop", "pause a running study after the epochs in flight"),
    "pull": ("sweeps.commands.pull", "the results of a cluster or a bucket, home"),
    "doctor": ("sweeps.commands.doctor", "whether every machine of a cluster can run a study"),
    "export": (
        "sweeps.commands.export",
        "a study's searches for optuna-dashboard or DeepCAVE, its curves for TensorBoard",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 done, 1 something failed, 2 bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in COMMANDS:
        bear_surroundings()
        module, _ = COMMANDS[argv[0]]
        code: int = import_module(module).main(argv[1:])
        return code
    if argv and argv[0] in ("-h", "--help"):
        print("usage: python -m sweeps COMMAND …; each command has --help and --version\n")
        for name, (_, about) in COMMANDS.items():
            print(f"  {name:8}{about}")
        return 0
    if argv and argv[0] == "--version":
        print(version_line())
        return 0
    wrong = f"unknown command {argv[0]!r}" if argv else "a command is required"
    print(f"error: {wrong}: {', '.join(COMMANDS)} (see --help)", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
