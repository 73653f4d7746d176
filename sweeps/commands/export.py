"""`python -m sweeps export DIR FORM …`: a study for tools that others made, a student for those who use it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.guard import Parser, guarded
from analysis.words import counted

_ABOUT = """\
hub CELL            the student of a cell as a folder: config.json, model.safetensors, model card; timm opens it, and
                    it can be pushed to the hub as it is
onnx CELL           the same as an ONNX file (needs the packages onnx and onnxscript)
torch CELL          the same as a program of torch.export, which needs neither timm nor this package
optuna FILE         the search of every cell as an Optuna study of that name, for `optuna-dashboard FILE`;
                    FILE is a journal file, or a URL as sqlite:///search.db
deepcave FOLDER     the same as a folder a cell, which DeepCAVE opens
tensorboard FOLDER  the curves of every run as event files, for `tensorboard --logdir FOLDER`

CELL is teacher:student:method (of scratch :student:scratch), of which the run that is best on validation is taken, or
the id of a run. Given again, all replace what they wrote."""
_ENDINGS = {"hub": "", "onnx": ".onnx", "torch": ".pt2"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 0, or 2 after one line on stderr."""
    return guarded(lambda: _export(_parser().parse_args(argv)), _refusal)


def _parser() -> Parser:
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m sweeps export", description=_ABOUT, formatter_class=form)
    parser.add_argument("folder", metavar="DIR", help="the study's folder")
    parser.add_argument("form", choices=("optuna", "deepcave", "tensorboard", *_ENDINGS))
    parser.add_argument("what", metavar="FILE|FOLDER|CELL")
    imported = "import a module first, which registers the student's model; its file lies here"
    parser.add_argument("--import", metavar="MODULE", action="append", default=[], dest="imports", help=imported)
    to = "where a student goes [export/STUDENT-METHOD-RUN, with the ending of its form]"
    parser.add_argument("--to", metavar="PLACE", type=Path, help=to)
    return parser


def _export(flags: argparse.Namespace) -> int:
    if flags.form in _ENDINGS:
        return _export_student(flags)
    if flags.to is not None:
        raise ValueError(f"--to: {flags.form} is written to {flags.what}")
    if flags.form == "optuna":
        from sweeps.looking.export_optuna import export_optuna

        print(f"{_searches(export_optuna(Path(flags.folder), flags.what))} in {flags.what}")
    elif flags.form == "deepcave":
        from sweeps.looking.export_deepcave import export_deepcave

        print(f"{_searches(export_deepcave(Path(flags.folder), Path(flags.what)))} in {flags.what}")
    else:
        from sweeps.looking.export_tensorboard import export_tensorboard

        print(f"{counted(export_tensorboard(flags.folder, Path(flags.what)), 'run')} in {flags.what}")
    return 0


def _searches(number: int) -> str:
    return counted(number, "search", "searches")


def _export_student(flags: argparse.Namespace) -> int:
    from pat.plugins import announce, load_plugins
    from sweeps.looking import export_student
    from sweeps.looking.chosen import chosen

    load_plugins()
    for name in flags.imports:
        announce(name, str(Path.cwd()))
    folder = Path(flags.folder)
    row = chosen(folder, flags.what)
    named = Path("export") / f"{row['student']}-{row['method']}-{row['run_id']}{_ENDINGS[flags.form]}"
    write = {"hub": export_student.export_hub, "onnx": export_student.export_onnx, "torch": export_student.export_torch}
    print(write[flags.form](folder, row, flags.to or named))
    return 0


def _refusal(error: Exception) -> tuple[int, str] | None:
    """What a foreign library says of the target is the user's to mend."""
    if isinstance(error, ValueError | OSError):
        return 2, f"error: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return None
