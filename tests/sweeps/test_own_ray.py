"""`run()` from a script with a method of one's own, through a Ray of its own: the workers know the method."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from method_text import METHOD

from analysis import read_runs

SCRIPT = """
import json
import own_mine
from pat import Data, Recipe
from sweeps import Linear, Search, Study, run, space

recipe = Recipe(epochs=1, batch_size=64, lr=1e-3, optimizer="adamw")
study = Study(
    name="own",
    data=Data("digits", 32),
    teachers={"resnet_nano_32": recipe},
    students={"vit_nano_patch8_32": recipe},
    pairs=(("resnet_nano_32", "vit_nano_patch8_32"),),
    methods=("own_mine",),
    search=Search(trials=2, wave=2, rungs=(1.0,)),
    spaces={"own_mine": space("own_mine", weight=Linear(0.5, 2))},
    seeds=1,
)
if __name__ == "__main__":
    result = run(study, "runs", imports=["own_mine"])
    best = result.best()
    print(json.dumps({"complete": result.complete, "report": result.report.exists(), "runs": len(result.runs),
                      "methods": sorted(best["method"]), "files": [bool(file) for file in best["file"]]}))
"""


@pytest.mark.ray
@pytest.mark.timeout(660)
def test_run_with_a_method_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own_mine.py").write_text(METHOD)
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "complete": True,
        "report": True,
        "runs": found["runs"],
        "methods": ["own_mine", "scratch"],
        "files": [True, True],
    }
    rows = read_runs(tmp_path / "runs" / "own")
    own = rows[rows["method"] == "own_mine"]
    assert len(rows) == found["runs"] and (rows["status"] == "finished").all()
    weights = {json.loads(text)["weight"] for text in own["options"]}
    assert 1.0 in weights and len(weights) == 2 and all(0.5 <= weight <= 2 for weight in weights)
    about = json.loads((tmp_path / "runs" / "own" / "data.json").read_text())
    assert about["chance"] == pytest.approx(100 * 46 / 450) and "450 test images of 10 classes" in about["account"]
    texts = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("runs/own/runs/*/own.json")}
    assert set(texts) == set(own["run_id"]) and {tuple(text) for text in texts.values()} == {("own_mine.py",)}
    assert len({text["own_mine.py"][0] for text in texts.values()}) == 1, "all of one text"
