"""The study of the chaos test, through the command that everybody uses: `python chaos_study.py --storage DIR`.

Reduced digits: two teachers, one student, kd on one worker, dist on two; a search of one wave with a rung.
"""

import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

import analysis.bulk  # noqa: E402
import sweeps.engine.driver  # noqa: E402
from sweeps import presets  # noqa: E402
from sweeps.commands.grid import main  # noqa: E402
from sweeps.presets.classification import TINY_STUDENTS, TINY_TEACHERS, digits  # noqa: E402
from sweeps.study import Search, Study  # noqa: E402

NAME = "chaos"


def chaos() -> Study:
    """20 one-worker and 14 two-worker segments."""
    study = digits()
    short = {name: replace(recipe, epochs=3, warmup_epochs=0) for name, recipe in study.students.items()}
    convnext, vit, _ = TINY_TEACHERS
    student = TINY_STUDENTS[2]
    return replace(
        study,
        name=NAME,
        teachers=dict.fromkeys(TINY_TEACHERS, replace(short[student], epochs=4)),
        students=short,
        pairs=((convnext, student), (vit, student)),
        methods=("kd", "dist"),
        search=Search(trials=2, wave=2, rungs=(1 / 3, 1.0)),
        seeds=2,
        options={},
        choices={},
        workers={"dist": 2},
    )


if __name__ == "__main__":
    sweeps.engine.driver.GATHER_EVERY, analysis.bulk._WORTH = 3, 1
    presets.PRESETS[NAME] = chaos
    sys.exit(main(["--preset", NAME, *sys.argv[1:]]))
