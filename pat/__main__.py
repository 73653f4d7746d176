"""Command line of the library: `python -m pat taps NAME` shows the stages of a model, or says why it has none."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from pat import __version__
from pat.config import ConfigError
from pat.light import without_compiler
from pat.plugins import import_own

if TYPE_CHECKING:
    from pat.taps import Stage

HEAD = ("stage", "module", "stride", "channels", "size", "prefix tokens", "prompt before", "its input")


def taps(name: str, image_size: int | None) -> str:
    """The table of the stages of `name`, built without weights or memory for them. Raises ConfigError."""
    import torch

    from pat.models import create_model, native_size
    from pat.resolve import resolve
    from pat.taps import StageTaps

    found = resolve(name)
    name = found.tag or found.name
    if image_size is not None and image_size <= 0:
        raise ConfigError(f"--image-size = {image_size}: a positive number of pixels")
    size = (image_size, image_size) if image_size else native_size(name)
    with torch.device("meta"):
        model = create_model(name, num_classes=10, image_size=size)
    try:
        stages = StageTaps(model, size).stages
    except ConfigError as error:
        raise ConfigError(f"model {name!r} cannot be tapped at {size[0]}x{size[1]} px: {error}") from error
    rows = [HEAD, *(_row(number, stage) for number, stage in enumerate(stages, 1))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(number: int, stage: Stage) -> tuple[str, ...]:
    size, entering = (f"{height}x{width}" for height, width in (stage.size, stage.in_size))
    numbers = (str(stage.stride), str(stage.channels), size, str(stage.prefix_tokens))
    return (str(number), stage.end, *numbers, stage.start, f"{stage.in_channels} x {entering}")


class _Parser(argparse.ArgumentParser):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        called = os.path.basename(sys.argv[0])
        super().__init__(*args, **{**kwargs, **({"prog": called} if called.startswith("pat-") else {})})
        self.add_argument("--version", action="version", version=f"pat-sweeps {__version__}")

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 2 after one line on stderr, 1 where that line is of a bug."""
    about = "Distillation between any two timm models."
    parser = _Parser(prog="python -m pat", description=about, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("taps", help="the stages of a model, or why it has none")
    command.add_argument("name", metavar="NAME", help="a timm model")
    command.add_argument("--image-size", type=int, metavar="N", help="height and width in pixels [the model's own]")
    command.add_argument(
        "--import",
        metavar="MODULE",
        action="append",
        default=[],
        dest="imports",
        help="that registers the model",
    )
    try:
        given = parser.parse_args(arguments)
        for module in given.imports:
            import_own(module, os.getcwd())
        print(f"looking at {given.name}", file=sys.stderr, flush=True)
        print(taps(given.name, given.image_size))
        return 0
    except ConfigError as error:
        code, line = 2, f"error: {error}"
    except Exception as error:
        code, line = 1, f"internal error: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    print(line, file=sys.stderr)
    return code


def show_taps(arguments: Sequence[str] | None = None) -> int:
    """The console script `pat-taps NAME`: the command `taps`."""
    without_compiler()
    return main(["taps", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    without_compiler()
    sys.exit(main())
