"""`python -m sweeps export DIR optuna FILE` and the like: a study for tools that others made."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.guard import Parser, guarded

_ABOUT = """\
optuna FILE         the search of every cell as an Optuna study of that name, for `optuna-dashboard FILE`;
                    FILE is a journal file, or a URL as sqlite:///search.db
deepcave FOLDER     the same as a folder a cell, for `deepcave`: add them in its dashboard
tensorboard FOLDER  the curves of every run as event files, for `tensorboard --logdir FOLDER`
Given again, each replaces what it wrote."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 0, or 2 after one line on stderr."""
    return guarded(lambda: _export(_parser().parse_args(argv)), _refusal)


def _parser() -> Parser:
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m sweeps export", description=_ABOUT, formatter_class=form)
    parser.add_argument("folder", metavar="DIR", help="the study's folder")
    parser.add_argument("form", choices=("optuna", "deepcave", "tensorboard"))
    parser.add_argument("target", metavar="TARGET")
    return parser


def _export(flags: argparse.Namespace) -> int:
    if flags.form == "optuna":
        from sweeps.looking.export_optuna import export_optuna

        print(f"{export_optuna(Path(flags.folder), flags.target)} searches in {flags.target}")
    elif flags.form == "deepcave":
        from sweeps.looking.export_deepcave import export_deepcave

        print(f"{export_deepcave(Path(flags.folder), Path(flags.target))} searches in {flags.target}")
    else:
        from sweeps.looking.export_tensorboard import export_tensorboard

        print(f"{export_tensorboard(flags.folder, Path(flags.target))} runs in {flags.target}")
    return 0


def _refusal(error: Exception) -> tuple[int, str] | None:
    """What a foreign library says of the target is the user's to mend."""
    if isinstance(error, ValueError | OSError):
        return 2, f"error: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return None
