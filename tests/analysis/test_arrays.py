"""Scores as arrays and the report's Parquet tables as other tools read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.arrays import blocks, complete, scores, write_arrays
from analysis.cells import seed_gains
from analysis.frames import Frames, load
from analysis.rectangle import largest

Make = Callable[..., Any]
SNIPPETS = {
    "pandas": """
import pandas as pd

cells = pd.read_parquet(path)
wanted = cells[cells["setting"] == cells["setting"].max()]  # "tuned", or "default" where nothing was searched
wanted[["teacher", "student", "method", "gain_over_scratch", "gain_over_scratch_low", "gain_over_scratch_high"]]
mean = wanted.groupby("method")["gain_over_scratch"].mean()
""",
    "duckdb": """
import duckdb

mean = duckdb.sql(
    f"SELECT method, avg(gain_over_scratch) FROM '{path}' WHERE setting = 'tuned' GROUP BY method"
).fetchall()
""",
    "polars": """
import polars as pl

cells = pl.scan_parquet(path).filter(pl.col("setting") == "tuned")
mean = cells.group_by("method").agg(pl.col("gain_over_scratch").mean()).collect()
""",
}
"""Lines of docs/report.md; `path` is DIR/report/tables/cells.parquet."""

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, make_square: Make) -> Frames:
    study = make_square(methods=("kd", "dist", "pat"))
    return load(study.write(tmp_path_factory.mktemp("study")))


def test_the_shape_of_rliable(frames: Frames) -> None:
    found = scores(frames)
    assert list(found) == ["kd", "dist", "pat"]
    assert all(array.shape == (3, 9) and array.dtype == float for array in found.values())
    cells = frames.cells.query("setting == 'tuned'").set_index(["teacher", "student", "method"])["gain_over_scratch"]
    names = complete(frames).pairs
    for method, array in found.items():
        means = [cells[(*name.split(" -> "), method)] for name in names]
        np.testing.assert_allclose(array.mean(axis=0), means)
    gains = seed_gains(frames.matrix, frames.runs).query("setting == 'tuned' and method == 'pat'")
    by_seed = gains.set_index(gains["teacher"] + " -> " + gains["student"]).groupby("seed")["gain_over_scratch"]
    for seed, row in zip(complete(frames).seeds, found["pat"], strict=True):
        np.testing.assert_allclose(row, by_seed.get_group(seed)[list(names)])


def test_accuracies_have_scratch_beside_them(frames: Frames) -> None:
    found, gains = scores(frames, "default", "score"), scores(frames, "default")
    assert list(found) == ["kd", "dist", "pat", "scratch"]
    np.testing.assert_allclose(found["pat"] - found["scratch"], gains["pat"])


def test_the_shape_of_autorank(frames: Frames) -> None:
    table = blocks(frames)
    assert table.shape == (9, 3) and list(table.columns) == ["kd", "dist", "pat"]
    assert table.index[0] == "resnet_tiny -> resnet_nano"
    np.testing.assert_allclose(table["pat"], scores(frames)["pat"].mean(axis=0))


def test_only_what_all_methods_have(tmp_path: Path, make_square: Make) -> None:
    """A pair that has failed is left out, and a seed that is missing nearly everywhere."""
    states: dict[tuple[Any, ...], tuple[str, str]] = {("vit_mini", "vit_nano", "kd", "tuned"): ("failed", "x")}
    for teacher in ("resnet_tiny", "mixer_mini"):
        for student in ("resnet_nano", "vit_nano", "mixer_nano"):
            states[teacher, student, "pat", "tuned", 103] = ("waiting", "")
    frames = load(make_square(states=states).write(tmp_path))
    found = complete(frames)
    assert found.left_out == ("pair vit_mini -> vit_nano", "seed 103")
    assert found.values.shape == (2, 2, 8) and found.seeds == (101, 102) and not np.isnan(found.values).any()


def test_what_costs_fewest_runs_is_given_up() -> None:
    """One run of one pair: the pair, not the seed of all; half of the pairs: the seed. Of equals seeds are kept."""
    assert largest(np.array([[True, True], [True, False]])) == ([0], [0, 1])
    assert largest(np.array([[False, True], [True, False]])) == ([1], [0])
    there = np.ones((12, 3), dtype=bool)
    there[4, 2] = False
    assert largest(there) == ([0, 1, 2, 3, *range(5, 12)], [0, 1, 2])
    there[:6, 2] = False
    assert largest(there) == (list(range(12)), [0, 1])
    assert largest(np.zeros((2, 2), dtype=bool)) == largest(np.ones((0, 2), dtype=bool)) == ([], [])


def test_nothing_complete(tmp_path: Path, make_square: Make) -> None:
    states = {("resnet_tiny", "resnet_nano", "pat", "tuned"): ("waiting", "")}
    frames = load(make_square(("cnn",), states=states).write(tmp_path))
    found = complete(frames)
    assert found.values.shape == (1, 3, 1) and found.left_out == ("method pat",)
    with pytest.raises(ValueError, match="setting 'tunde' of study 'synthetic': nothing is finished"):
        scores(frames, "tunde")


def test_one_file_without_pickle(frames: Frames, tmp_path: Path) -> None:
    write_arrays(frames, tmp_path, "arrays/tuned.npz")
    first = (tmp_path / "arrays" / "tuned.npz").read_bytes()
    with np.load(tmp_path / "arrays" / "tuned.npz", allow_pickle=False) as file:
        assert file["scores"].shape == (3, 3, 9) and list(file["methods"]) == ["kd", "dist", "pat"]
        assert list(file["seeds"]) == [101, 102, 103] and len(file["pairs"]) == 9 and not len(file["left_out"])
        np.testing.assert_array_equal(file["scores"][2], scores(frames)["pat"])
    write_arrays(frames, tmp_path, "arrays/tuned.npz")
    assert (tmp_path / "arrays" / "tuned.npz").read_bytes() == first


def test_other_tools_read_the_same(frames: Frames, tmp_path: Path) -> None:
    """pandas, DuckDB and polars give equal answers from one Parquet file; of the latter two, those installed."""
    page = PAGE.read_text()
    assert all(snippet.strip() in page for snippet in SNIPPETS.values())
    path = str(tmp_path / "cells.parquet")
    frames.cells.to_parquet(path)
    wanted = frames.cells.query("setting == 'tuned'").groupby("method")["gain_over_scratch"].mean()
    answers = {}
    for tool, snippet in SNIPPETS.items():
        if tool != "pandas":
            pytest.importorskip(tool)
        names: dict[str, Any] = {"path": path}
        exec(snippet, names)
        mean = names["mean"]
        rows = mean.items() if isinstance(mean, pd.Series) else mean if isinstance(mean, list) else mean.rows()
        answers[tool] = dict(rows)
    assert set(answers) == set(SNIPPETS)
    for answer in answers.values():
        assert answer == pytest.approx(wanted.to_dict())
