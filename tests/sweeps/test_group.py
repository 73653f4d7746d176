"""Ray Train for real: two gloo workers against one, step by step."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from pat.io import CHECKPOINT
from sweeps.engine.cluster import Node, machines
from sweeps.engine.elsewhere import NODE, kept_off
from sweeps.engine.group import _judge
from sweeps.engine.jobs import Job
from tests import tiny

ROOT = str(Path(__file__).parents[2])
ANOTHER = {"ab12": Node(8, 0, host="sick")}
ASKED: dict[str, Any] = {"workers": 2, "closed": (), "avoid": ()}


@pytest.mark.ray
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("local_ray")
def test_loss_of_every_step_is_that_of_one_worker(tmp_path: Path, teacher_file: Path) -> None:
    """A PAT run of a student without BatchNorm: relative difference of each step's loss <= 1e-5."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    def train_in_group(settings: dict[str, str]) -> None:  # nested, so that it travels by value
        import sys
        from pathlib import Path

        sys.path.append(settings["root"])
        from pat.config import RunConfig
        from pat.train import train
        from pat.worker import TrainWorkerIO
        from tests import tiny  # noqa: F401  (registers the data set in the worker)

        config, io = RunConfig.from_json(settings["config"]), TrainWorkerIO(Path(settings["folder"]))
        assert train(config, io, until=1, teacher_file=Path(settings["teacher"])).status == "paused"

    recipe = {"batch_size": 16, "optimizer": "sgd", "lr": 0.02, "clip_grad": 1.0}
    config = tiny.config(tiny.VIT, "pat", epochs=2, recipe=recipe)
    tiny.run(config, tmp_path / "one", teacher_file, until=1)
    settings = {
        "root": ROOT,
        "folder": str(tmp_path / "two"),
        "config": config.to_json(),
        "teacher": str(teacher_file),
    }
    off_another = kept_off(ASKED | {"closed": [["sick", "", 60.0]]}, machines() | ANOTHER, 1, gpus=False)
    assert off_another == {NODE: "!in(ab12)"}
    TorchTrainer(
        train_in_group,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}, label_selector=off_another),
        run_config=RunConfig(name="group", storage_path=str(tmp_path / "ray")),
    ).fit()
    one, two = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True)["last_losses"] for name in ("one", "two"))
    assert len(one) == 6 and two == pytest.approx(one, rel=1e-5)
    whole = tiny.run(config, tmp_path / "two", teacher_file)  # one worker goes on where two stopped
    assert whole.status == "finished" and whole.epoch == 2


def test_a_group_is_kept_off_where_nothing_goes_well() -> None:
    """Off closed hosts and hosts with a closed device, and off those where the run has failed while there is room."""
    cluster = {f"id-{host}": Node(5, 3, host=host) for host in "abc"}

    def off(workers: int = 2, closed: str = "", avoid: str = "", gpus: bool = False) -> str:
        values = {"workers": workers, "closed": [(host, "GPU 1", 9.0) for host in closed]}
        return kept_off(values | {"avoid": [(host, "") for host in avoid]}, cluster, 2, gpus).get(NODE, "")

    assert off() == "" and off(closed="elsewhere") == ""
    assert off(closed="b") == "!in(id-b)" and off(avoid="c") == "!in(id-c)"
    assert off(closed="b", avoid="c") == "!in(id-b,id-c)"
    assert off(4, closed="b", avoid="c") == "!in(id-b)", "what is closed stays closed, the run goes where it has failed"
    assert off(6, closed="b", avoid="c") == "" and off(4, closed="bc") == "", "never nowhere"
    assert off(6, closed="b", gpus=False) == "" and off(4, closed="b", gpus=True) == "!in(id-b)"
    cluster["id-a"] = Node(5, 0, host="a")
    assert off(4, closed="b", gpus=True) == "", "a worker needs a GPU"


@pytest.mark.ray
@pytest.mark.timeout(60)
@pytest.mark.usefixtures("local_ray")
def test_ray_keeps_to_it() -> None:
    import ray

    spare = {"cd34": Node(2, 0, host="spare")}
    for cluster, there in ((ANOTHER, True), (machines(), False)):
        (node,) = cluster.values()
        selector = kept_off(ASKED | {"closed": [[node.host, "", 9.0]]}, cluster | spare, 1, gpus=False)
        group = ray.util.placement_group([{"CPU": 1}], bundle_label_selector=[selector])
        assert group.wait(10 if there else 2) == there
        ray.util.remove_placement_group(group)


def test_what_a_worker_raised_is_told_with_its_place(tmp_path: Path) -> None:
    """As it arrives: pickled, wrapped, beside the complaint of a peer that only saw the other one go."""

    class GroupError(Exception):
        def __init__(self, failures: dict[int, Exception]) -> None:
            self.worker_failures = failures

    own = RuntimeError("CUDA error: an illegal memory access")
    own.place = ["b", "GPU 3"]  # type: ignore[attr-defined]
    error = GroupError({0: RuntimeError("Connection closed by peer"), 1: pickle.loads(pickle.dumps(own))})
    job = Job(str(tmp_path), "s", tiny.config(tiny.VIT, "kd").to_json(), 1, "confirm", "cnn")
    told = _judge(job.to_dict(), error)
    assert told["place"] == ["b", "GPU 3"] and told["failure"][0] == str(own)
