"""Golden runs that generate what is hidden of images, of pixels and of a teacher's tokens."""

from __future__ import annotations

from collections.abc import Iterator

from pat.config import Data, Method, Recipe, RunConfig, Task, Teacher

STUDENT, TEACHER = "convnext_nano_patch1_32", "vit_micro_patch4_32"
RECIPE = Recipe(
    epochs=2, batch_size=16, lr=2e-3, optimizer="adamw", weight_decay=0.5, warmup_epochs=1, warmup_lr=5e-4,
    clip_grad=1.0, crop_scale=(0.35, 1.0), crop_ratio=(0.75, 4 / 3), flip=0.5, interpolation="random",
    color_jitter=0.4, ema_decay=0.9,
)  # fmt: skip
"""Every part of a recipe that masked images have use for."""
OPTIONS = {
    "spark": {"width": 16},
    "hgkd": {"width": 16},
    "hgkd-cosine": {"width": 16, "ratio": 0.75, "loss": "cosine", "positions": "masked"},
}


def generation_configurations() -> Iterator[tuple[str, RunConfig]]:
    """Twelve steps each."""
    for name, options in OPTIONS.items():
        method = name.partition("-")[0]
        teacher = Teacher(TEACHER, "run:0123456789abcdef") if method == "hgkd" else None
        task = Task("generation", {"cell": 8, "stride": 4})
        yield (
            f"{name} generation fp32",
            RunConfig(STUDENT, Data("tiny", 32), RECIPE, Method(method, options), teacher, task=task),
        )
