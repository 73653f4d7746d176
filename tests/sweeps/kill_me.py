"""A driver for the test that kills it: the small study on an embedded Ray, runs replayed slowly.

python kill_me.py STORAGE
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import small  # noqa: E402

from sweeps.engine.cluster import ray, ray_running  # noqa: E402
from sweeps.engine.driver import Driver  # noqa: E402
from sweeps.engine.launch import launch  # noqa: E402
from sweeps.engine.lock import locked  # noqa: E402
from sweeps.store import open_study  # noqa: E402

if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(small)
    study = small.small_study()
    folder, grown = open_study(sys.argv[1], study)
    with locked(folder), ray_running("local"):
        launch(Driver(folder, grown, study, folder), work=small.replay(seconds=0.5))
