"""The matrix as a table: one row per pair, method and setting."""

from __future__ import annotations

import pandas as pd

from analysis.frames import Frames
from analysis.metrics import Metric
from analysis.tables import INT, REAL, TEXT, Columns, register_table

_PARTS = {
    "": "mean over the seeds of both sides, {points}",
    "_std": "standard deviation over seeds, {points}",
    "_error": "standard error of the mean, variance pooled over cells, {points}",
    "_low": "95 % interval, other seeds on this very test set (moderated t), {points}",
    "_high": "its upper end",
    "_p": "its two-sided p-value",
    "_df": "its degrees of freedom",
    "_p_holm": "the p-value after Holm's correction over all cells of the main setting, or over all others",
    "_p_bh": "the same after Benjamini and Hochberg's correction",
    "_plain_low": "95 % interval of the cell's own paired t, nothing pooled, {points}",
    "_plain_high": "its upper end",
    "_plain_p": "its p-value",
    "_flip_p": "p-value of the exact sign-flip test; empty where even its smallest cannot pass the correction",
    "_bca_low": "95 % BCa bootstrap interval over seeds, {points}; empty below 20 seeds",
    "_bca_high": "its upper end",
    "_images_low": "95 % interval, other seeds and other test images of the same distribution, {points}",
    "_images_high": "its upper end",
    "_images_p": "its p-value",
}


def _columns(metric: Metric) -> Columns:
    over = {"gain_over_scratch": "gain over the student's scratch runs", "gain_over_kd": "gain over KD, same setting"}
    gains = {
        gain + part: (REAL, f"{words}: {about}" if not part else about)
        for gain, words in over.items()
        for part, about in _PARTS.items()
        if metric.per_image or not part.startswith("_images_")
    }
    return {
        "study": (TEXT, "name of the study"),
        "data": (TEXT, "data set"),
        "teacher": (TEXT, "timm name"),
        "teacher_family": (TEXT, "cnn, vit or mlp"),
        "teacher_score": (REAL, "the teacher's own test {plain}, percent, measured in the runs it taught"),
        "student": (TEXT, "timm name"),
        "student_family": (TEXT, "cnn, vit or mlp"),
        "method": (TEXT, "how it was distilled"),
        "setting": (TEXT, "default: the paper's; tuned: the search's best"),
        "options": (TEXT, "the method's options, JSON"),
        "rule": (TEXT, "epoch whose {plain} counts: last, best_val or best_test"),
        "weights": (TEXT, "raw or ema"),
        "status": (TEXT, "worst state among the cell's seeds"),
        "reason": (TEXT, "why a cell lacks seeds"),
        "failure_class": (TEXT, "oom, diverged, lost, data or bug, of the runs in that state"),
        "seeds_planned": (INT, "seeds that were to be confirmed"),
        "seeds_finished": (INT, "seeds that are"),
        "memory_measures": (TEXT, "what was done after memory had run out; such runs are not bit for bit reproducible"),
        "score_mean": (REAL, "test {short}, percent, over the seeds of the gain over scratch"),
        "score_std": (REAL, "its standard deviation over seeds"),
        "scratch_mean": (REAL, "test {short} of the student's scratch runs of the same seeds, percent"),
        "scratch_std": (REAL, "its standard deviation over seeds"),
        "n": (INT, "seeds of the gain over scratch"),
        **gains,
        "gain_over_scratch_shrunk": (REAL, "the gain in the light of the other cells (empirical Bayes), {points}"),
        "verdict": (TEXT, "helps, hurts (p_bh < 0.05), does not matter (interval within 0.5 of 0) or not known"),
        "gain_over_kd_n": (INT, "seeds of the gain over KD"),
    }


@register_table(
    "cells",
    10,
    title="Every pair, method and setting",
    note="Test {plain} in percent; gains in {points}, paired by seed. low and high answer: other seeds, this very test "
    "set. {images} p_holm and p_bh are corrected over the cells of the main setting (tuned, where there is one) and, "
    "apart from them, over the others. The cells of a student share its scratch runs and are not independent.",
    columns=_columns,
    shown=(
        "teacher", "student", "method", "setting", "n", "scratch_mean", "score_mean", "gain_over_scratch",
        "gain_over_scratch_low", "gain_over_scratch_high", "gain_over_scratch_p_holm", "gain_over_scratch_shrunk",
        "verdict", "gain_over_kd", "gain_over_kd_low", "gain_over_kd_high", "status", "reason",
    ),
)  # fmt: skip
def prepare(frames: Frames) -> pd.DataFrame:
    """`analysis.cells.cells` as it is."""
    return frames.cells
