"""Literal run_ids: a default renamed, added or written otherwise would orphan every run that anybody has."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from pat.config import NUMERICS, Data, Method, Recipe, RunConfig, Teacher
from sweeps.planning.planner import Planner
from sweeps.presets import PRESETS, preset
from sweeps.study import Search

RECIPE = Recipe(epochs=6, batch_size=48, lr=3e-3)
FULL = Recipe(
    epochs=300, batch_size=1024, lr=5e-4, optimizer="adamw", momentum=0.8, weight_decay=0.05, schedule="step",
    schedule_per_epoch=True, min_lr=1e-5, warmup_epochs=20, warmup_lr=5e-7, decay_epochs=25, decay_rate=0.2,
    clip_grad=5.0, label_smoothing=0.1, crop_scale=(0.08, 1.0), crop_ratio=(0.75, 1.25), flip=0.5,
    interpolation="random", mixup=0.8, cutmix=1.0, mixup_mode="elem", auto_augment="rand-m9-mstd0.5-inc1",
    color_jitter=0.4, random_erasing=0.25, views="timm", ema_decay=0.9999, precision="bf16",
)  # fmt: skip
DATA, TEACHER = Data("cifar100", 224), Teacher("swin_tiny_patch4_window7_224", "run:0123456789abcdef")

LITERAL = {
    "01b23684012d94f2": RunConfig("resnet18", DATA, RECIPE),
    "ba899af3794d121d": RunConfig("resnet18", DATA, RECIPE, Method("kd"), TEACHER, seed=1),
    "08c8588a04e15aa1": RunConfig("resnet18", DATA, RECIPE, Method("kd", {"weight": 2, "temperature": 4.0}), TEACHER),
    "5334906b5fd6a006": RunConfig("resnet18", DATA, RECIPE, Method("pat"), TEACHER, seed=2, threads=4),
    "4e42e2b0e041eff3": RunConfig("resnet18", DATA, RECIPE, Method("pat", {"prompt_depth": (1, 4)}), TEACHER),
    "1ba910e197d3e51c": RunConfig("deit_tiny_patch16_224", DATA, RECIPE, Method("ofa"), TEACHER),
    "c7992934dd1a3e0c": RunConfig("resmlp_12_224", DATA, RECIPE, Method("crd", {"negatives": 1024}), TEACHER),
    "8eab9bb49325fa4a": RunConfig("resnet18", DATA, FULL, Method("dist"), TEACHER),
    "4afe1c3eca0309ab": RunConfig(
        "resnet18", Data("folder", 128, 0.2, "ab" * 32, 0.0, "skip"), RECIPE, Method("fitnet"), TEACHER
    ),
    "b594ce6056b63c0b": RunConfig(
        "resnet50", DATA, RECIPE, Method("dkd"), Teacher("resnet50.a1_in1k", f"sha256:{'cd' * 32}"),
        initial="timm:resnet50.a1_in1k", unsynced_workers=2,
    ),
}  # fmt: skip
PRESET_RUNS = {
    "digits": 45,
    "cifar100-small": 66,
    "cifar100-small-methods": 119,
    "cifar100-small-gpu": 66,
    "cifar100": 451,
    "cifar100-1024": 451,
    "imagenet": 555,
    "imagenet-1024": 555,
}
PRESETS_DIGEST = "e3a5d1d61b74821c95fe150f4e5e592517e9b8128a23bda63cb9a30e5495f16e"
DENSE_RUNS = {"coco": 25, "coco-small": 25, "coco-tiny": 17, "voc-seg": 25, "camvid-small": 17}
DENSE_DIGEST = "b652588b204bc4a9e2091e7d44939802cfc74942c26cbdc6aaff3c0ce085bdcb"
"""Of detection and segmentation."""
PRETRAINED_RUNS = {"hgkd-imagenet": 28, "hgkd-imagenet-coco": 28, "hgkd-imagenet-voc": 22, "hgkd-small": 15}
PRETRAINED_DIGEST = "d4895cf92d89340d0c41ebee463e68c555c11de24da85c46016e708fe2b75583"
EVIDENCE_RUNS = {"cifar100-evidence": 255, "cifar100-evidence-gpu": 255}
EVIDENCE_DIGEST = "b30d390edd9c78a6e545c0a9549d1816351f7e0666d5b236ee082d3953eccc70"
DEMO_RUNS = {"demo": 36}
DEMO_DIGEST = "626d6671d4fbb9e6ed9171565641abdc1aa81c921d2ec853fae4dcb14012b958"
ADVICE = (
    "every run that anybody has under its old address would be trained again. A field that joins is made by "
    "`pat.config.later`; where numbers change, NUMERICS is raised: write the new addresses here"
)


@pytest.mark.parametrize("run_id", LITERAL)
def test_addresses_stay(run_id: str) -> None:
    """Of numerics 2."""
    config = LITERAL[run_id]
    assert config.run_id == run_id, f"{config.run_id} is the new address, at numerics {NUMERICS}: {ADVICE}"


@pytest.mark.parametrize(
    ("runs", "known"),
    [
        (PRESET_RUNS, PRESETS_DIGEST),
        (DENSE_RUNS, DENSE_DIGEST),
        (PRETRAINED_RUNS, PRETRAINED_DIGEST),
        (EVIDENCE_RUNS, EVIDENCE_DIGEST),
        (DEMO_RUNS, DEMO_DIGEST),
    ],
)
def test_addresses_of_all_presets_stay(runs: dict[str, int], known: str) -> None:
    """Teachers, baselines and default settings on every seed; what searches draw is Optuna's, see test_ledgers."""
    run_ids = []
    for name, count in runs.items():
        planner = Planner(replace(preset(name), search=Search(trials=0)), {})
        found = {run_id for unit in planner.units.values() for run_id in unit.runs}
        assert len(found) == count, name
        run_ids += sorted(found)
    digest = hashlib.sha256("\n".join(run_ids).encode()).hexdigest()
    assert digest == known, f"{digest} is the new digest of all addresses: {ADVICE}"


def test_every_preset_is_pinned() -> None:
    pinned = {**PRESET_RUNS, **DENSE_RUNS, **PRETRAINED_RUNS, **EVIDENCE_RUNS, **DEMO_RUNS}
    assert PRESETS.keys() == pinned.keys(), "write the number of the new preset's runs here"
