"""One pair with its gain: the same student with and without its teacher, over several seeds, with an interval.

python examples/one_pair.py [EPOCHS [SEEDS]]        2 minutes on two cores
"""

import sys

from pat import Data, Recipe
from sweeps import Search, Study, run

TEACHER, STUDENT = "convnext_micro_32", "vit_nano_patch8_32"  # any two names of timm


def main(epochs: int = 8, seeds: int = 3) -> None:
    recipe = Recipe(epochs=epochs, batch_size=32, lr=2e-3, optimizer="adamw", weight_decay=0.05)
    study = Study(
        name="one_pair",
        data=Data("digits", image_size=32),
        teachers={TEACHER: recipe},
        students={STUDENT: recipe},
        pairs=((TEACHER, STUDENT),),
        methods=("kd", "rsd"),
        search=Search(trials=0),  # the methods' default settings; more trials: tuned, all with the same number
        seeds=seeds,
    )
    result = run(study)
    for cell in result.cells.itertuples():
        low, high = cell.gain_over_scratch_low, cell.gain_over_scratch_high
        print(f"{cell.method}: {cell.gain_over_scratch:+.2f} points over scratch ({low:+.2f} to {high:+.2f})")
    print("report:", result.report)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
