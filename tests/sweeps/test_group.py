"""Ray Train for real: two gloo workers against one, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pat.io import CHECKPOINT
from tests import tiny

ROOT = str(Path(__file__).parents[2])


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
    TorchTrainer(
        train_in_group,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(name="group", storage_path=str(tmp_path / "ray")),
    ).fit()
    one, two = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True)["last_losses"] for name in ("one", "two"))
    assert len(one) == 6 and two == pytest.approx(one, rel=1e-5)
    whole = tiny.run(config, tmp_path / "two", teacher_file)  # one worker goes on where two stopped
    assert whole.status == "finished" and whole.epoch == 2
