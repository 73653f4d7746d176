"""Transfer of settings: regrets, nearest settings and rank correlations by hand."""

from __future__ import annotations

import numpy as np
import pytest
from searched import Trial, study

from analysis.tables import transfer

A, B, C = (("resnet_big", student, "kd") for student in ("resnet_small", "vit_small", "mixer_small"))
DEFAULT = {"weight": 1.0, "depth": 2}


def option(weight: float, depth: int) -> dict[str, float]:
    return {"weight": weight, "depth": depth}


CELLS: dict[tuple[str, str, str], list[Trial]] = {
    A: [(DEFAULT, 80.0, "finished"), (option(100.0, 0), 85.0, "finished"), (option(0.01, 4), 70.0, "finished")],
    B: [(DEFAULT, 90.0, "finished"), (option(100.0, 0), 88.5, "finished"), (option(10.0, 4), 60.0, "pruned")],
    C: [(DEFAULT, 50.0, "pruned"), (option(10.0, 0), 71.0, "finished"), (option(0.1, 4), 75.0, "finished")],
}


def test_regrets_by_hand() -> None:
    table = transfer.prepare(study(CELLS, DEFAULT))
    assert len(table) == 6 + 3 + 3 and set(table["method"]) == {"kd"}
    rows = table.set_index(["source", "student_a", "student_b"])
    exact = rows.loc[("cell", "resnet_small", "vit_small")]
    assert (exact["regret"], exact["exact"], exact["distance"], exact["common"]) == (1.5, True, 0.0, 2)
    assert rows.loc[("cell", "vit_small", "resnet_small"), "regret"] == 5.0  # the default is best in B
    pruned = rows.loc[("cell", "vit_small", "mixer_small")]
    assert np.isnan(pruned["regret"]) and pruned["exact"] and pruned["distance"] == 0
    # weights 0.01 to 100 are four decades: 100 and 10 are a quarter apart, depths 0, 2, 4 half a step each
    nearest = rows.loc[("cell", "resnet_small", "mixer_small")]
    assert nearest["regret"] == 4.0 and not nearest["exact"]
    assert nearest["distance"] == pytest.approx(np.sqrt(0.25**2 / 2))
    other = rows.loc[("cell", "mixer_small", "vit_small")]  # 0.1, depth 4: the default is nearer than 100, depth 0
    assert other["regret"] == 0.0 and other["distance"] == pytest.approx(np.sqrt((0.25**2 + 0.5**2) / 2))


def test_the_default_and_the_mean_of_a_cell() -> None:
    rows = transfer.prepare(study(CELLS, DEFAULT)).set_index(["source", "student_b"])
    assert (
        rows.loc[("default", "resnet_small"), "regret"] == 5.0 and rows.loc[("default", "vit_small"), "regret"] == 0.0
    )
    assert np.isnan(rows.loc[("default", "mixer_small"), "regret"]) and rows.loc[("default", "mixer_small"), "exact"]
    assert rows.loc[("average", "resnet_small"), "regret"] == pytest.approx(85 - (80 + 85 + 70) / 3)
    assert rows.loc[("average", "mixer_small"), "regret"] == 2.0


def test_a_matrix_without_a_default_means_the_first_trial() -> None:
    named = transfer.prepare(study(CELLS, DEFAULT))
    unnamed = transfer.prepare(study(CELLS))
    assert named.equals(unnamed)


def test_words_are_the_same_or_not() -> None:
    cells: dict[tuple[str, str, str], list[Trial]] = {
        A: [({"form": "x", "weight": 1.0}, 80.0, "finished"), ({"form": "z", "weight": 10.0}, 70.0, "finished")],
        B: [({"form": "y", "weight": 1.0}, 60.0, "finished"), ({"form": "x", "weight": 10.0}, 65.0, "finished")],
    }
    row = transfer.prepare(study(cells)).query("source == 'cell' and student_b == 'vit_small'").iloc[0]
    assert row["distance"] == pytest.approx(np.sqrt(0.5)) and row["regret"] in (0.0, 5.0)
    cells[B] = [({"form": "y", "weight": weight}, 60.0 + weight, "finished") for weight in (1.0, 10.0)]
    row = transfer.prepare(study(cells)).query("source == 'cell' and student_b == 'vit_small'").iloc[0]
    assert row["distance"] == pytest.approx(np.sqrt(0.5)) and row["regret"] == 9.0, "another word is 1 away, not more"


def test_rank_correlation_of_shared_settings() -> None:
    weights = [0.1, 1.0, 2.0, 5.0, 10.0]
    orders = {A: [1, 2, 3, 4, 5], B: [2, 1, 3, 4, 5], C: [5, 4, 3, 2, 1]}
    cells = {
        cell: [({"weight": w}, 80.0 + s, "finished") for w, s in zip(weights, scores, strict=True)]
        for cell, scores in orders.items()
    }
    cells[C][0] = ({"weight": 0.1}, 80.0, "failed")
    rows = transfer.prepare(study(cells)).set_index(["source", "student_a", "student_b"])
    assert rows.loc[("cell", "resnet_small", "vit_small"), "spearman"] == pytest.approx(0.9)
    shared = rows.loc[("cell", "mixer_small", "resnet_small")]
    assert shared["spearman"] == pytest.approx(-1.0) and shared["common"] == 4
    cells[C][1] = ({"weight": 1.0}, 80.0, "pruned")
    rows = transfer.prepare(study(cells)).set_index(["source", "student_a", "student_b"])
    few = rows.loc[("cell", "mixer_small", "resnet_small")]
    assert np.isnan(few["spearman"]) and few["common"] == 3


def test_a_rank_correlation_asks_for_the_order_alone_and_for_four_settings() -> None:
    for weights, known in (([0.1, 1.0, 2.0, 5.0], True), ([0.1, 1.0, 2.0], False)):
        cells: dict[tuple[str, str, str], list[Trial]] = {
            A: [({"weight": weight}, 10.0 + weight, "finished") for weight in weights],
            B: [({"weight": weight}, 10.0 + weight**4 / 10, "finished") for weight in weights],
        }
        found = transfer.prepare(study(cells)).query("source == 'cell'")["spearman"].to_numpy()
        assert found == pytest.approx([1.0] * 2) if known else np.isnan(found).all()


def test_cells_without_a_finished_trial_are_in_no_row() -> None:
    cells = CELLS | {B: [(options, score, "failed") for options, score, _ in CELLS[B]]}
    table = transfer.prepare(study(cells, DEFAULT))
    assert "vit_small" not in set(table["student_a"]) | set(table["student_b"]) and len(table) == 2 + 2 + 2
    none = {cell: [(options, score, "failed") for options, score, _ in trials] for cell, trials in CELLS.items()}
    assert transfer.prepare(study(none)).empty and list(transfer.prepare(study(none)).columns) == list(transfer.COLUMNS)
