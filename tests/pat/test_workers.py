"""Several workers against one: the same weights after three steps, with gloo on the CPU, computed in float64."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pat.align import GlobalBatchNorm2d
from pat.config import ConfigError, RunConfig
from pat.data import load
from pat.io import CHECKPOINT, LocalIO
from pat.models import create_model
from pat.train import train
from pat.training import Training, synchronised
from tests import tiny


class Member(LocalIO):
    """A worker of a group that shares one folder."""

    def __init__(self, folder: Path, rank: int, world: int) -> None:
        super().__init__(folder)
        self.rank, self.world_size = rank, world


@contextmanager
def in_float64() -> Iterator[None]:
    """What is computed in float32 is computed in float64: the same mathematics, with rounding out of the way."""
    single = torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float = single  # type: ignore[method-assign]


def work(rank: int, world: int, port: int, runs: dict[str, RunConfig], folder: Path, teacher: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    with in_float64():
        for name, configuration in runs.items():
            train(configuration, Member(folder / name, rank, world), teacher_file=teacher)
    dist.destroy_process_group()


def in_group(runs: dict[str, RunConfig], folder: Path, teacher: Path, world: int = 2) -> None:
    """Trains each of `runs` in `folder` / its name, all in one group of processes: their start costs most."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (world, port, runs, folder, teacher), nprocs=world)


REMEDIES = {"drift_weight": 2.0, "restandardise": True, "feature_warmup": 2, "aligner": "published"}


def three_steps() -> dict[str, RunConfig]:
    """Three steps of 32 images for every method, and for other ways through some of them."""
    recipe = {"batch_size": 32, "optimizer": "sgd", "lr": 0.02, "ema_decay": 0.0}
    runs = {name: tiny.config(method=name, epochs=1, recipe=recipe) for name in tiny.METHODS}
    others = {
        "ofa-cnn": (tiny.CNN, "ofa", {}),
        "fbt-cnn": (tiny.CNN, "fbt", tiny.SMALL["fbt"]),
        "ofa-published": (tiny.VIT, "ofa", {"heads": "published"}),
        "fitnet-variance": (tiny.VIT, "fitnet", {"feature_norm": "variance", "aligner": "published"}),
        "pat-balanced": (tiny.VIT, "pat", {**tiny.SMALL_PAT, "variant": "balanced", "feature_size": "regions"}),
        "pat-hinted": (tiny.VIT, "pat", {**tiny.SMALL_PAT, "variant": "hinted"}),
        "pat-relational": (tiny.VIT, "pat", {**tiny.SMALL_PAT, "variant": "relational"}),
        "pat-remedies": (tiny.VIT, "pat", {**tiny.SMALL_PAT, **REMEDIES}),
    }
    return runs | {
        name: tiny.config(student, method, epochs=1, recipe=recipe, options=options)
        for name, (student, method, options) in others.items()
    }


@pytest.fixture(scope="module")
def shared_by_two(tmp_path_factory: pytest.TempPathFactory, teacher_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("two")
    in_group(three_steps(), folder, teacher_file)
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", three_steps())
def test_two_workers_give_the_weights_of_one(
    name: str, tmp_path: Path, teacher_file: Path, shared_by_two: Path
) -> None:
    """16 images a worker; memories and statistics included.

    Only the order of additions differs: 1e-16 each in float64, under 1e-14 after three steps in every method. In
    float32 it is 1e-5, more or less by the kind of CPU.
    """
    with in_float64():
        tiny.run(three_steps()[name], tmp_path, teacher_file)
    one, two = (torch.load(folder / CHECKPOINT, weights_only=True) for folder in (tmp_path, shared_by_two / name))
    assert len(one["last_losses"]) == 3
    assert one["last_losses"] == pytest.approx(two["last_losses"], rel=1e-9)
    assert one["method"].keys() == two["method"].keys()
    for key, value in one["method"].items():
        assert value.dtype in (torch.float64, torch.int64), key
        difference = (two["method"][key] - value).double().norm()
        assert difference <= 1e-9 * (value.double().norm() + value.numel() ** 0.5), key
    assert one["history"][0]["test_score_raw"] == two["history"][0]["test_score_raw"]


@pytest.mark.timeout(180)
def test_batchnorm_on_cpu_workers_is_part_of_the_identity(tmp_path: Path, teacher_file: Path) -> None:
    shared = tiny.config(tiny.BATCHNORM, epochs=1)
    own = tiny.config(tiny.BATCHNORM, epochs=1, unsynced_workers=2)
    assert shared.run_id != own.run_id
    in_group({"own": own}, tmp_path, teacher_file)
    assert torch.load(tmp_path / "own" / CHECKPOINT, weights_only=True)["epoch"] == 1
    with pytest.raises(ConfigError, match="must be divisible by the 3 workers"):
        Training(shared, Member(tmp_path, 0, 3), load(shared.data, tmp_path), None, None)
    with pytest.raises(ConfigError, match="BatchNorm.*needs unsynced_workers = 2"):
        Training(shared, Member(tmp_path, 0, 2), load(shared.data, tmp_path), None, None)


def normalise(rank: int, world: int, port: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    x = torch.load(folder / "x.pt").chunk(world)[rank].requires_grad_()
    norm = GlobalBatchNorm2d(3)
    y = norm(x)
    (y * torch.arange(y.numel()).view_as(y)).sum().backward()
    torch.save((y.detach(), x.grad, norm.running_mean, norm.running_var), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.timeout(120)
def test_global_batchnorm_is_batchnorm_over_all_workers(tmp_path: Path) -> None:
    x = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    torch.save(x, tmp_path / "x.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(normalise, (2, port, tmp_path), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    whole, norm = x.clone().requires_grad_(), torch.nn.BatchNorm2d(3)
    y = norm(whole)
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), y.detach(), rtol=1e-5, atol=1e-5)
    weights = torch.arange(60).view(2, 3, 5, 2).repeat(2, 1, 1, 1)
    (y * weights).sum().backward()
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), whole.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts[0][2:], (norm.running_mean, norm.running_var))


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet10t"])
def test_shared_statistics_leave_the_activations(name: str) -> None:
    """What a GPU run of several workers does to its modules; torch's own conversion drops timm's activations."""
    model, images = create_model(name, 10, 32).eval(), torch.randn(2, 3, 32, 32)
    before = model(images)
    shared = synchronised(model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in shared.modules())
    assert torch.equal(shared.eval()(images), before)
