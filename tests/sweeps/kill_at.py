"""A study that is killed once at each named point, goes on, and is merged; its runs are stored, not trained.

python kill_at.py FOLDER     each point has a folder of FOLDER; prints for each how the first process of it ended
"""

import io
import os
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import stored  # noqa: E402
import torch  # noqa: E402

import analysis.bulk  # noqa: E402
import sweeps.engine.alone  # noqa: E402
import sweeps.engine.driver  # noqa: E402
import sweeps.engine.runs  # noqa: E402
from analysis import points, read_runs  # noqa: E402
from analysis.merge import merge  # noqa: E402
from pat.models import family  # noqa: E402
from sweeps.engine.keep import SET_ASIDE, retry  # noqa: E402
from sweeps.store import open_study  # noqa: E402
from sweeps.study import Study  # noqa: E402

FILES = ("study.json", "_where.json", "checkpoint.pt", "epochs.parquet", "run.parquet", "student.safetensors",
         "matrix.parquet")  # fmt: skip
POINTS = (*points.NAMES, *(points.WRITE + name for name in FILES))
ONCE = ("half set aside", "wave drawn")
CALM = "calm"


def drive(storage: Path, study: Study) -> Path:
    folder, grown = open_study(storage, study)
    driver = sweeps.engine.driver.Driver(folder, grown, study, storage, stream=io.StringIO())
    sweeps.engine.alone.run_here(driver)
    assert driver.planner.complete
    return folder


def everything(place: Path) -> None:
    """Two halves of a study, one run of the first made again, and both merged into a third folder."""
    study = stored.stored_study()
    other = stored.stored_study(pairs=((stored.VIT_TEACHER, stored.MLP_STUDENT),))
    one, two = drive(place / "one", study), drive(place / "two", other)
    if not (one / SET_ASIDE).exists():
        retry(one, read_runs(one).query("phase == 'confirm'")["run_id"].iloc[0])
    drive(place / "one", study)
    merge([one, two], place / "both" / study.name)


def in_child(place: Path, armed: str) -> int:
    if not (child := os.fork()):
        points.arm(armed)
        everything(place)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sweeps.engine.runs.train = stored.stored_train  # type: ignore[assignment]
    sweeps.engine.driver.GATHER_EVERY, analysis.bulk._WORTH = 2, 1
    os.fsync = lambda handle: None  # no power is cut here
    torch.set_num_threads(1)
    sweeps.engine.driver.family = cache(family)  # once, and not in each child
    for model in (stored.CNN_TEACHER, stored.VIT_TEACHER, stored.MLP_STUDENT):
        sweeps.engine.driver.family(model)
    for point in (CALM, *POINTS):
        place, count = Path(sys.argv[1], point.replace(" ", "_")), 1 if point in ONCE else 2
        first = in_child(place, "" if point == CALM else f"{point}:{count}")
        print(point, first, in_child(place, "") if first else 0, sep="\t", flush=True)
