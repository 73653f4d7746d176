"""The status of a study as a person reads it: lines and two plain tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from analysis.cost import money
from analysis.failures import failures
from analysis.words import duration
from sweeps.looking.picture import Picture, Running

STATES = ("finished", "running", "waiting", "failed", "blocked")
_MARKS = {"finished": "", "waiting": "", "running": " running", "failed": " FAILED", "blocked": " blocked"}
Cell = tuple[str, str, str]


def status_text(picture: Picture, price: float | None) -> str:
    """Everything: who drives, how far it is, what it has cost, cells, runs in flight, failures, what to type next."""
    cells = cell_states(picture)
    parts = [
        "\n".join(_head(picture, cells, price)),
        _cell_table(picture, cells),
        _running_table(picture.running),
        failures(picture.ended),
        "\n".join(_next(picture, cells)),
    ]
    return "\n\n".join(part for part in parts if part)


def brief(picture: Picture, price: float | None) -> str:
    """One line."""
    now = f"{datetime.now(UTC):%H:%M:%S} UTC"
    return "; ".join([now, _driver(picture), _runs(picture), _spent(picture, price)])


def cell_states(picture: Picture) -> dict[Cell, str]:
    """Every cell of the matrix, scratch baselines among them, with its state: one of STATES."""
    found: dict[Cell, set[str]] = {}
    for row in picture.rows:
        found.setdefault(_cell(row), set()).add(row["status"])
    busy = {run.cell for run in picture.running if run.phase != "teacher"}  # its model may be a student, too
    # a run without a teacher stands in the rows of all pairs of its student
    return {cell: _state(statuses, bool({cell, ("", *cell[1:])} & busy)) for cell, statuses in found.items()}


def _state(statuses: set[str], busy: bool) -> str:
    if statuses == {"finished"}:
        return "finished"
    if busy or "running" in statuses:
        return "running"
    if statuses & {"failed", "diverged"}:
        return "failed"
    return "blocked" if "blocked" in statuses else "waiting"


def _cell(row: dict[str, Any]) -> Cell:
    return row["teacher"], row["student"], row["method"]


def _head(picture: Picture, cells: dict[Cell, str], price: float | None) -> list[str]:
    counts = Counter(cells.values())
    states = ", ".join(f"{counts[state]} {state}" for state in STATES)
    learnt = f": {picture.task}," if picture.task else ""
    return [
        f"study   {picture.name}{learnt} in {picture.folder}",
        *([f"damaged {picture.damaged}; the study goes on once it is whole again"] if picture.damaged else ()),
        f"driver  {_driver(picture)}",
        f"runs    {_runs(picture)}",
        f"cells   {len(cells)}: {states}",
        f"spent   {_spent(picture, price)}",
        *(f"changed {line}" for line in (picture.driver.facts.get("changed") or () if picture.driver else ())),
        *(f"closed  {line}" for line in (picture.driver.closed() if picture.driver and picture.driver.alive else ())),
    ]


def _driver(picture: Picture) -> str:
    driver = picture.driver
    if driver is None:
        return "none has worked here"
    who = f"pid {driver.pid} on {driver.host}"
    if driver.ended:
        return f"ended {duration(driver.silence())} ago: {driver.ended} ({who})"
    if not driver.alive:
        return f"{who}: no sign of life since {driver.beat:%Y-%m-%d %H:%M:%S} UTC, {duration(driver.silence())} ago"
    return f"{who}, alive; up to {driver.slots} runs at a time"


def _runs(picture: Picture) -> str:
    statuses = Counter(picture.ended["status"])
    ended = ", ".join(f"{statuses[status]} {status}" for status in ("finished", "pruned", "diverged", "failed"))
    facts = picture.driver.facts if picture.driver else {}
    done, total = facts.get("counts") or (0, 0)
    text = f"{done} of {total} done; " if total else ""
    text += f"{len(picture.ended)} ended ({ended}), {len(picture.running)} in flight"
    text += f", {picture.paused} paused" if picture.paused else ""
    left = facts.get("seconds_left")
    if left is not None and picture.driver is not None and picture.driver.alive:
        text += f"; about {duration(max(0.0, left - picture.driver.silence()))} left"
    return text


def _spent(picture: Picture, price: float | None) -> str:
    if price is None and picture.driver is not None:
        price = picture.driver.price
    text = f"{picture.hours:,.2f} device-hours"
    text += "" if price is None else f", that is {money(picture.hours, price)}"
    lost = [int(picture.ended[name].fillna(0).astype(int).sum()) for name in ("retries", "preemptions")]
    return text + (f"; processes lost: {lost[0]}, and {lost[1]} more by preemption" if any(lost) else "")


def _cell_table(picture: Picture, cells: dict[Cell, str]) -> str:
    """A line for each pair and a column for each method: finished of planned confirmation runs, and the state."""
    methods = list(dict.fromkeys(method for teacher, _, method in cells if teacher))
    pairs = list(dict.fromkeys((teacher, student) for teacher, student, _ in cells if teacher))
    planned = Counter(_cell(row) for row in picture.rows)
    finished = Counter(_cell(row) for row in picture.rows if row["status"] == "finished")

    def entry(cell: Cell) -> str:
        return f"{finished[cell]}/{planned[cell]}{_MARKS[cells[cell]]}" if cell in cells else ""

    rows = [
        [teacher, student, entry(("", student, "scratch")), *(entry((teacher, student, method)) for method in methods)]
        for teacher, student in pairs
    ]
    return _table([["teacher", "student", "scratch", *methods], *rows]) if rows else ""


def _running_table(running: Sequence[Running]) -> str:
    names = ["in flight", "epoch", "for", "host", "device", "phase", "seed", "method", "models"]
    rows = [
        [
            run.run_id,
            f"{run.epoch} of {run.epochs}",
            duration(max(0.0, time.time() - run.since)) if run.since else "",
            run.host,
            run.device,
            run.phase,
            str(run.seed),
            run.cell[2],
            f"{run.cell[0]} -> {run.cell[1]}" if run.cell[0] else run.cell[1],
        ]
        for run in running
    ]
    return _table([names, *rows]) if rows else ""


def _next(picture: Picture, cells: dict[Cell, str]) -> list[str]:
    """What to type next."""
    driver = picture.driver
    command = _command(driver.command) if driver is not None else "the study's command"
    failed = set(picture.ended["status"]) & {"failed", "diverged"}
    complete = bool(cells) and set(cells.values()) == {"finished"}
    lines = []
    if driver is not None and driver.alive:
        lines.append(f"next    python -m sweeps status {picture.folder} --watch 5")
    elif complete:
        lines.append(f"next    python -m analysis report {picture.folder}")
    elif not failed:
        lines.append(f"next    {command}")
    for kind in sorted(failed):
        lines.append(f"        to run again what has {kind}: {command} --retry {kind}")
    return lines


def _command(command: str) -> str:
    """What a person types for what Python was given."""
    program, _, rest = command.partition(" ")
    program = "-m sweeps" if program.endswith("__main__.py") else program
    return f"python {program} {rest}".strip()


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
