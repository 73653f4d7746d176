"""What a classifier is like: each number by its definition, and what it may not depend on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pat import traits
from pat.config import Data
from pat.data import load
from pat.models import create_model
from pat.tasks.classification import evaluate


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_entropy() -> None:
    assert traits.entropy(torch.zeros(3, 7)) == pytest.approx(math.log(7))
    assert traits.entropy(torch.tensor([[1e3, 0.0, 0.0]])) == pytest.approx(0)
    logits = drawn(20, 5)
    p = logits.softmax(1)
    assert traits.entropy(logits) == pytest.approx(-sum(float((row * row.log()).sum()) for row in p) / 20)


def test_the_ratio_is_that_of_the_middle_image() -> None:
    rows = torch.tensor([[4.0, 2, -9], [9.0, 3, 1], [5.0, 1e-9, 0]])
    assert traits.logit_ratio(rows) == pytest.approx(3)
    assert traits.logit_ratio(7 * rows) == pytest.approx(3)


def test_self_similarity_is_the_mean_over_pairs_of_images() -> None:
    x = drawn(9, 4)
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    literal = sum(float(torch.cosine_similarity(x[i], x[j], dim=0)) for i, j in pairs) / len(pairs)
    assert traits.self_similarity(x) == pytest.approx(literal)
    assert traits.self_similarity(torch.ones(5, 3)) == pytest.approx(1)


def test_cka_by_its_kernels() -> None:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with centred linear kernels."""
    x, y = drawn(30, 6), drawn(30, 4, seed=1)
    h = torch.eye(30, dtype=torch.float64) - 1 / 30
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    assert traits.cka(x, y) == pytest.approx(float((k * m).sum() / (k.norm() * m.norm())))
    turn = torch.linalg.qr(drawn(6, 6, seed=2)).Q
    assert traits.cka(x, 3 * x @ turn + 5) == pytest.approx(1)


def test_images_are_those_of_scoring() -> None:
    data = Data("digits", 32)
    model = create_model("resnet_nano_32", 10, (32, 32)).eval()
    split = load(data, Path("data")).val
    logits, features, labels = traits.seen(model, split, data, len(split))
    assert 100 * float((logits.argmax(1) == labels).double().mean()) == pytest.approx(
        evaluate(model, split, data, 64).score
    )
    assert torch.allclose(model.get_classifier()(features), logits, atol=1e-5)
    few = traits.seen(model, split, data, 50)
    assert 25 < len(few[0]) <= 50 and torch.equal(few[2], split.labels[:: -(-len(split) // 50)])
