"""The two-way layout: against another program, and against what was put in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols

from analysis.stats.twoway import row_effect


def test_the_test_is_that_of_statsmodels() -> None:
    values = np.random.default_rng(0).normal(size=(3, 5)) + np.arange(3)[:, None] / 3 + np.arange(5)
    rows, columns = np.indices(values.shape).reshape(2, -1)
    frame = pd.DataFrame({"y": values.ravel(), "row": rows, "column": columns})
    table = sm.stats.anova_lm(ols("y ~ C(row) + C(column)", frame).fit(), typ=2)
    found = row_effect(values)
    assert found.p == pytest.approx(table.loc["C(row)", "PR(>F)"])
    assert found.rest**2 == pytest.approx(table.loc["Residual", "sum_sq"] / table.loc["Residual", "df"])


def test_what_was_put_in_comes_out_and_columns_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    drawn = [rng.normal(0, 2, (4, 1)) + rng.normal(0, 9, (1, 6)) + rng.normal(0, 1, (4, 6)) for _ in range(2000)]
    found = np.array([row_effect(values) for values in drawn])
    assert np.mean(found[:, 0] ** 2) == pytest.approx(4, rel=0.1) and np.mean(found[:, 1] ** 2) == pytest.approx(
        1, rel=0.05
    )


def test_p_is_uniform_where_rows_are_equal() -> None:
    rng = np.random.default_rng(2)
    p = np.array([row_effect(rng.normal(size=(3, 3)) + rng.normal(0, 3, (1, 3))).p for _ in range(2000)])
    for level in (0.05, 0.5):
        assert (p < level).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / len(p)))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_one_of_either_says_nothing(shape: tuple[int, int]) -> None:
    assert np.isnan(row_effect(np.ones(shape))).all()


def test_equal_values_have_no_spread() -> None:
    sd, rest, p = row_effect(np.ones((3, 3)))
    assert sd == rest == 0 and np.isnan(p)
