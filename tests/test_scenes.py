"""The generated scenes look, in figures, like photos."""

import pytest
import torch
from helpers import seeded
from samples import source_pixels
from torch import Tensor

from Miniproject_1.others.noise import SOURCE
from Miniproject_1.others.scenes import scenes


@pytest.fixture(scope="module")
def some_scenes() -> Tensor:
    return scenes(64, seeded())


def test_shape_and_dtype(some_scenes):
    assert some_scenes.shape == (64, 3, SOURCE, SOURCE) and some_scenes.dtype == torch.uint8


def test_scenes_have_a_natural_power_spectrum(some_scenes):
    grey = some_scenes.float().mean(1)
    window = torch.hann_window(SOURCE, periodic=False)  # no jump from one border to the opposite
    grey = (grey - grey.mean((1, 2), keepdim=True)) * window * window[:, None]
    power = torch.fft.fft2(grey).abs().square().mean(0)
    frequency = torch.fft.fftfreq(SOURCE, 1 / SOURCE)
    radius = (frequency.square() + frequency[:, None].square()).sqrt().round().long().flatten()
    total = torch.zeros(int(radius.max()) + 1).index_add_(0, radius, power.flatten())
    radial = total / radius.bincount()
    octaves = torch.logspace(1, 6.5, 23, base=2).round().long().unique()  # 2 to 91 periods
    x, y = octaves.log(), radial[octaves].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    # Natural images: power ~ 1 / f^2, the exponents of data sets spread by about half.
    # White noise has slope 0; shapes of one size have -3 beyond their own frequency.
    assert -2.5 < slope < -1.5


def test_scenes_have_the_noise_of_the_benchmark(some_scenes):
    source = source_pixels(some_scenes).double() / 255
    mse = source.var(-1, unbiased=False).mean((1, 2, 3))  # the expectation over the draws
    # The deviation of an image is 2.9 dB, of the mean of 64 thus 0.36 dB;
    # the scenes may be off by the rest.
    assert (-10 * mse.log10()).mean() == pytest.approx(20.84, abs=1)
    assert -10 * mse.mean().log10() == pytest.approx(19.99, abs=1)


def test_scenes_are_varied(some_scenes):
    means = some_scenes.float().mean((2, 3))
    assert means.std(0).min() > 15 and 100 < means.mean() < 150
    assert some_scenes.flatten(1).unique(dim=0).shape[0] == 64


def test_scenes_depend_on_the_generator_alone():
    assert torch.equal(scenes(3, seeded(5)), scenes(3, seeded(5)))
    assert not torch.equal(scenes(3, seeded(5)), scenes(3, seeded(6)))
