"""Screenshots of the terminal for the docs: `python -m tests.screens` runs a small study in a pseudo-terminal, writes
docs/terminal_running.svg, in the middle of it, and docs/terminal_end.svg.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

COLUMNS, LINES = 132, 24
STUDY = "--preset digits --pairs 2 --methods kd,rsd --trials 0 --seeds 2 --set recipe.epochs=10"
ROOT = Path(__file__).parents[1]


class Terminal(io.StringIO):
    """One that understands the control sequences which are used; `screen`: what is seen on it."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for part in re.split(r"(\033\[\d*[AJ]|\r|\n)", self.getvalue()):
            if up := re.fullmatch(r"\033\[(\d+)A", part):
                row = max(0, row - int(up[1]))
            elif part == "\033[J":
                del lines[row + 1 :]
                lines[row] = lines[row][:column]
            elif part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            else:
                lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
                column += len(part)
        return lines[:-1]


def screens(command: Sequence[str], folder: Path) -> Iterator[list[str]]:
    """What a person sees of a command in `folder` on a terminal of COLUMNS x LINES, again and again until it ends; but
    for the lines that say on a slow machine that something takes long."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    given = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=given, cwd=folder, start_new_session=True
    )
    os.close(theirs)
    seen = Terminal()
    try:
        while data := os.read(ours, 1 << 16):
            seen.write(data.decode(errors="replace").replace("\r\n", "\n"))
            yield [line.replace(f"{folder}/", "") for line in seen.screen if not line.endswith(" s so far")]
    except OSError:  # nobody has the other end any more
        pass
    finally:
        os.close(ours)
        if running.wait():
            raise RuntimeError("\n".join(seen.screen[-20:]))


def picture(lines: Sequence[str], title: str, columns: int = COLUMNS) -> str:
    """Lines of text as a terminal in SVG, with no font from elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=columns, file=io.StringIO(), highlight=False, legacy_windows=False)
    for line in lines:
        console.print(Text(line), no_wrap=True, overflow="crop")
    svg = console.export_svg(title=title, unique_id="screen")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")


def main() -> None:
    """Run the study, keep the two pictures."""
    middle, last = list[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "sweeps" / "hetero_grid.py"), *STUDY.split(), "--yes"]
        for last in screens(command, Path(folder)):
            found = [re.match(r"(\d+) of (\d+) runs;", line) for line in last]
            where = max((place for place, match in enumerate(found) if match), default=None)
            if where is not None and last[-1].startswith("  epoch"):
                done, total = map(int, found[where].groups())  # type: ignore[union-attr]
                if not middle or done <= total // 2:
                    middle = last
    for name, shown in (("running", middle), ("end", last)):
        file = ROOT / "docs" / f"terminal_{name}.svg"
        file.write_text(picture([f"$ pat-sweep {STUDY}", *shown[-LINES:]], "pat-sweep"))
        print(file)


if __name__ == "__main__":
    main()
