"""All figures of a report: first what its page shows of them, then, while that is open, their SVG and PDF files.

A large study is drawn by several processes. Each asks for plots, one after another, and keeps their figures until the
page is written. They are started afresh (never forked: the caller may be a driver with threads), get the study's
frames through a pipe and end with it, so that nothing of them stays however the caller ends.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from joblib import cpu_count
from PIL import Image

from analysis.frames import Frames
from analysis.page import Picture
from analysis.plots import FORMS, Drawing, NothingToShow, compose_plot, list_plots, question, render
from analysis.storage import Folder, write_file

PLACE = "report/figures"
MANY_RUNS = 2000
"""From so many runs on several processes draw: what each costs to start, 2 to 3 s of a CPU, is little beside it."""

_MOST = 8
"""Processes at most: each holds the study's frames."""

Pictures = list[Picture]
Show = Callable[[Pictures, dict[str, str]], object]
Answer = Pictures | str | BaseException | None
Worker = tuple[SpawnProcess, Connection]


def write_figures(folder: Folder, frames: Frames, show: Show) -> None:
    """Write every figure in all forms into `folder`/report/figures. As soon as all are drawn, `show` is called with
    what the page shows of them, in the order of the report, and with the reasons why other plots have nothing to show.
    """
    processes = min(len(list_plots()), _MOST, cpu_count())
    if processes == 1 or len(frames.runs) < MANY_RUNS:
        with _without_collection():
            hand = Hand(folder, frames)
            _show({name: hand.draw(name) for name in list_plots()}, show)
            hand.finish()
        return
    with _workers(folder, frames, processes) as workers:
        _show(_drawn([connection for _, connection in workers]), show)
        for _, connection in workers:
            connection.send(None)
        for _, connection in workers:
            _answer(connection)


class Hand:
    """Draws plots of one study, and keeps their figures until all their files are written."""

    def __init__(self, folder: Folder, frames: Frames) -> None:
        self.folder, self.frames, self.held = folder, frames, list[Drawing]()

    def draw(self, name: str) -> Pictures | str:
        """Draw the plot `name` and write its PNG files; what the page shows, or why the plot has nothing to show."""
        try:
            drawings = compose_plot(name, self.frames)
        except NothingToShow as reason:
            return str(reason)
        self.held += drawings
        return [
            Picture(one.name, one.title, one.caption, _lighter(self._write(one, "png")), question(name), one.more)
            for one in drawings
        ]

    def finish(self) -> None:
        """Write the other forms of all that was drawn."""
        for drawing in self.held:
            for form in FORMS[1:]:
                self._write(drawing, form)

    def _write(self, drawing: Drawing, form: str) -> bytes:
        data = render(drawing.figure, form)
        write_file(self.folder, f"{PLACE}/{drawing.name}.{form}", data)
        return data


def work(folder: Folder, connection: Connection) -> None:
    """What a process does: the study's frames come first, then names of plots, each answered by `Hand.draw`, then
    None, answered by None when all files are written. An error is an answer too, the last one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who ends this process
    try:
        hand = Hand(folder, pickle.loads(connection.recv_bytes()))
        with _without_collection():
            while (name := connection.recv()) is not None:
                connection.send(hand.draw(name))
            hand.finish()
            connection.send(None)
    except EOFError:  # the caller is gone
        return
    except Exception as error:
        error.add_note(f"In a process that draws figures:\n{''.join(traceback.format_exception(error))}")
        connection.send(error)


@contextmanager
def _workers(folder: Folder, frames: Frames, processes: int) -> Iterator[Sequence[Worker]]:
    """So many processes that know the study's frames; none is left afterwards."""
    context = multiprocessing.get_context("spawn")
    workers: list[Worker] = []
    try:
        for _ in range(processes):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(folder, there), daemon=True)
            workers.append((process, here))
            process.start()
            there.close()
        data = pickle.dumps(frames, protocol=5)
        for _, connection in workers:
            connection.send_bytes(data)
        del data
        yield workers
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise RuntimeError("a process that draws figures was killed; is there enough memory?") from error
    finally:
        for process, connection in workers:
            connection.close()
            if process.pid is not None:
                process.terminate()
                process.join()


def _drawn(connections: Sequence[Connection]) -> dict[str, Pictures | str]:
    """What the page shows of each plot. The report's last plots are begun first: theirs are the single trials and
    epochs, which take longest."""
    names, given, drawn = list_plots(), dict[Any, str](), dict[str, Pictures | str]()
    for connection in connections:
        given[connection] = names.pop()
        connection.send(given[connection])
    while given:
        ready: Any
        for ready in wait(list(given)):
            drawn[given.pop(ready)] = _answer(ready)
            if names:
                given[ready] = names.pop()
                ready.send(given[ready])
    return drawn


def _answer(connection: Any) -> Any:
    answer = connection.recv()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _show(drawn: dict[str, Pictures | str], show: Show) -> None:
    pictures, left_out = Pictures(), dict[str, str]()
    for name in list_plots():
        found = drawn[name]
        if isinstance(found, str):
            left_out[name] = found
        else:
            pictures += found
    show(pictures, left_out)


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for garbage meanwhile: it would walk through all rows of the frames again and again."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def _lighter(png: bytes) -> bytes:
    """The same picture with 256 colours, a third of the size."""
    sink = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        sink, "png", optimize=True
    )
    return sink.getvalue()
