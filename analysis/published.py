"""The numbers that papers published, each with its source, and why they are not comparable with a study's own.

`published.csv`: one row a number. `dataset` is a name of `pat.data`, `teacher_timm` and `student_timm` are timm's
names, of detectors those of their backbones (empty where the model is not timm's), `method` is ours where we have it.
`read` says how it was read: primary (the paper or its authors' files), secondary note (somebody's summary of the
paper), derived (by arithmetic), author log, third-party reproduction. Where papers give different numbers for one
thing, both stand there. A remark that begins with "unverified" says why a number is not to be relied on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pandas as pd

from analysis.metrics import METRICS

COLUMNS = (
    "paper", "arxiv", "table", "dataset", "metric", "teacher", "student", "teacher_timm", "student_timm",
    "teacher_family", "student_family", "method", "value", "source", "read", "remark",
)  # fmt: skip
READ = ("primary", "secondary note", "derived", "author log", "third-party reproduction")
UNVERIFIED = "unverified"
PAPERS = ("OFA", "PAT", "FBT", "RSD", "PAT reproduction")
"""The papers, and one public reproduction, that share the twelve CIFAR-100 and fifteen ImageNet pairs."""

_FIELDS = {
    "epochs": "epochs",
    "batch_size": "batch",
    "optimizer": "optimizer",
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "mixup": "mixup",
    "cutmix": "cutmix",
}
_RULES = {
    "top1_best_epoch": "best test epoch, raw or EMA",
    "top1_last_epoch_raw": "last epoch, raw",
    "top1_last_epoch_ema": "last epoch, EMA",
}
_OURS = {"last": "last epoch", "best_val": "epoch best on validation", "best_test": "best test epoch"}
_PLAIN = {"mixup": 0.0, "cutmix": 0.0}
_STRONG = {"optimizer": "adamw", "lr": 5e-4, "weight_decay": 0.05, "mixup": 0.8, "cutmix": 1.0, "epochs": 300}
_RECIPES: dict[tuple[str, bool], dict[str, Any]] = {
    ("cifar100", True): {"epochs": 300, "optimizer": "sgd", "lr": 0.05, "weight_decay": 2e-3, **_PLAIN},
    ("imagenet", True): {"epochs": 100, "optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4, **_PLAIN},
    ("cifar100", False): _STRONG,
    ("imagenet", False): _STRONG,
}
_BATCHES = {
    ("OFA", "cifar100"): (1024, 1024),
    ("OFA", "imagenet"): (512, 1024),
    ("PAT", "cifar100"): (128, 128),
    ("PAT", "imagenet"): (256, 512),
}
"""Global batch of CNN students and of others: 8 GPUs for OFA, one (CIFAR-100) or four (ImageNet) in PAT's scripts."""


@dataclass(frozen=True)
class Protocol:
    """How a published number came about, as far as that is known. `recipe`: fields of our recipes with their values;
    None in `seeds` and `image_size`, "" in `rule`: not stated. `notes`: what else makes it incomparable."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    seeds: int | None = None
    seeds_note: str = ""
    rule: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ours:
    """A cell of a study: its `recipe` and image size, the seeds that it rests on, the rule and weights that are shown,
    its setting, its teacher's own score (percent), and the share of the training images held back for validation."""

    recipe: Mapping[str, Any]
    image_size: int | None
    seeds: int
    rule: str
    weights: str
    setting: str
    teacher_score: float | None = None
    validation: float = 0.0


def read_published() -> pd.DataFrame:
    """Every published number, one row each, with COLUMNS; texts are empty where there is nothing."""
    texts = dict.fromkeys(COLUMNS, str) | {"value": float}
    with files("analysis").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=texts, keep_default_na=False)


def protocol(fact: Mapping[str, Any]) -> Protocol:
    """The protocol of one row of `read_published`."""
    paper, dataset, method = fact["paper"], fact["dataset"], fact["method"]
    if dataset == "coco" and paper == "PAT":
        return _detection(method)
    cnn = fact["student_family"] == "cnn"
    code = "PAT" if paper.startswith("PAT") else paper
    recipe, notes = dict(_RECIPES.get((dataset, cnn), {})), []
    copied = paper == "PAT" and method != "pat"
    if copied:
        notes.append("PAT's table has OFA's values for this method; they were trained at OFA's batch")
        code = "OFA"
    if (code, dataset) in _BATCHES:
        recipe["batch_size"] = _BATCHES[code, dataset][0 if cnn else 1]
    else:
        recipe = {}
        notes.append("recipe and batch are not known" + ("; the pairs are OFA's" if paper in PAPERS else ""))
    if paper == "PAT" and method == "pat":
        notes.append("their batch is that of the public script; the paper's is not stated")
    if method == "pat":
        notes += _faults(str(fact["teacher_family"]))
    if code == "OFA" and fact["student_timm"] == "resnet18" and dataset == "cifar100":
        notes.append("learning rate 0.1 according to OFA's authors, 0.05 in their file")
    if fact["read"] in ("author log", "third-party reproduction") and paper != "PAT reproduction":
        notes.append(f"not the paper's value: {fact['read']}")
    if str(fact.get("remark", "")).startswith(UNVERIFIED):
        notes.append("their number is unverified")
    rule = _RULES.get(str(fact["metric"]), _RULES["top1_best_epoch"] if paper == "PAT" and not copied else "")
    seeds, seeds_note = (1, "") if paper == "PAT reproduction" else (None, "")
    if paper == "PAT" and not copied:
        seeds_note = "one, 42, in the public code"
    size = 224 if recipe else None
    return Protocol(recipe, size, seeds, seeds_note, rule, tuple(notes))


def _detection(method: str) -> Protocol:
    """The protocol of PAT's public code for COCO; the paper's is not stated."""
    notes = [
        "their detector is Detectron2's, its teacher trained for 270,000 iterations",
        "their recipe is that of the public code: 180,000 iterations or more, short side 640 to 800 px",
        "learning rate and length differ between the methods of the public code",
    ]
    if method == "pat":
        notes.append("the prompts of the public PAT code for detection are never trained")
    return Protocol({"batch_size": 8, "optimizer": "sgd"}, notes=tuple(notes))


def differences(theirs: Protocol, ours: Ours, teacher_score: float | None = None) -> list[str]:
    """What makes a published number and ours not comparable, in short sentences; `teacher_score` is that of their
    teacher where it is known. Never empty: what is not stated is a difference too."""
    lines = []
    for name, words in _FIELDS.items():
        if name in theirs.recipe and name in ours.recipe and theirs.recipe[name] != ours.recipe[name]:
            lines.append(f"their {words} {_text(theirs.recipe[name])}, ours {_text(ours.recipe[name])}")
    if theirs.image_size and ours.image_size and theirs.image_size != ours.image_size:
        lines.append(f"their images {theirs.image_size} px, ours {ours.image_size} px")
    shown = f"{_OURS[ours.rule]}, {'EMA' if ours.weights == 'ema' else 'raw'}"
    if theirs.rule != shown:
        lines.append(f"their rule: {theirs.rule or 'not stated'}; ours: {shown}")
    if theirs.seeds is None:
        note = f" ({theirs.seeds_note})" if theirs.seeds_note else ""
        lines.append(f"their seeds: not stated{note}; ours {ours.seeds}")
    elif theirs.seeds != ours.seeds:
        lines.append(f"their seeds {theirs.seeds}, ours {ours.seeds}")
    if (
        teacher_score is not None
        and ours.teacher_score is not None
        and abs(teacher_score - ours.teacher_score) >= 0.005
    ):
        lines.append(f"their teacher {teacher_score:.2f} %, ours {ours.teacher_score:.2f} %")
    if ours.validation > 0:
        lines.append(f"ours holds back {ours.validation:.0%} of the training images for validation")
    if ours.setting == "tuned":
        lines.append("our setting was searched for this pair, theirs is one for all or not stated")
    return [*lines, *theirs.notes]


def teacher_accuracies(published: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """(paper, dataset, timm name) -> top-1 in percent of OFA's released teachers, which PAT's scripts use too."""
    rows = published[(published["method"] == "teacher") & published["table"].str.startswith("value of the paper")]
    keys = zip(rows["dataset"], rows["teacher_timm"], rows["value"], strict=True)
    return {(paper, data, name): top1 for data, name, top1 in keys for paper in ("OFA", "PAT", "PAT reproduction")}


def disagreements(published: pd.DataFrame) -> pd.DataFrame:
    """The things of which several values are published: one row each, with `values` (text: "paper value, …")."""
    scores = published["metric"].str.startswith(tuple(metric.published for metric in METRICS.values()))
    main = published[scores & ~published["table"].str.startswith("ablation")]
    keys = ["dataset", "metric", "teacher", "student", "method"]
    rows = []
    for key, group in main.groupby(keys, sort=False):
        if group["value"].nunique() > 1:
            each = group.drop_duplicates(["paper", "read", "value"])
            listed = [f"{row.paper} {row.value:.2f} ({row.read})" for row in each.itertuples()]
            rows.append(dict(zip(keys, key, strict=True)) | {"values": ", ".join(listed)})
    return pd.DataFrame(rows, columns=[*keys, "values"])


def _faults(teacher_family: str) -> list[str]:
    """What the public code of PAT computes differently from the paper (docs/pat.md)."""
    lines = ["known faults of the public PAT code: prompts lose their place, positions follow the batch"]
    if teacher_family in ("vit", "mlp"):
        lines.append("the public PAT code scrambles the features of token teachers")
    return lines


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
