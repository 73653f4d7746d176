"""DAFA: a policy that learns how to augment a teacher's maps for a student (SoKD, arXiv 2409.18785)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.counter import hash64, uniform
from pat.feature_ops import RANGES, operate
from pat.losses import full_precision

TEMPERATURE = 0.5
"""Of both relaxations."""
CHOICE, APPLY = range(2)


class FeaturePolicy(nn.Module):
    """Maps of a step -> the same maps after two operations in turn, by a sub-policy that is drawn for the step.

    A sub-policy is a pair of the nine operations of `pat.feature_ops`, each with a probability of being applied and a
    magnitude. It is chosen by the Gumbel trick and applied by relaxed Bernoulli draws, both hard in the forward pass
    and soft in the backward one (straight through). The three are logits that start at 0, where all sub-policies are
    alike and probabilities and magnitudes are 1/2 (as published); weight decay draws them there.

    Nothing waits for the device: all operations are one function, of nine amounts of which one is not 0.
    """

    ranges: Tensor

    def __init__(self) -> None:
        super().__init__()
        pairs = torch.tensor([*itertools.combinations(range(len(RANGES)), 2)])  # [36, 2]
        self.choice = nn.Parameter(torch.zeros(len(pairs)))
        self.probability = nn.Parameter(torch.zeros(pairs.shape))
        self.magnitude = nn.Parameter(torch.zeros(pairs.shape))
        ranges = torch.tensor([*RANGES.values()])
        self.register_buffer("ranges", F.one_hot(pairs, len(RANGES)) * ranges, persistent=False)  # [36, 2, 9]

    def forward(self, maps: Sequence[Tensor], key: Tensor, indices: Tensor) -> list[Tensor]:
        """Maps [B, C, H, W] of any sizes, float. All draws are functions of `key` (of run and step) and, image by
        image, of `indices` [B]; they are the same for all maps."""
        with full_precision(maps[0]):
            chosen, applied = self._draw(key)
            amounts = torch.einsum("k,kp,kpo->po", chosen, self.magnitude.float().sigmoid(), self.ranges)
            gates = chosen @ applied
            augmented = [x.float() for x in maps]
            for place in range(2):
                own = hash64(key, place)
                augmented = [x + gates[place] * (operate(x, amounts[place], own, indices) - x) for x in augmented]
        return augmented

    def entropy(self) -> Tensor:
        """Of the choice of a sub-policy, in nats; log 36 at the start."""
        return -(self.choice.float().softmax(0) * self.choice.float().log_softmax(0)).sum()

    def _draw(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """The choice, one-hot [36], and what is applied of each sub-policy, 0 or 1 [36, 2]; soft in their gradients."""
        numbers = torch.arange(self.probability.numel(), device=key.device)
        tiny = torch.finfo(torch.float32).tiny
        u = uniform(key, CHOICE, numbers[: len(self.choice)]).clamp(tiny, 1 - 1e-7).to(self.choice)
        scores = self.choice - (-u.log()).log()
        best = F.one_hot(scores.argmax(), len(scores))
        v = uniform(key, APPLY, numbers).clamp(tiny, 1 - 1e-7).to(self.probability).view_as(self.probability)
        odds = self.probability + v.logit()
        soft = (scores / TEMPERATURE).softmax(0), (odds / TEMPERATURE).sigmoid()
        return _hard(best, soft[0]), _hard(odds > 0, soft[1])


def _hard(value: Tensor, soft: Tensor) -> Tensor:
    """`value` to the bit, with the gradient of `soft`."""
    return value.to(soft) + (soft - soft.detach())
