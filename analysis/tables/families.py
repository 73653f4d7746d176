"""The matrix by families: what CNN, ViT and MLP teachers do for CNN, ViT and MLP students."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.cells import family_order
from analysis.frames import Frames
from analysis.stats import mean_gain
from analysis.tables import INT, REAL, TEXT, register_table

_BLOCK = ["teacher_family", "student_family", "method", "setting"]


@register_table(
    "families",
    30,
    title="Families: teacher x student",
    note="Mean gain over scratch over the pairs of two families, {points}. The interval is over the seeds "
    "that all these pairs have finished and answers: these very pairs, other seeds. The pairs of a student are kept "
    "together; of a single pair it is that of its cell, whose variance is pooled with the other cells.",
    columns={
        "teacher_family": (TEXT, "cnn, vit or mlp"),
        "student_family": (TEXT, "cnn, vit or mlp"),
        "method": (TEXT, "how it was distilled"),
        "setting": (TEXT, "default or tuned"),
        "pairs": (INT, "pairs in the study"),
        "finished": (INT, "pairs with a gain, over which the mean is"),
        "seeds": (INT, "seeds that all of them have"),
        "gain": (REAL, "mean gain over scratch, {points}"),
        "low": (REAL, "95 % interval"),
        "high": (REAL, "its upper end"),
        "p": (REAL, "its two-sided p-value, not corrected"),
    },
)
def prepare(frames: Frames) -> pd.DataFrame:
    """One row per two families, method and setting of the study; families in their order."""
    pairs = frames.cells[["teacher", "student", *_BLOCK]]
    gains = frames.seed_gains.merge(pairs, on=["teacher", "student", "method", "setting"])
    gains = gains.dropna(subset="gain_over_scratch")
    columns = [*_BLOCK, "pairs", "finished", "seeds", "gain", "low", "high", "p"]
    frame = pd.DataFrame(_rows(pairs, gains), columns=columns)
    alone = frames.cells.set_index(_BLOCK)
    for place in frame.index[frame["finished"] == 1]:
        cell = alone.loc[[tuple(frame.loc[place, _BLOCK])]].dropna(subset="gain_over_scratch").iloc[0]
        frame.loc[place, ["low", "high", "p"]] = cell[
            [f"gain_over_scratch_{part}" for part in ("low", "high", "p")]
        ].to_numpy(float)
    return frame.sort_values(_BLOCK, key=family_order, kind="stable", ignore_index=True)


def _rows(pairs: pd.DataFrame, gains: pd.DataFrame) -> Iterator[dict[str, Any]]:
    blocks = {key: group for key, group in gains.groupby(_BLOCK, dropna=False)}
    for key, cells in pairs.groupby(_BLOCK, dropna=False):
        row = dict(zip(_BLOCK, key, strict=True)) | {"pairs": len(cells), "finished": 0, "seeds": 0}
        if key in blocks:
            wide = blocks[key].pivot(index=["teacher", "student"], columns="seed", values="gain_over_scratch")
            found = mean_gain(wide.to_numpy(), list(wide.index.get_level_values("student")))
            row |= {"finished": len(wide), "seeds": int(wide.notna().all().sum())}
            row |= {"gain": found.value, "low": found.low, "high": found.high, "p": found.p}
        yield row
