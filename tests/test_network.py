"""The U-Net: sizes, symmetries, what it sees, and that other layers fit into it."""

import pytest
import torch
from helpers import noisy_pairs, quick_model, randomise, seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Miniproject_1.model import ResidualBlock, UNet, psnr


def small_net() -> UNet:
    return randomise(UNet(channels=3, widths=(8, 16), blocks=1))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(height=st.integers(1, 19), width=st.integers(1, 19), depth=st.integers(1, 4),
       blocks=st.integers(0, 2))
def test_it_takes_any_size(height, width, depth, blocks):
    net = UNet(channels=2, widths=(4, 6, 8, 10)[:depth], blocks=blocks)
    image = torch.rand(2, 2, height, width, generator=seeded())
    assert net(image).shape == image.shape


def test_it_starts_as_the_identity():
    net = UNet(channels=3, widths=(8, 16), blocks=1)
    image = torch.rand(1, 3, 8, 8, generator=seeded())
    torch.testing.assert_close(net(image), image, rtol=0, atol=1e-7)  # 1/2 is taken off and added


def test_it_scales_with_the_contrast_about_mid_grey():
    net = small_net()
    image = torch.rand(1, 3, 7, 9, generator=seeded()) * 4 - 2
    output = net(0.5 + image) - 0.5
    assert output.abs().max() > 1  # nothing clips or squashes it
    # A hundred roundings of 6e-8 in values of about 3.
    torch.testing.assert_close(net(0.5 + 0.3 * image) - 0.5, 0.3 * output, rtol=0, atol=2e-5)


def test_its_blocks_share_no_weights_and_all_of_them_count():
    net = small_net()
    net(torch.rand(1, 3, 8, 8, generator=seeded())).square().sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in net.parameters())
    blocks = [module for module in net.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 3  # 2 levels down, 1 up; modules() names a shared one once


@pytest.mark.parametrize("widths, blocks",
                         [((4, 4), 2), ((4,), 1), ((4, 4, 4), 6), ((4, 4, 4, 4), 1)])
def test_its_reach_bounds_what_an_output_sees(widths, blocks):
    net = randomise(UNet(channels=1, widths=widths, blocks=blocks)).double()
    for middle in (128, 129, 135):  # the grid of the coarser levels makes pixels differ
        image = torch.rand(1, 1, 256, 256, generator=seeded(), dtype=torch.float64)
        image.requires_grad_()
        net(image)[..., middle, middle].sum().backward()
        seen = (image.grad[0, 0].nonzero() - middle).abs().max()
        assert net.reach / 2 < seen <= net.reach  # a bound, and not a wasteful one


class NormalisedBlock(nn.Module):
    """As somebody who knows other networks would write it: with BatchNorm and biases."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x):
        return x + self.layers(x)


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_blocks_with_biases_and_batchnorm_train(optimizer):
    """It gains 1.8 dB or more; with BatchNorm's initial statistics the trained net would lose."""
    a, b, clean = noisy_pairs(96)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = quick_model(optimizer=optimizer, vector_rate=1.0)
        for levels in (model.net.encoders, model.net.decoders):
            for level, width in zip(levels, model.recipe.widths, strict=False):
                level[0] = NormalisedBlock(width)
    model.net.eval()
    model.train(a, b, 8, progress=False)
    norm = model.net.encoders[0][0].layers[1]
    assert norm.bias.any() and norm.running_mean.any()
    denoised = model.predict(a)
    assert psnr(denoised, clean) > psnr(a, clean) + 1 and not denoised.requires_grad
