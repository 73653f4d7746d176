"""JPEG files decoded at a part of their size, where a recipe asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pat.config import ConfigError
from pat.data import ahead
from pat.data.base import Split
from pat.data.files import Files, decode, drafted
from pat.data.part import FileSplit
from pat.views import train_views
from tests import tiny

MEAN_STD = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """400 x 300 pixels, smooth."""
    across, down = np.meshgrid(np.linspace(0, 255, 400), np.linspace(0, 255, 300))
    image = Image.fromarray(np.stack([across, down, 255 - across], 2).astype("uint8"))
    image.save(tmp_path / "photo.jpg", quality=95)
    image.save(tmp_path / "photo.png")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize(
    ("draft", "size"), [(0, (300, 400)), (301, (300, 400)), (151, (300, 400)), (150, (150, 200)), (1, (38, 50))]
)
def test_the_shorter_side_keeps_its_pixels(photo: Path, draft: int, size: tuple[int, int]) -> None:
    found = decode(photo, draft)
    assert tuple(found.shape[:2]) == size
    whole = Image.fromarray(decode(photo).numpy()).resize(size[::-1], Image.Resampling.BOX)
    assert (found.float() - torch.from_numpy(np.array(whole)).float()).abs().mean() < 3


def test_other_formats_are_as_they_are(photo: Path) -> None:
    assert torch.equal(decode(photo.with_suffix(".png"), 10), decode(photo.with_suffix(".png")))


def test_views_are_cut_out_of_it(photo: Path) -> None:
    files = Files.of(photo.parent, ["photo.jpg", "photo.png"])
    split = FileSplit(pictures=files, rows=torch.arange(2), workers=0, labels=torch.arange(2))
    recipe = replace(tiny.config().recipe, batch_size=2, draft=150)
    order = torch.arange(2)[None]

    def views(recipe: object) -> torch.Tensor:
        return next(train_views(split, order, recipe, 32, 2, MEAN_STD, seed=1, epoch=0)).images  # type: ignore[arg-type]

    small, whole = views(recipe), views(replace(recipe, draft=0))
    assert not torch.equal(small[0], whole[0]) and torch.equal(small[1], whole[1])
    assert drafted(split, 0) is split


def test_images_in_memory_refuse() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.draft = 64: only for image files"):
        drafted(Split(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.zeros(1)), 64)


def test_it_is_part_of_a_run_where_it_is_asked_for() -> None:
    config = tiny.config()
    other = replace(config, recipe=replace(config.recipe, draft=64))
    assert other.run_id != config.run_id and "draft" not in config.to_json() and "draft" in other.to_json()
    assert other.recipe.shown != config.recipe.shown  # nor are views shared
    with pytest.raises(ConfigError, match="0 where views is 'timm'"):
        replace(config.recipe, draft=64, views="timm")


@pytest.mark.parametrize(("cores", "gpus", "workers"), [(2, 0, 2), (64, 0, 8), (64, 4, 16), (2, 4, 1)])
def test_decoders_scale_with_the_cores_of_a_gpu(
    cores: int, gpus: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(gpus):
        (tmp_path / f"{number}").mkdir()
    monkeypatch.setattr(ahead, "DEVICES", tmp_path)
    monkeypatch.setattr(ahead, "cpu_count", lambda: cores)
    assert ahead.default_workers() == workers
