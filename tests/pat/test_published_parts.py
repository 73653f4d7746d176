"""Projectors, heads and initial weights of the public codes, against literal versions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from pat.align import Aligner, PatchAligner, TokenAligner, published_weights
from pat.config import ConfigError
from pat.heads import PatchMerging, stage_head
from pat.methods import create_method
from pat.models import create_model
from tests import tiny


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_tokens_are_mixed_after_channels() -> None:
    """BatchNorm of each position, linear over channels, BatchNorm of each channel, linear over positions."""
    aligner, regions = TokenAligner((5, 2, 3), (7, 4, 4)), x(6, 5, 2, 3)
    for norm in (aligner.norm_positions, aligner.norm_channels):
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    tokens = regions.flatten(2).transpose(1, 2)  # [B, 6, 5]
    first, second = nn.BatchNorm1d(6), nn.BatchNorm1d(7)
    first.load_state_dict(aligner.norm_positions.state_dict())
    second.load_state_dict(aligner.norm_channels.state_dict())
    projected = aligner.project_channels(first(tokens)).transpose(1, 2)  # [B, 7, 6]
    expected = aligner.project_positions(second(projected))
    torch.testing.assert_close(aligner(regions), expected.view(6, 7, 4, 4), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(aligner.norm_positions.running_mean, first.running_mean)


@pytest.mark.parametrize(
    ("source", "target", "patch"),
    [((3, 8, 8), (5, 4, 2), (2, 4)), ((3, 4, 2), (5, 8, 8), (2, 4)), ((3, 4, 4), (5, 4, 4), (1, 1))],
)
def test_patches_are_embedded_or_unfolded(
    source: tuple[int, int, int], target: tuple[int, int, int], patch: tuple[int, int]
) -> None:
    """One linear map of a patch, place by place."""
    aligner, given = PatchAligner(source, target), x(2, *source)
    found, weight, bias = aligner(given), aligner.project.weight, aligner.project.bias
    (rows, columns), (channels, height, width) = patch, target
    assert found.shape == (2, *target)
    for b, c, i, j in itertools.product(range(2), range(channels), range(height), range(width)):
        if source[1] >= height:
            window = given[b, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            expected = (window * weight[c]).sum() + bias[c]
        else:
            place = (c * rows + i % rows) * columns + j % columns
            expected = weight[place, :, 0, 0] @ given[b, :, i // rows, j // columns] + bias[place]
        torch.testing.assert_close(found[b, c, i, j], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [((7, 7), (4, 4)), ((4, 4), (7, 7)), ((3, 5), (5, 3)), ((1, 1), (7, 2))])
def test_grids_without_a_whole_ratio_are_resized(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    source, target = sizes
    assert PatchAligner((3, *source), (5, *target))(x(2, 3, *source)).shape == (2, 5, *target)


def test_published_weights() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(64, 256, 3), nn.Linear(512, 384), nn.Linear(8, 8, bias=False), nn.BatchNorm2d(4))
    published_weights(module)
    assert module[0].weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)
    assert module[1].weight.std().item() == pytest.approx(0.02, rel=0.02) and (module[1].bias == 0).all()
    assert Aligner(4, 5, published=True).project.bias is None and Aligner(4, 5).project.bias is not None
    wide = Aligner(512, 96, published=True).project.weight
    assert wide.std().item() == pytest.approx(math.sqrt(2 / 96), rel=0.02)


@pytest.mark.parametrize("size", [(4, 6), (5, 4)])
def test_patches_are_merged_as_in_swin(size: tuple[int, int]) -> None:
    """The four positions of a patch, normalised together and projected; an odd side is stretched by nearest."""
    merging, given = PatchMerging(3, 5), x(2, 3, *size)
    nn.init.normal_(merging.norm.weight)
    found = merging(given)
    if size[0] % 2:
        given = given[:, :, [i * size[0] // (size[0] + 1) for i in range(size[0] + 1)]]
    parts = [given[:, c, i::2, j::2] for c in range(3) for i in (0, 1) for j in (0, 1)]
    expected = merging.project(merging.norm(torch.stack(parts, dim=-1)))
    torch.testing.assert_close(found, expected.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("grid", "merges", "activations"),
    [(56, 3, 2), (28, 2, 1), (20, 1, 1), (14, 1, 1), (13, 0, 0), (7, 0, 0), (4, 0, 0)],
)
def test_published_token_heads_merge_down_to_the_final_grid(grid: int, merges: int, activations: int) -> None:
    head = stage_head(24, (grid, grid), 1, width=32, classes=9, convolutional=False, published=True)
    assert sum(isinstance(module, PatchMerging) for module in head) == merges
    assert sum(isinstance(module, nn.GELU) for module in head) == activations
    logits = head(x(2, 24, grid, grid))
    logits.sum().backward()
    assert logits.shape == (2, 9) and all(p.grad is not None for p in head.parameters())
    assert head[-1].weight.std().item() == pytest.approx(0.02, rel=0.15)


def test_published_convolutional_heads_differ_in_their_weights_alone() -> None:
    shapes = []
    for published in (False, True):
        head = stage_head(24, (8, 8), 1, width=32, classes=9, convolutional=True, published=published)
        shapes.append([tuple(p.shape) for p in head.parameters()])
    assert shapes[0] == shapes[1] and (head[-1].bias == 0).all()


@pytest.mark.parametrize(
    ("teacher", "kind"), [("vit_micro_patch8_32", TokenAligner), (tiny.MLP, TokenAligner), (tiny.CNN, Aligner)]
)
def test_teachers_on_tokens_get_an_aligner_of_tokens(teacher: str, kind: type[nn.Module]) -> None:
    models = [create_model(name, 10, 32) for name in (tiny.VIT, teacher)]
    method = create_method("pat", *models, tiny.task(), **tiny.SMALL_PAT, aligner="published")
    assert len(method.align) == 4 and all(type(align) is kind for align in method.align)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pat", {"aligner": "linear"}),
        ("pat", {"feature_norm": "std"}),
        ("pat", {"feature_size": "student"}),
        ("pat", {"feature_stages": 6}),
        ("pat", {"feature_stages": ()}),
        ("pat", {"feature_stages": (5,)}),
        ("pat", {"feature_warmup": -1}),
        ("pat", {"variant": "best"}),
        ("fitnet", {"aligner": "linear"}),
        ("fitnet", {"feature_norm": "mean"}),
        ("ofa", {"heads": "tokens"}),
    ],
)
def test_what_an_option_may_not_say_is_one_line(name: str, options: dict[str, object]) -> None:
    models = [create_model(model, 10, 32) for model in (tiny.VIT, tiny.CNN)]
    (option,) = options
    with pytest.raises(ConfigError, match=f"(^|: ){option} = ") as caught:
        create_method(name, *models, tiny.task(), **{**tiny.SMALL.get(name, {}), **options})
    assert "\n" not in str(caught.value)
