"""Turns, directions and tiles: what training makes of the pairs."""

import math

import pytest
import torch
from helpers import seeded

from Miniproject_1.model import Dataset, directions, tile_side, tiles, turn


def pixels(images):
    """The values of each image, in order of size."""
    return images.flatten(1).sort().values


def test_turn_gives_each_of_the_eight_views_equally_often():
    count = 8_000
    a = torch.arange(4.0).view(1, 1, 2, 2).expand(count, 1, 2, 2)
    turned, = turn((a,), seeded())
    views, numbers = turned.flatten(1).unique(dim=0, return_counts=True)
    assert len(views) == 8
    deviation = math.sqrt(count * 1 / 8 * 7 / 8)  # binomial
    assert (numbers - count / 8).abs().max() < 4.5 * deviation  # 8 x P(|z| > 4.5) = 5e-5


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_turn_moves_all_copies_of_a_scene_alike(copies):
    scenes = torch.randint(80, (64, 3, 8, 8), dtype=torch.uint8, generator=seeded())
    turned = turn(tuple(scenes + 80 * i for i in range(copies)), seeded())
    assert len(turned) == copies and turned[0].dtype == torch.uint8
    assert not torch.equal(turned[0], scenes) and torch.equal(pixels(turned[0]), pixels(scenes))
    for i, images in enumerate(turned):
        assert torch.equal(images, turned[0] + 80 * i)


def test_turn_keeps_the_shape_of_images_that_are_not_square():
    a = torch.arange(6.0).view(1, 1, 2, 3).expand(200, 1, 2, 3)
    turned, negative = turn((a, -a), seeded())
    assert turned.shape == a.shape and torch.equal(negative, -turned)
    assert len(turned.flatten(1).unique(dim=0)) == 4  # each is missing with 200 x log(3/4) = -58


A, B, CLEAN = torch.rand(3, 20, 3, 4, 4, generator=seeded())


@pytest.mark.parametrize("clean, target_a, target_b", [(None, B, A), (CLEAN, CLEAN, CLEAN)])
def test_both_directions(clean, target_a, target_b):
    source, target = directions(A, B, clean, "both", seeded())
    assert torch.equal(source, torch.cat((A, B)))
    assert torch.equal(target, torch.cat((target_a, target_b)))


@pytest.mark.parametrize("clean, expected", [(None, B), (CLEAN, CLEAN)])
def test_one_direction(clean, expected):
    source, target = directions(A, B, clean, "none", seeded())
    assert torch.equal(source, A) and torch.equal(target, expected)


def test_a_random_direction_has_probability_one_half():
    count = 4_000
    a = torch.rand(count, 1, 2, 2, generator=seeded())
    source, target = directions(a, -a, None, "random", seeded())
    assert torch.equal(target, -source)
    forward = (source == a).all(dim=(1, 2, 3)).sum()
    assert abs(forward - count / 2) < 4.5 * math.sqrt(count / 4)  # binomial; P = 7e-6


def test_a_random_direction_keeps_clean_targets():
    source, target = directions(A, B, CLEAN, "random", seeded())
    assert torch.equal(target, CLEAN)
    assert {image.sum().item() for image in source} & {image.sum().item() for image in B}


@pytest.mark.parametrize("height, width, count", [(64, 64, 1), (30, 20, 1), (65, 64, 1),
                                                  (200, 130, 6), (20, 130, 2)])
def test_tiles_do_not_overlap(height, width, count):
    image = torch.arange(height * width).view(1, 1, height, width)
    cut = tiles(image, 64)
    assert cut.shape == (count, 1, min(height, 64), min(width, 64))
    assert len(cut.unique()) == cut.numel()


@pytest.mark.parametrize("length, side", [(64, 64), (100, 50), (66, 64), (130, 64), (160, 53)])
def test_the_side_of_tiles_leaves_out_few_pixels(length, side):
    assert tile_side([(length, length)], 64) == side
    assert (length // side * side / length) ** 2 > 0.9


def test_held_out_pairs_share_no_pixel_with_those_trained_on():
    images = torch.arange(30.0 * 66 * 66).view(30, 1, 66, 66)
    dataset = Dataset((images, images), 64, torch.device("cpu"), memory=10**9)
    held = dataset.hold_out(1_000)
    trained = dataset.at(dataset.index).a
    assert len(trained) + len(held) == 30 and len(held) > 0
    assert not torch.isin(held.a, trained).any()


def test_swapped_pixels_are_of_either_copy_and_never_of_both():
    """Each pixel, with all its channels, has its two copies in source and target."""
    a, b = torch.rand(2, 50, 3, 8, 8, generator=seeded())
    source, target = directions(a, b, None, "pixels", seeded())
    assert source.shape == target.shape == (100, 3, 8, 8)
    first, second = source[:50], target[:50]
    of_a, of_b = (first == a).all(1), (first == b).all(1)
    assert (of_a ^ of_b).all()
    torch.testing.assert_close(second, a + b - first)
    assert torch.equal(source[50:], second) and torch.equal(target[50:], first)
    # 3,200 coins: 0.5 and a deviation of 0.009
    assert abs(of_a.double().mean().item() - 0.5) < 0.05


def test_swapped_pixels_leave_clean_targets_alone():
    a, b, clean = torch.rand(3, 4, 3, 8, 8, generator=seeded())
    source, target = directions(a, b, clean, "pixels", seeded())
    assert torch.equal(target, torch.cat((clean, clean)))
    assert torch.equal(source[:4] + source[4:], a + b)
