"""What one pre-training has brought to several studies: this one, and those beside it that begin with the same runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from analysis.frames import Frames, load
from analysis.labels import method_label, shorten
from analysis.order import order
from analysis.page.rows import signed
from analysis.schema import LedgerError

LONGER = "longer"
"""The control of a pre-training: scratch for as many hours."""


def downstream_rows(frames: Frames) -> list[dict[str, str]]:
    """As text, a row for each pair and method that a pre-training precedes (and for the control), of this study first
    and then of the others under the same storage that hold one of its pre-trainings, what each has learnt being said.

    Empty where no other study does, or the storage is no folder. Another one that cannot be read is left out.
    """
    before = frames.runs[frames.runs["phase"] == "pretrain"]
    others = [] if before.empty or not frames.place or "://" in frames.place else _beside(frames, set(before["run_id"]))
    return [row for one in (frames, *others) for row in _rows(one)] if others else []


def _beside(frames: Frames, run_ids: set[str]) -> list[Frames]:
    own, found = Path(frames.place).resolve(), list[Frames]()
    for folder in sorted(own.parent.iterdir()):
        if folder == own or not any((folder / "runs" / run_id).is_dir() for run_id in run_ids):
            continue
        with suppress(LedgerError):
            found.append(load(folder))
    return [one for one in found if run_ids & set(one.runs["run_id"])]


def _rows(frames: Frames) -> list[dict[str, str]]:
    methods = order((*frames.runs[frames.runs["phase"] == "pretrain"]["method"], LONGER))
    cells = frames.cells[frames.cells["method"].isin(methods)]
    cells = cells.sort_values("method", key=lambda names: names.map(methods.index), kind="stable")
    labels = shorten({*cells["teacher"], *cells["student"]})
    rows = []
    for cell in cells.to_dict("records"):
        scored = cell["seeds_finished"] > 0
        low, high = (signed(cell[f"gain_over_scratch_{end}"]) for end in ("low", "high"))
        rows.append(
            {
                "study": frames.study,
                "learnt": f"{frames.metric.name} on {frames.data}",
                "student": labels[cell["student"]],
                "teacher": labels[cell["teacher"]],
                "method": f"{method_label(cell['method'])}, {cell['setting']}",
                "seeds": f"{cell['seeds_finished']} of {cell['seeds_planned']}",
                "scratch": f"{cell['scratch_mean']:.2f}" if scored else "–",
                "score": f"{cell['score_mean']:.2f}" if scored else "–",
                "gain": signed(cell["gain_over_scratch"]),
                "span": "" if low == "–" else f"{low} to {high}",
                "verdict": cell["verdict"],
            }
        )
    return rows
