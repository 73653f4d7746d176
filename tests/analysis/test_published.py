"""Published numbers: complete, consistent, with sources; and beside ours never without what sets them apart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.frames import Frames, load
from analysis.published import COLUMNS, PAPERS, READ, Ours, differences, disagreements, protocol, read_published
from analysis.tables import published as table
from pat.config import Recipe
from sweeps.published import (
    CIFAR100_CNN,
    CIFAR100_CNN_1024,
    CIFAR100_PAIRS,
    CIFAR100_VIT_MLP,
    CIFAR100_VIT_MLP_1024,
    IMAGENET_CNN,
    IMAGENET_CNN_1024,
    IMAGENET_PAIRS,
    IMAGENET_VIT_MLP_1024,
)

Make = Callable[..., Any]
PAIR = ["teacher", "student"]
CNN_RECIPE = {"epochs": 300, "batch_size": 128, "optimizer": "sgd", "lr": 0.05, "weight_decay": 2e-3}


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_published()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, make_twelve: Make) -> Frames:
    """Twelve pairs under the papers' names, with the configuration of a small recipe in every run."""
    found = load(make_twelve(methods=("kd", "ofa", "pat")).write(tmp_path_factory.mktemp("twelve")))
    config = {"recipe": {**CNN_RECIPE, "epochs": 6}, "data": {"image_size": 32, "validation": 0.1}}
    return dataclasses.replace(found, runs=found.runs.assign(config=json.dumps(config)))


def fact(published: pd.DataFrame, **values: Any) -> dict[str, Any]:
    rows = published
    for name, value in values.items():
        rows = rows[rows[name] == value]
    assert len(rows) >= 1, values
    return {str(name): value for name, value in rows.iloc[0].items()}


def test_every_fact_is_complete(published: pd.DataFrame) -> None:
    assert tuple(published.columns) == COLUMNS and len(published) == 308
    assert set(published["read"]) <= set(READ) and set(PAPERS) <= set(published["paper"])
    assert set(published["dataset"]) <= {"cifar100", "imagenet", "coco", ""}
    assert set(published["teacher_family"]) | set(published["student_family"]) <= {"cnn", "vit", "mlp", ""}
    assert (published["source"] != "").all() and np.isfinite(published["value"]).all()
    accuracies = published[published["metric"].str.startswith("top1") & (published["metric"] != "top1_gain")]
    assert accuracies["value"].between(20, 100).all()
    assert not published.duplicated([*COLUMNS[:6], *COLUMNS[6:13]]).any()


def test_names_are_those_of_the_studies(published: pd.DataFrame) -> None:
    for dataset, pairs in (("cifar100", CIFAR100_PAIRS), ("imagenet", IMAGENET_PAIRS)):
        rows = published[(published["dataset"] == dataset) & published["paper"].isin(PAPERS)]
        both = rows[(rows["teacher_timm"] != "") & (rows["student_timm"] != "")]
        assert len(both) and set(zip(both["teacher_timm"], both["student_timm"], strict=True)) <= set(pairs)


def test_one_source_does_not_contradict_itself(published: pd.DataFrame) -> None:
    keys = ["paper", "read", "dataset", "metric", *PAIR, "method"]
    main = published[~published["table"].str.startswith("ablation")]
    assert (main.groupby(keys)["value"].nunique() == 1).all()


def test_gains_are_differences(published: pd.DataFrame) -> None:
    """Where a gain, a value and a scratch value of one paper are there; derived values are gains turned round."""
    checked = 0
    for gain in published[published["metric"] == "gain_over_scratch"].to_dict("records"):
        same = published[(published["dataset"] == gain["dataset"]) & (published["paper"] == gain["paper"])]
        same = same[(same["student"] == gain["student"]) & (same["teacher"] == gain["teacher"])]
        values = same[same["metric"] == "bbox_map"].set_index("method")["value"]
        assert values[gain["method"]] - values["scratch"] == pytest.approx(gain["value"], abs=0.006)
        checked += 1
    largest = fact(published, paper="PAT", metric="max_gain", dataset="cifar100")["value"]
    pat = published[
        (published["paper"] == "PAT") & (published["dataset"] == "cifar100") & (published["metric"] == "top1")
    ]
    wide = pat[~pat["table"].str.startswith("ablation")].pivot_table(index=PAIR, columns="method", values="value")
    gains = wide["pat"] - wide["scratch"]
    assert checked == 2 and gains.max() == pytest.approx(largest, abs=0.006)


def test_means_over_all_pairs(published: pd.DataFrame) -> None:
    """Where a paper's values of all twelve pairs are known, their mean gain is the published one. Of no paper are all
    known so far; what is known must not make the mean impossible."""
    for mean in published[published["metric"] == "mean_gain_12_pairs"].to_dict("records"):
        same = published[(published["dataset"] == "cifar100") & (published["metric"] == "top1")]
        same = same[(same["paper"] == mean["paper"]) & ~same["table"].str.startswith("ablation")]
        wide = same.pivot_table(index=PAIR, columns="method", values="value")
        if mean["method"] not in wide or "scratch" not in wide:
            continue
        gains = (wide[mean["method"]] - wide["scratch"]).dropna()
        assert len(gains) <= 12
        missing = (12 * mean["value"] - gains.sum()) / (12 - len(gains)) if len(gains) < 12 else 0.0
        assert abs(missing) < 30
        if len(gains) == 12:
            assert gains.mean() == pytest.approx(mean["value"], abs=0.006)


def test_papers_that_differ_are_shown(published: pd.DataFrame) -> None:
    found = disagreements(published).set_index([*PAIR, "dataset", "method"])["values"]
    assert found["ConvNeXt-T", "ResMLP-S12", "cifar100", "ofa"] == (
        "PAT 81.22 (secondary note), FBT 75.21 (secondary note), RSD 81.22 (secondary note)"
    )
    assert "70.78 (third-party reproduction)" in found["ConvNeXt-T", "DeiT-T", "cifar100", "kd"]


def test_recipes_are_those_of_the_presets(published: pd.DataFrame) -> None:
    """What is said of the papers' recipes here and what `sweeps` runs is the same."""
    for student, data, recipe in (
        ("ResNet18", "cifar100", CIFAR100_CNN),
        ("DeiT-T", "cifar100", CIFAR100_VIT_MLP),
        ("ResNet18", "imagenet", IMAGENET_CNN),
    ):
        theirs = protocol(fact(published, paper="PAT", dataset=data, student=student, method="pat"))
        assert {name: getattr(recipe, name) for name in theirs.recipe} == dict(theirs.recipe)


@pytest.mark.parametrize(
    ("family", "data", "recipe"),
    [
        ("cnn", "cifar100", CIFAR100_CNN_1024),
        ("vit", "cifar100", CIFAR100_VIT_MLP_1024),
        ("cnn", "imagenet", IMAGENET_CNN_1024),
        ("mlp", "imagenet", IMAGENET_VIT_MLP_1024),
    ],
)
def test_the_larger_batches_are_those_of_ofa(family: str, data: str, recipe: Recipe) -> None:
    row = {"paper": "OFA", "dataset": data, "method": "kd", "metric": "top1", "read": "primary"}
    theirs = protocol(row | {"student_family": family, "student_timm": "", "teacher_family": "cnn"})
    assert {name: getattr(recipe, name) for name in theirs.recipe} == dict(theirs.recipe)


def test_differences_of_pat(published: pd.DataFrame) -> None:
    row = fact(
        published, paper="PAT", dataset="cifar100", student="ResNet18", teacher="Swin-T", method="pat", table="main"
    )
    ours = Ours({**CNN_RECIPE, "epochs": 6}, 32, 3, "last", "ema", "tuned", 87.1, 0.1)
    lines = differences(protocol(row), ours, 89.26)
    for line in (
        "their epochs 300, ours 6",
        "their images 224 px, ours 32 px",
        "their rule: best test epoch, raw or EMA; ours: last epoch, EMA",
        "their seeds: not stated (one, 42, in the public code); ours 3",
        "their teacher 89.26 %, ours 87.10 %",
        "ours holds back 10% of the training images for validation",
        "the public PAT code scrambles the features of token teachers",
    ):
        assert line in lines
    assert not any("batch 128" in line for line in lines), "the batch is the same"
    clean = protocol(fact(published, paper="PAT", student="DeiT-T", teacher="ConvNeXt-T", method="pat"))
    assert not any("scrambles" in note for note in clean.notes), "a ConvNeXt teacher is not scrambled"


def test_differences_of_the_others(published: pd.DataFrame) -> None:
    ours = Ours(CNN_RECIPE, 224, 3, "last", "ema", "default")
    copied = differences(
        protocol(fact(published, paper="PAT", student="ResNet18", method="ofa", dataset="cifar100")), ours
    )
    assert "their batch 1024, ours 128" in copied and any("OFA's values" in line for line in copied)
    fbt = differences(protocol(fact(published, paper="FBT", student="ResNet18", method="fbt")), ours)
    assert "recipe and batch are not known; the pairs are OFA's" in fbt
    again = protocol(fact(published, paper="PAT reproduction", metric="top1_last_epoch_ema", student="ResNet18"))
    assert (again.rule, again.seeds, again.recipe["batch_size"]) == ("last epoch, EMA", 1, 128)
    user = differences(protocol(fact(published, paper="OFA", read="third-party reproduction", method="kd")), ours)
    assert "not the paper's value: third-party reproduction" in user


def test_what_is_unverified_says_so(published: pd.DataFrame) -> None:
    ours = Ours(CNN_RECIPE, 224, 3, "last", "ema", "default")
    doubted = published[published["remark"].str.startswith("unverified")]
    assert set(doubted["paper"]) == {"HCD"} and len(doubted) == (published["paper"] == "HCD").sum() == 19
    assert all("their number is unverified" in differences(protocol(row), ours) for row in doubted.to_dict("records"))
    sure = differences(protocol(fact(published, paper="NKD", student="ResNet18", method="nkd")), ours)
    assert "recipe and batch are not known" in sure and "their number is unverified" not in sure


def test_other_papers_are_not_said_to_have_the_pairs_or_the_detector(published: pd.DataFrame) -> None:
    boxes = protocol(fact(published, paper="DTO-KD", dataset="coco", method="vkd"))
    assert boxes.recipe == {} and boxes.notes == ("recipe and batch are not known",)
    assert "Detectron2" in " ".join(protocol(fact(published, paper="PAT", dataset="coco", method="pat")).notes)


def test_what_was_reached_without_a_teacher_stands_beside_each(tmp_path: Path, make_twelve: Make) -> None:
    study = make_twelve(methods=("uskd", "nkd"), settings=("default",))
    study.data = "imagenet"
    study.pairs = [("convnext_tiny", "deit_tiny_patch16_224"), ("mixer_b16_224", "deit_tiny_patch16_224")]
    rows = table.prepare(load(study.write(tmp_path)))
    assert set(rows["teacher"]) == {"convnext_tiny", "mixer_b16_224"} and set(rows["method"]) == {"uskd"}
    assert set(rows["published_score"]) == {74.97} and set(rows["published_scratch"]) == {74.42}


def test_beside_ours(frames: Frames, published: pd.DataFrame) -> None:
    rows = table.prepare(frames)
    assert tuple(rows.columns) == table.COLUMNS and len(rows)
    assert (rows["differences"] != "").all() and (rows["source"] != "").all()
    own = set(zip(frames.cells["teacher"], frames.cells["student"], frames.cells["method"], strict=True))
    assert set(rows[[*PAIR, "method"]].itertuples(index=False, name=None)) <= own
    known = published[(published["dataset"] == "cifar100") & published["metric"].str.startswith("top1")]
    known = known[~known["table"].str.startswith("ablation")]
    stand = set(zip(known["teacher_timm"], known["student_timm"], known["method"], strict=True)) & own
    assert set(rows[[*PAIR, "method"]].itertuples(index=False, name=None)) == stand
    row = rows.query("paper == 'PAT' and method == 'pat' and student == 'resnet18' and setting == 'tuned'").iloc[0]
    assert row["published_gain"] == pytest.approx(81.22 - 74.01) and row["published_scratch"] == 74.01
    cell = frames.cells.merge(row.to_frame().T[[*PAIR, "method", "setting"]]).iloc[0]
    assert row["score"] == cell["score_mean"] and row["gain_low"] == cell["gain_over_scratch_low"]
    assert "their epochs 300, ours 6" in row["differences"]
    assert rows.query("paper == 'FBT'")["published_gain"].isna().all(), "its scratch values are not known"


def test_papers_that_differ_say_so(tmp_path: Path, make_twelve: Make) -> None:
    study = make_twelve(methods=("ofa",), settings=("default",))
    study.pairs = [("convnext_tiny", "resmlp_12_224")]
    rows = table.prepare(load(study.write(tmp_path)))
    text = rows.set_index("paper")["differences"]
    assert "FBT has 75.21 for the same cell" in text["PAT"] and "PAT has 81.22 for the same cell" in text["FBT"]


def test_only_accuracies_stand_beside_accuracies(tmp_path: Path, make_twelve: Make) -> None:
    """Not gains, seconds or numbers of parameters; and another rule of the same run is no other value of the cell."""
    study = make_twelve(methods=("pat",), settings=("default",))
    study.pairs = [("convnext_tiny", "resmlp_12_224"), ("convnext_tiny", "deit_tiny_patch16_224")]
    rows = table.prepare(load(study.write(tmp_path)))
    assert len(rows) > 4 and (rows["published_score"] > 50).all()
    assert {"PAT", "PAT reproduction"} <= set(rows["paper"])
    assert not rows["differences"].str.contains("PAT reproduction has|PAT has").any()


def test_other_data_has_nothing_to_compare(tmp_path: Path, make_square: Make) -> None:
    rows = table.prepare(load(make_square(("cnn",)).write(tmp_path)))
    assert rows.empty and tuple(rows.columns) == table.COLUMNS
