"""The noise: one source pixel per cell, uniform, unbiased, independent."""

import math

import torch
from helpers import seeded
from samples import source_pixels

from Miniproject_1.others.noise import cell_mean, clean_clean, noisy_clean, noisy_noisy, pixelate


def test_a_noisy_pixel_is_one_source_pixel_of_its_cell_with_all_channels():
    sources = torch.randint(256, (3, 3, 40, 24), dtype=torch.uint8, generator=seeded())
    noisy = pixelate(sources, seeded(1))
    assert noisy.shape == (3, 3, 5, 3) and noisy.dtype == torch.uint8
    assert (source_pixels(sources) == noisy[..., None]).all(1).any(-1).all()


def test_cells_of_another_side():
    sources = torch.arange(36.0).view(1, 1, 6, 6)
    noisy = pixelate(sources, seeded(), cell=3)
    cells = sources.unfold(2, 3, 3).unfold(3, 3, 3).flatten(4)  # 1 x 1 x 2 x 2 x 9
    assert noisy.shape == (1, 1, 2, 2)
    assert (cells == noisy[..., None]).any(-1).all()


def test_draws_are_uniform_over_the_cell():
    draws = 64_000
    sources = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).expand(draws, -1, -1, -1)
    counts = torch.bincount(pixelate(sources, seeded()).flatten().long(), minlength=64)
    # Each count is binomial with mean 1000 and deviation sqrt(1000 * 63/64) = 31.4;
    # 5 deviations for 64 counts.
    assert (counts - 1000).abs().max() < 5 * 31.4


def test_draws_are_unbiased_and_independent():
    draws = 20_000
    scene = torch.randint(256, (1, 3, 16, 16), generator=seeded()).float()
    first, second = noisy_noisy(scene.expand(draws, -1, -1, -1), seeded(1))
    cells = source_pixels(scene)
    mean, deviation = cells.mean(-1), cells.std(-1, unbiased=False)
    a, b = (first - mean) / deviation, (second - mean) / deviation  # mean 0, variance 1
    # Means of 20,000 such values have deviation 1 / sqrt(20,000);
    # 5 of them leave a false alarm below 1e-4.
    tolerance = 5 / math.sqrt(draws)
    assert a.mean(0).abs().max() < tolerance
    assert b.mean(0).abs().max() < tolerance
    assert (a * b).mean(0).abs().max() < tolerance  # between the copies
    assert (a[..., 0, 0] * a[..., 0, 1]).mean(0).abs().max() < tolerance  # between neighbours
    assert (a[..., 0, 0] * a[..., 1, 0]).mean(0).abs().max() < tolerance


def test_clean_is_the_rounded_mean_of_the_cell():
    sources = torch.randint(256, (2, 3, 16, 24), dtype=torch.uint8, generator=seeded())
    clean = cell_mean(sources)
    expected = source_pixels(sources).double().mean(-1)
    assert clean.dtype == torch.uint8
    assert (clean - expected).abs().max() <= 0.5


def test_validation_and_target_pairs_hold_the_clean_image():
    sources = torch.randint(256, (2, 3, 16, 24), dtype=torch.uint8, generator=seeded())
    clean = cell_mean(sources)
    noisy, second = noisy_clean(sources, seeded(1))
    assert torch.equal(noisy, pixelate(sources, seeded(1))) and torch.equal(second, clean)
    assert all(torch.equal(image, clean) for image in clean_clean(sources, seeded()))
