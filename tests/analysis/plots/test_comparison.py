"""Methods over all pairs: ranks, profiles, and what was published."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.frames import Frames
from analysis.labels import method_label
from analysis.plots import (
    COLUMN,
    PAGE,
    NothingToShow,
    compose_plot,
    critical_difference,
    performance_profile,
    published_scatter,
)
from analysis.rectangle import Rectangle
from tests.analysis.conftest import given_table

Study = Callable[[str], Frames]
Faults = Callable[[Figure], list[str]]
NAN = float("nan")


def ranks(setting: str, values: dict[str, float], pairs: int = 12, gap: float = 1.0) -> pd.DataFrame:
    frame = pd.DataFrame({"method": list(values), "mean_rank": list(values.values())})
    return frame.assign(setting=setting, pairs=pairs, critical_difference=gap, friedman_p=0.0004, gain=0.0)


def use(monkeypatch: pytest.MonkeyPatch, *parts: pd.DataFrame) -> None:
    given_table(monkeypatch, "methods", pd.concat(parts, ignore_index=True))


def test_ranks_of_known_numbers(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = ranks("tuned", {"kd": 3.5, "pat": 1.25, "ofa": 2.0, "dkd": 3.25})
    few = ranks("default", {"kd": 1.5, "pat": 1.5})
    use(monkeypatch, tuned, few)
    frames = study("2 x 2, two seeds")
    frame = critical_difference.prepare(frames)
    assert list(frame["method"]) == ["pat", "ofa", "dkd", "kd"] and list(frame["place"]) == [0, 1, 2, 3]
    assert set(frame["setting"]) == {"tuned"}
    (drawing,) = compose_plot("critical_difference", frames)
    assert drawing.name == "critical_difference_tuned" and drawing.figure.get_figwidth() == COLUMN
    (ax,) = drawing.figure.axes
    bars = [sorted(line.get_xdata()) for line in ax.lines if line.get_linewidth() == 2.2]
    assert [end for bar in bars for end in bar] == pytest.approx([1.21, 2.04, 3.21, 3.54])
    texts = {text.get_text().strip() for text in ax.texts}
    assert {"PAT  1.25", "OFA  2.00", "3.50  KD", "3.25  DKD", "CD = 1.00"} <= texts
    assert "12 pairs" in drawing.caption and "p = 4e-04" in drawing.caption and "Demšar 2006" in drawing.caption


@pytest.mark.parametrize(("count", "pairs"), [(2, 12), (3, 4)])
def test_too_few_methods_or_pairs_are_not_ranked(
    count: int, pairs: int, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, ranks("tuned", {name: 1.0 for name in ("kd", "pat", "ofa")[:count]}, pairs))
    with pytest.raises(NothingToShow, match="3 methods and 5 pairs"):
        compose_plot("critical_difference", study("2 x 2, two seeds"))


@pytest.mark.parametrize("gap", [0.01, 0.8, 30.0])
def test_ranks_of_ten_methods_are_readable(
    gap: float, study: Study, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    names = ("kd", "pat", "ofa", "dist", "dkd", "fitnet", "crd", "rkd", "cc", "fbt")
    use(monkeypatch, ranks("tuned", {name: 5 + 0.2 * i for i, name in enumerate(names)}, gap=gap))
    (drawing,) = compose_plot("critical_difference", study("2 x 2, two seeds"))
    assert faults(drawing.figure) == []
    labels = " ".join(text.get_text() for text in drawing.figure.axes[0].texts)
    assert all(method_label(name) in labels for name in names)


def test_profiles_of_known_gains(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gains of KD are 1 to 30, those of PAT all 10: known shares, known interquartile means."""
    pairs = tuple((f"t{i}", f"s{i % 3}") for i in range(6))
    kd = np.arange(1.0, 31).reshape(6, 5)
    found = Rectangle(np.stack([kd.T, 0 * kd.T + 10]), ("kd", "pat"), (1, 2, 3, 4, 5), pairs, ())
    monkeypatch.setattr(performance_profile, "of_gains", lambda frames, setting: found)
    frames = study("2 x 2, two seeds")
    frame = performance_profile.prepare(frames).query("setting == 'tuned'")
    assert set(frame["pairs"]) == {6} and set(frame["seeds"]) == {5}
    for method, exact in (("kd", lambda x: (kd > x).mean()), ("pat", lambda x: float(x < 10))):
        line = frame[frame["method"] == method]
        assert list(line["share"]) == pytest.approx([exact(x) for x in line["threshold"]])
        assert line["threshold"].min() == pytest.approx(-0.6) and line["threshold"].max() == pytest.approx(30.6)
    means = performance_profile.middle(frames).query("setting == 'tuned'").set_index("method")
    assert means.loc["kd", "gain"] == pytest.approx(15.5) and means.loc["pat", "gain"] == 10
    ax = Figure().subplots()
    assert performance_profile.draw(frame, ax) is ax
    assert ax.get_xlim() == pytest.approx((-0.6, 30.6)) and len(ax.collections) == 2
    first, second = compose_plot("performance_profile", frames)
    assert (first.name, second.name) == ("performance_profile_tuned", "performance_profile_default")
    assert "6 pairs times 5 seeds, tuned settings" in first.caption and "exactly these pairs" in first.caption


def test_profiles_need_five_pairs(study: Study) -> None:
    with pytest.raises(NothingToShow, match="5 pairs"):
        compose_plot("performance_profile", study("2 x 2, two seeds"))
    (single, _) = compose_plot("performance_profile", study("3 x 3, one seed"))
    assert "No intervals: one seed. No bands: they need 5 seeds." in single.caption


def published(*rows: tuple[str, str, str, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["student", "method", "setting", "published_gain", "gain"])
    frame = frame.assign(paper="Lin 2025", teacher="swin_tiny", teacher_family="vit", student_family="cnn")
    frame["gain_low"], frame["gain_high"] = frame["gain"] - 0.5, frame["gain"] + 0.5
    differences = ["their seeds 1; ours 3; batch 1024", *["batch 1024"] * (len(rows) - 1)]
    return frame.assign(published_score=70.0, published_scratch=69.0, score=71.0, source="1", differences=differences)


def test_published_against_known_gains(study: Study, monkeypatch: pytest.MonkeyPatch, faults: Faults) -> None:
    table = published(
        ("resnet18", "kd", "tuned", 1.0, 2.0),
        ("resnet18", "kd", "default", 1.0, 0.5),
        ("resnet18", "pat", "tuned", 4.0, -40.0),
        ("deit_tiny", "pat", "tuned", NAN, 1.0),
        ("mixer", "pat", "tuned", 2.0, NAN),
    )
    given_table(monkeypatch, "published", table)
    frames = study("2 x 2, two seeds")
    frame = published_scatter.prepare(frames)
    assert list(frame["gain"]) == [2, 0.5, -40] and list(frame["low"]) == [1.5, 0, -40.5]
    assert (frame["left"].iloc[0], frame["right"].iloc[0]) == pytest.approx((-0.24, 4.24))
    ax = Figure().subplots()
    assert published_scatter.draw(frame[frame["method"] == "kd"], ax) is ax and ax.get_title() == "KD"
    marks = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in ax.lines if line.get_marker() == "o"]
    assert marks == [(1, 2), (1, 0.5)] and ax.get_xlim() == ax.get_ylim()
    (drawing,) = compose_plot("published_scatter", frames)
    assert faults(drawing.figure) == [] and drawing.figure.get_figwidth() == COLUMN
    assert "1 pair that stand in both" in drawing.caption and "not comparable" in drawing.caption
    assert "the other: batch 1024; their seeds 1, ours 3." in drawing.caption and "triangle" in drawing.caption


def test_every_number_of_methods_has_its_panels(study: Study, monkeypatch: pytest.MonkeyPatch, faults: Faults) -> None:
    names = ("kd", "pat", "ofa", "dist", "dkd", "fitnet", "crd", "rkd", "cc", "fbt")
    for count, width in ((1, COLUMN), (10, PAGE)):
        table = published(*[("resnet18", name, "tuned", 1.0 + i, 2.0) for i, name in enumerate(names[:count])])
        given_table(monkeypatch, "published", table)
        (drawing,) = compose_plot("published_scatter", study("2 x 2, two seeds"))
        assert faults(drawing.figure) == [] and drawing.figure.get_figwidth() == width
        assert sum(bool(ax.get_title()) for ax in drawing.figure.axes) == count


def test_nothing_was_published(study: Study) -> None:
    with pytest.raises(NothingToShow, match="no pair of this study has been published"):
        compose_plot("published_scatter", study("2 x 2, two seeds"))
