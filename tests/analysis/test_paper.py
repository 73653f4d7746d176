"""The files for a paper: what stands in them, and that LaTeX takes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from analysis import paper
from analysis.frames import Frames, load
from tests.analysis.made_up import twelve

LATEX = next(filter(None, map(shutil.which, ("tectonic", "lualatex", "xelatex", "pdflatex"))), None)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    study = twelve()
    study.methods, study.trials, study.correct = ("kd", "fitnet", "ofa", "pat"), 0, False
    return load(study.write(tmp_path_factory.mktemp("study")))


def test_the_table_of_pairs_and_methods(frames: Frames) -> None:
    lines = paper.paper_tex(frames).splitlines()
    rows = [line.removesuffix(r" \\").split(" & ") for line in lines if line.endswith(r"\\") and " & " in line]
    assert rows[0] == ["teacher", "student", "teacher's", "scratch", "KD", "OFA", "FitNet", "PAT"] and len(rows) == 14
    cells = frames.cells.query("setting == 'tuned'").set_index(["teacher", "student", "method"]).sort_index()
    own = cells.loc[("convnext_tiny", "swin_pico_patch4_window7_224")]
    row = next(row for row in rows if row[:2] == [r"convnext\_tiny", r"swin\_pico"])
    assert row[3] == f"{own['scratch_mean'].iloc[0]:.2f}"
    ranked = own["score_mean"].sort_values(ascending=False).index
    place = {"kd": 4, "ofa": 5, "fitnet": 6, "pat": 7}
    assert row[place[ranked[0]]].startswith(rf"\textbf{{{own.loc[ranked[0], 'score_mean']:.2f}}}")
    assert row[place[ranked[1]]].startswith(rf"\underline{{{own.loc[ranked[1], 'score_mean']:.2f}}}")
    for method, column in place.items():
        sure = own.loc[method, "gain_over_scratch_p_holm"] < 0.05 and own.loc[method, "gain_over_scratch"] > 0
        assert row[column].endswith("$^{*}$") == sure
    failed = next(row for row in rows if row[:2] == [r"vit\_small", "resnet18"])
    assert failed[7] == "--"
    mean = frames.table("methods").query("setting == 'tuned' and method == 'pat'").iloc[0]
    assert rows[-1][-1] == f"+{mean['gain']:.2f} ({(mean['high'] - mean['low']) / 2:.2f})"
    assert sum(line == r"\midrule" for line in lines) == 4, "below the head, between families, above the mean"
    text = paper.paper_md(frames)
    scores = cells["score_mean"].round(2).unstack("method")
    best = scores.eq(scores.max(axis=1), axis=0).to_numpy().sum()
    assert text.count("**") == 2 * best and best >= 12 and "| convnext_tiny | swin_pico " in text


def test_settings_and_checklist(frames: Frames) -> None:
    settings = paper.settings(frames)
    assert len(settings) == 48 and set(settings["setting"]) == {"weight 2.0"}
    text = paper.checklist(frames)
    assert "3 for each cell" in text and "nothing was tuned" in text and "device-hours in" in text
    bad = int(frames.runs["status"].isin(("failed", "diverged")).sum())
    assert f"{bad} of {len(frames.runs)} runs failed or diverged" in text and bad == 6


def test_a_study_without_scores_has_no_paper(tmp_path: Path) -> None:
    study = twelve()
    study.methods, study.trials, study.seeds, study.pairs = ("kd",), 0, (1,), study.pairs[:1]
    teacher, student = study.pairs[0]
    study.states = {(teacher, student, "kd", name): ("waiting", "") for name in study.settings}
    assert paper.files(load(study.write(tmp_path))) == {}


@pytest.mark.skipif(LATEX is None, reason="no LaTeX on the PATH")
def test_latex_takes_them(frames: Frames, tmp_path: Path) -> None:
    made = paper.files(frames)
    packages = r"\usepackage{booktabs}\usepackage{graphicx}\usepackage{longtable}"
    body = "\n".join(made[name].decode() for name in ("paper.tex", "tuned_settings.tex"))
    (tmp_path / "a.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}")
    command = [str(LATEX), "a.tex"] if "tectonic" in str(LATEX) else [str(LATEX), "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and (tmp_path / "a.pdf").exists(), done.stdout[-2000:]
