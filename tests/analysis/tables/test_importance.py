"""Importance of hyper-parameters: known answers, chance, and silence where there is too little to judge by."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kruskal
from searched import Trial, study

from analysis.searches import Parameter
from analysis.tables import importance

CELL = ("resnet_big", "resnet_small", "kd")


def cell(n: int, seed: int, effect: float) -> list[Trial]:
    """Trials of three modes and a weight, where the mode adds `effect` to noise and the weight does nothing."""
    draw = np.random.default_rng(seed)
    return [
        ({"mode": int(i % 3), "weight": float(draw.uniform(0.1, 10))}, effect * (i % 3) + draw.normal(), "finished")
        for i in range(n)
    ]


def test_a_parameter_that_sets_the_order() -> None:
    trials: list[Trial] = [({"depth": i // 4, "other": "ab"[i % 2], "fixed": 1}, 80 + i, "finished") for i in range(12)]
    table = importance.prepare(study({CELL: trials})).set_index("parameter")
    ranks = np.arange(1.0, 13).reshape(3, 4)
    eta = 4 * ((ranks.mean(axis=1) - 6.5) ** 2).sum() / ((ranks - 6.5) ** 2).sum()
    assert list(table.index) == ["depth", "other"] and set(table["trials"]) == {12}
    assert table.loc["depth", "importance"] == pytest.approx(1 - (1 - eta) * 11 / 9)
    assert table.loc["depth", "p"] <= 0.003
    assert (
        table.loc["other", "importance"] == 0 and table.loc["other", "adjusted"] < 0 and table.loc["other", "p"] > 0.5
    )


def test_the_formula_is_that_of_kruskal_and_wallis() -> None:
    trials = cell(15, 3, 0.8)
    table = importance.prepare(study({CELL: trials})).set_index("parameter")
    groups = [[score for options, score, _ in trials if options["mode"] == mode] for mode in range(3)]
    assert table.loc["mode", "adjusted"] == pytest.approx((kruskal(*groups).statistic - 3 + 1) / (15 - 3))


def test_a_curved_response_is_seen() -> None:
    trials: list[Trial] = [({"weight": 10.0 ** (i / 6 - 1)}, -abs(i - 5.5), "finished") for i in range(12)]
    assert importance.prepare(study({CELL: trials}))["importance"].item() > 0.4


def test_groups_do_not_depend_on_the_direction_of_the_values() -> None:
    """Eight trials make thirds of 3, 2 and 3: the middle one is the one that is smaller."""
    values = np.random.default_rng(1).permutation(8).astype(float)
    up, down = (importance._groups(Parameter("x", "linear", sign * values), np.arange(8)) for sign in (1, -1))
    assert (up == 2 - down).all() and np.bincount(up).tolist() == [3, 2, 3]


def test_no_p_is_zero() -> None:
    """The observed order is one of those that chance could have given."""
    assert importance._p(5.0, np.zeros(999)) == 1 / 1000 and importance._p(0.0, np.zeros(999)) == 1.0


def test_nothing_is_said_of_few_trials() -> None:
    few = cell(7, 0, 5.0) + [(options, score, "pruned") for options, score, _ in cell(20, 1, 5.0)]
    assert importance.prepare(study({CELL: few})).empty and importance.by_method(study({CELL: few})).empty
    same: list[Trial] = [({"mode": i}, 80.0, "finished") for i in range(8)]
    assert importance.prepare(study({CELL: same})).empty
    assert len(importance.prepare(study({CELL: cell(8, 0, 5.0)}))) == 2


def test_the_mean_over_cells() -> None:
    students = ("resnet_small", "vit_small", "mixer_small")
    frames = study({("resnet_big", name, "kd"): cell(12, seed, 2.0) for seed, name in enumerate(students)})
    each = importance.prepare(frames)
    row = importance.by_method(frames).set_index("parameter").loc["mode"]
    values = each.loc[each["parameter"] == "mode", "adjusted"]
    assert row["importance"] == pytest.approx(values.mean()) and row["cells"] == 3 and row["trials"] == 36
    half = 4.302652729911275 * values.std() / np.sqrt(3)
    assert (row["low"], row["high"]) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))
    assert row["p"] <= 0.003
    one = importance.by_method(study({CELL: cell(12, 0, 2.0)})).set_index("parameter")
    assert one["low"].isna().all()


def test_chance_is_not_important() -> None:
    """Over 90 cells without any effect the mean is 0, and about one p-value in twenty is below 0.05."""
    pairs = [(t, s) for t in ("resnet_big", "vit_big") for s in ("resnet_small", "vit_small", "mixer_small")]
    tables = [
        importance.prepare(study({(*pair, f"m{k}"): cell(12, 100 * i + k, 0.0) for i, pair in enumerate(pairs)}))
        for k in range(15)
    ]
    adjusted = np.concatenate([table["adjusted"] for table in tables])
    p = np.concatenate([table["p"] for table in tables])
    assert len(p) == 180 and abs(adjusted.mean()) < 4 * adjusted.std() / np.sqrt(180)
    assert (p <= 0.05).mean() < 0.11
