"""The machines of a real Ray: asked for their facts, waited for, and the pretend ones that never come."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pat.config import ConfigError, Data
from sweeps.cluster.bootstrap import Cluster, Machine
from sweeps.cluster.verdict import Problem
from sweeps.presets import preset

pytestmark = pytest.mark.ray

RENTED = Cluster("cloud", "aws", Machine("head", "", 1, 1, 0, 0), (Machine("m", "", 0, 3, 4, 0),), (), 2, 5)
OWN = Cluster("desk", "local", Machine("head", "", 1, 1, 0, 0), (), ("h", "a"), 1, 5)


def test_a_sound_machine(local_ray: None, tmp_path: Path) -> None:
    from sweeps.cluster.examine import FOLDER, examine

    start = time.monotonic()
    assert examine(tmp_path, Data("digits", 32), tmp_path, "", several=False) == []
    assert time.monotonic() - start < 60
    assert not (tmp_path / FOLDER).exists()


def test_a_data_set_is_brought_and_a_missing_one_named(local_ray: None, tmp_path: Path) -> None:
    from sweeps.cluster.examine import examine

    pictures = Data("folder:pictures", 32, fingerprint="0" * 64)
    (tmp_path / "source/pictures/train/cat").mkdir(parents=True)
    (tmp_path / "source/pictures/train/cat/1.png").write_bytes(b"1")
    assert examine(tmp_path, pictures, tmp_path / "here", str(tmp_path / "source"), several=False) == []
    assert (tmp_path / "here/pictures/train/cat/1.png").read_bytes() == b"1"
    with pytest.raises(ConfigError, match="'pictures' not found in"):
        examine(tmp_path, pictures, tmp_path / "there", str(tmp_path / "nowhere"), several=False)
    with pytest.raises(ConfigError, match="cannot be written"):
        examine(Path("/dev/null/x"), pictures, tmp_path / "here", "", several=False)


def test_a_machine_that_is_wrong_is_named(local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweeps.cluster import examine as module

    here = module.facts

    def other(*arguments: object) -> dict[str, object]:
        found = here(*arguments)
        return {**found, "versions": {**found["versions"], "torch": "1.0"}}

    monkeypatch.setattr(module, "facts", other)  # this process' own facts; the machine's process gets its own copy
    monkeypatch.setattr(module, "_ask", lambda node, *given: _ask_with(here, node, *given))
    (problem,) = module.examine(tmp_path, Data("digits", 32), tmp_path, "", several=False)
    assert isinstance(problem, Problem) and problem.what == "torch" and problem.needed == "1.0"


def _ask_with(facts: object, node: str, place: str, token: str, places: object) -> tuple[object, object]:
    from sweeps.cluster.examine import ROOT, Machine, ray

    actor = ray.remote(num_cpus=0)(Machine).remote()
    return actor, actor.call.remote(facts, place, token, places, str(ROOT))


def test_waiting(local_ray: None) -> None:
    from sweeps.cluster.waiting import growth, wait_for_machines

    study, said = preset("digits"), list[str]()
    wait_for_machines(study, None, None, None, False, said.append)
    wait_for_machines(study, RENTED, 2, None, False, said.append)
    assert said == []
    with pytest.raises(ConfigError, match=r"after 0.05 min: 1 of 2 machines, 2 of 1 places of 1 CPU\(s\) are there"):
        wait_for_machines(study, OWN, None, 0.05, False, said.append)
    with pytest.raises(ConfigError, match=r"2 of 5 places of 1 CPU\(s\)"):
        wait_for_machines(study, RENTED, 5, 0.05, False, said.append)
    with pytest.raises(ConfigError, match="0 of 1 GPUs"):
        wait_for_machines(study, None, None, 0.05, True, said.append)
    assert len(said) == 3 and said[0].startswith("  waiting for the cluster: 1 of 2 machines")
    from sweeps.engine.cluster import ray

    deadline = time.monotonic() + 30
    while any(group["state"] != "REMOVED" for group in ray.util.placement_group_table().values()):
        assert time.monotonic() < deadline  # nothing stays asked for
        time.sleep(0.2)
    assert growth(RENTED, 1, 1.0) == 8 and growth(OWN, 1, 1.0) == growth(None, 1, 1.0) == 0
