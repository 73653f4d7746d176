"""A study in a file: two pairs, a search with the same budget for each method, fresh seeds, one report.

python examples/own_study.py                                 runs it, or goes on with it
pat-sweep --study examples/own_study.py:study --plan         what it costs; without --plan it runs, on a cluster too
"""

import sys
from dataclasses import replace

from pat import Data, Recipe
from sweeps import Log, Search, Study, run, space

recipe = Recipe(epochs=6, batch_size=32, lr=2e-3, optimizer="adamw", weight_decay=0.05, crop_scale=(0.6, 1.0))
study = Study(
    name="own_study",
    data=Data("digits", image_size=32),
    teachers={"convnext_micro_32": recipe, "mixer_micro_patch8_32": recipe},
    students={"vit_nano_patch8_32": replace(recipe, ema_decay=0.99)},
    pairs=(("convnext_micro_32", "vit_nano_patch8_32"), ("mixer_micro_patch8_32", "vit_nano_patch8_32")),
    methods=("kd", "dist"),
    search=Search(trials=4, wave=4),
    spaces={"kd": space("kd", temperature=Log(1, 8), weight=[0.5, 1, 2])},  # of dist the package's own
    seeds=3,
)


def main(epochs: int = recipe.epochs, seeds: int = 3) -> None:
    shorter = {name: replace(own, epochs=epochs) for name, own in {**study.teachers, **study.students}.items()}
    asked = replace(
        study,
        teachers={name: shorter[name] for name in study.teachers},
        students={name: shorter[name] for name in study.students},
        seeds=seeds,
    )
    result = run(asked)
    columns = ["teacher", "method", "setting", "gain_over_scratch", "gain_over_scratch_low", "gain_over_scratch_high"]
    print(result.cells[columns].to_string(index=False))
    print("report:", result.report)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
