from __future__ import annotations

import pytest
import torch

from espalier.examples.augment import flip, shift


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_moves_as_a_whole_by_at_most_the_pixels_given(dtype: torch.dtype) -> None:
    images = torch.zeros(200, 2, 7, 9, dtype=dtype)
    images[:, 0, 3, 4] = 5
    images[:, 1, 3, 5] = 7
    moved = shift(images, generator(), pixels=2)
    assert moved.shape == images.shape
    assert moved.dtype == dtype
    first, second = moved[:, 0].nonzero(), moved[:, 1].nonzero()
    assert len(first) == len(second) == 200
    assert torch.equal(second[:, 1:] - first[:, 1:], torch.tensor([[0, 1]]).expand(200, 2))
    assert set((first[:, 1] - 3).tolist()) == set((first[:, 2] - 4).tolist()) == {-2, -1, 0, 1, 2}


def test_what_leaves_the_image_is_lost_and_zeros_come_in() -> None:
    images = torch.ones(100, 1, 4, 4)
    sums = shift(images, generator(), pixels=1).sum((1, 2, 3))
    assert set(sums.tolist()) == {9.0, 12.0, 16.0}


def test_about_half_the_images_are_mirrored_from_left_to_right() -> None:
    images = torch.arange(12.0).reshape(1, 1, 3, 4).expand(400, 1, 3, 4)
    flipped = flip(images, generator())
    mirrored = (flipped == images.flip(3)).all(3).all(2).all(1)
    kept = (flipped == images).all(3).all(2).all(1)
    assert bool((mirrored ^ kept).all())
    assert 150 < int(mirrored.sum()) < 250


@pytest.mark.parametrize("change", [flip, lambda x, g: shift(x, g, pixels=1)])
def test_all_randomness_comes_from_the_generator(change) -> None:
    images = torch.rand(50, 1, 8, 8, generator=generator(3))
    state = torch.random.get_rng_state()
    assert torch.equal(change(images, generator()), change(images, generator()))
    assert not torch.equal(change(images, generator()), change(images, generator(1)))
    assert torch.equal(torch.random.get_rng_state(), state)
