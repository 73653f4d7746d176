"""`python -m tests.as_published`: docs/as_published.md, what the public codes do beside what is done here.

What stands under "here" is read from the code: options, recipes, timm's records. What is published is what OFA-KD's and
PAT's public code say (as of 2025), in our words.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import timm
from timm.utils import ModelEmaV3
from torch import nn

from pat.config import Recipe
from pat.heads import FINAL_GRID
from pat.methods import method_options
from pat.methods.pat import PAT
from pat.options import VARIANT
from sweeps import published
from sweeps.presets import preset

FILE = Path(__file__).parents[1] / "docs" / "as_published.md"
UNKNOWN = "not measured"
PAPERS = ("cifar100", "imagenet")
"""The presets that are the papers' experiments."""


class Row(NamedTuple):
    """What differs: as it is published, as it is here, and what that does, where it was measured."""

    what: str
    published: str
    here: str
    effect: str = UNKNOWN


def recipes() -> list[Row]:
    students = {name: preset(name).students for name in PAPERS}
    every = [recipe for found in students.values() for recipe in found.values()]
    decays = ", ".join(f"{decay:g}" for decay in sorted({recipe.ema_decay for recipe in every}))
    warmup = said({recipe.ema_warmup for recipe in every})
    crops = "; ".join(f"{name} {_crop(name)}" for name in students["cifar100"])
    precision = said({recipe.precision for recipe in every})
    batches = "; ".join(f"`{name}` {said(r.batch_size for r in students[name].values())}" for name in PAPERS)
    return [
        Row(
            "EMA",
            "a constant decay (timm's ModelEmaV2), 0.9998, of ViT and MLP students on ImageNet 0.99996",
            f"`ema_decay` {decays}, `ema_warmup={warmup}` (`cifar100-small` and `-gpu`: "
            f"{said(r.ema_warmup for r in preset('cifar100-small').students.values())})",
            "with timm's warm-up, which acted unasked up to numerics 2, the decay ended at " + _reached(),
        ),
        Row(
            "EMA, first step",
            "begins with the initial weights",
            "begins with the weights after the first step",
            "the change of one step, times decay ** t after t steps",
        ),
        Row(
            "precision",
            "float16 autocast with a loss scale",
            f"`precision` {precision}: bfloat16 autocast, no scale",
        ),
        Row(
            "pixel statistics on CIFAR-100",
            "CIFAR-100's mean and deviation, for both models",
            "those of each model's own record with timm; teachers are fine-tuned the same way",
        ),
        Row(
            "what is scored of an image",
            "the middle, by the records of timm 0.6.5: 0.875 of it for ResNet-18, resized bilinearly",
            f"`crop_pct` {said(preset(name).data.crop_pct for name in PAPERS)}: the records of "
            f"timm {timm.__version__}: {crops}",
        ),
        Row(
            "global batch",
            "PAT's scripts: CIFAR-100 128; ImageNet 256 for CNN students, 512 for others. OFA-KD: 8 GPUs, 1,024",
            f"{batches}; OFA-KD's in `cifar100-1024` and `imagenet-1024`",
        ),
        Row(
            "which epoch, which weights",
            "the best of all epochs, raw or EMA, on the test set",
            "the last epoch, the recipe's weights; the other rules stand beside it in every report (`optimism`)",
            "each report measures its own",
        ),
    ]


def of_pat() -> list[Row]:
    pat = method_options("pat")
    remedies = "; ".join(f'`variant="{name}"`: {_remedy(name)}' for name in PAT.variants if name != "paper")
    return [
        Row(
            "aligner where the teacher works on tokens",
            "BatchNorm of each position and a linear map over channels, BatchNorm of each channel and a linear map "
            "over positions",
            _module("pat", "aligner", "BatchNorm, 1x1 convolution, nearest resize"),
            "on accuracy not measured; behind a nearest resize the student cannot vary inside a region's cell, where "
            "of a ConvNeXt teacher's stages 1 and 2 (digits, 16 regions) 83 % and 78 % of the variance lie",
        ),
        Row(
            "initial weights of aligners",
            "convolutions normal with deviation sqrt(2 / fan out), linear maps with 0.02, no bias in convolutions",
            _module("pat", "aligner", "torch's, with bias"),
            "deviation of the aligned map at the first step, 512 to 96 channels: 3.3 as published, 0.58 here",
        ),
        Row("aligner of the feedback", "as the aligner of its stage, between the teacher's shapes", "the nearest form"),
        Row(
            "place of a prompt in Swin",
            "after PatchMerging",
            "before it: in front of the stage as timm has it",
            "Swin-T to ResNet-18 adds 20.96 M parameters in training, as published 38.5 M",
        ),
        Row(
            "feature loss",
            "sum over the stages, weight 1",
            f"`feature_norm={pat['feature_norm']!r}`, `feature_weight` {pat['feature_weight']:g}; remedies: {remedies}",
            "real CIFAR-100 at 32 px, 4 epochs, ViT to CNN / CNN to ViT: as published 18.50 / 23.76 (two seeds), over "
            "the plain teacher's variance at weight 0.1 21.57 / 24.29 (one seed; scratch 19.60 / 20.58, KD 21.29 / "
            "24.29)",
        ),
        Row(
            "feedback of the previous step",
            "in attributes: lost when a run goes on, another batch size breaks it",
            f"`feedback={pat['feedback']!r}`: buffers",
            "a run that goes on equals one that was not interrupted, to the bit",
        ),
    ]


def of_others() -> list[Row]:
    crd, ofa = method_options("crd"), method_options("ofa")
    return [
        Row(
            "FitNet: aligner",
            "no norm; finer maps are embedded by patches, coarser ones unfolded; between two token models along the "
            "sequence, not the grid",
            _module("fitnet", "aligner", "BatchNorm, 1x1 convolution, nearest resize; `published`: on the grid"),
        ),
        Row(
            "FitNet: KD beside it",
            "PAT's code: weight 1; the tables' FitNet: none",
            f"`kd_weight` {method_options('fitnet')['kd_weight']:g}",
            "PAT's authors' comment: Swin-T to ResNet-18 80.49 with it, 78.87 in the tables",
        ),
        Row(
            "OFA: merging of patches in token heads",
            f"LayerNorm and a linear map without bias, down to a grid of {FINAL_GRID} and never below, the last of "
            "several without an activation",
            _module("ofa", "heads", "2x2 convolutions with GELU, down to about that grid"),
        ),
        Row(
            "OFA: initial weights of heads",
            "as PAT's aligners",
            _module("ofa", "heads", "torch's"),
        ),
        Row("OFA: class token of a token student", "kept, and read by the head", "the mean of the positions"),
        Row(
            "OFA: epsilon and weights",
            "1 for every stage; the authors named others for some pairs",
            f"`epsilon` {ofa['epsilon']:g}, `weight` {ofa['weight']:g}; by the authors' word: "
            f"{_corrections(published.OFA_AUTHORS_CIFAR100)} on CIFAR-100, "
            f"{_corrections(published.OFA_AUTHORS_IMAGENET)} on ImageNet",
        ),
        Row(
            "CRD: negatives",
            f"{crd['negatives']:,} without replacement on CIFAR-100",
            f"{crd['negatives']:,} with replacement",
            "the losses of three steps with the same negatives agree to 5.5e-6",
        ),
    ]


def text() -> str:
    """The whole page."""
    about = (
        "What OFA-KD's and PAT's public code do otherwise than this project, beyond the faults of "
        "PAT's code ([PAT](pat.md)). `python -m tests.as_published` writes this page from the code's own values, a "
        "test compares. "
        f"The presets {' and '.join(f'`{name}`' for name in PAPERS)} use the published projectors and heads; elsewhere "
        "they are options. What is not named agrees, as far as it was read: KD, DKD, OFA, RKD, CC and the hierarchical "
        "context loss equal the public codes' in value and gradient within rounding."
    )
    parts = ["# As published, and here", "", textwrap.fill(about, 135)]
    for title, rows in (("Recipes", recipes()), ("PAT", of_pat()), ("FitNet, OFA, CRD", of_others())):
        parts += ["", f"## {title}", "", "| what | published | here | measured effect |", "|---|---|---|---|"]
        parts += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(parts) + "\n"


def said(values: Iterable[Any]) -> str:
    """Each value once."""
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in dict.fromkeys(values))


def _module(method: str, option: str, plain: str) -> str:
    """What an option says by default, and in the papers' presets."""
    theirs = said(preset(name).options.get(method, {}).get(option) for name in PAPERS)
    return f"`{option}={method_options(method)[option]!r}`: {plain}; the papers' presets: `{theirs}`"


def _remedy(variant: str) -> str:
    pat, other = method_options("pat"), method_options("pat", {VARIANT: variant})
    return ", ".join(f"`{key}={value!r}`" for key, value in other.items() if value != pat[key] and key != VARIANT)


def _crop(name: str) -> str:
    record = timm.get_pretrained_cfg(name)
    return f"{record.crop_pct:g} {record.interpolation}"


def _warmed_up(decay: float, step: int) -> float:
    return ModelEmaV3(nn.Linear(1, 1), decay, use_warmup=True).get_decay(step)


def _reached() -> str:
    """Where a warm-up would have let the decay end in each of the papers' presets."""
    found = []
    for name in ("cifar100", "cifar100-1024", "imagenet", "imagenet-1024"):
        for recipe in dict.fromkeys(preset(name).students.values()):
            found.append(_end(name, recipe))
    return "; ".join(dict.fromkeys(found))


def _end(name: str, recipe: Recipe) -> str:
    images = {"cifar100": 50_000, "imagenet": 1_281_167}[name.removesuffix("-1024")]
    end = _warmed_up(recipe.ema_decay, recipe.epochs * (images // recipe.batch_size))
    horizon, asked = (math.floor(1 / (1 - decay) / 10 + 0.5) * 10 for decay in (end, recipe.ema_decay))
    return f"{end:.5g} in `{name}` (a horizon of {horizon:,} steps, asked {asked:,})"


def _corrections(found: dict[str, Any]) -> str:
    return ", ".join(
        f"`{option}` {value:g} for {key.removeprefix(':')}"
        for key, methods in found.items()
        for options in methods.values()
        for option, value in options.items()
    )


if __name__ == "__main__":
    FILE.write_text(text())
    print(FILE)
