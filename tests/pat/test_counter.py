"""Counter-based random numbers on devices: `meta` stands for one, since what leaves it is an error."""

from __future__ import annotations

import torch

from pat.counter import hash64, uniform


def test_draws_stay_on_the_device_of_their_keys() -> None:
    indices = torch.arange(3, device="meta")
    draw = torch.arange(10, device="meta")
    assert uniform(1, 2, indices, 3).device.type == "meta"
    assert uniform(1, 2, indices[:, None], 3, draw).shape == (3, 10)


def test_the_place_of_a_key_among_numbers_does_not_move_the_draws() -> None:
    assert hash64(5, torch.arange(3), 7).tolist() == [int(hash64(5, index, 7)) for index in range(3)]
