"""The losses, the Noise2Noise identity, PSNR and its estimate without clean images."""

import math

import numpy
import pytest
import torch
from helpers import noisy_pairs, seeded
from skimage.metrics import peak_signal_noise_ratio
from torch.nn.functional import avg_pool2d

from Miniproject_1.model import LEAST_VARIANCE, LOSSES, Noise, estimate_psnr, psnr

ONE = torch.ones(1, 3, 1, 1)
# of variance 0.01 + 0.04 x
NOISE = Noise(torch.tensor(0.02), torch.stack((0.01 * ONE, 0.04 * ONE, 0 * ONE)), darkest=0 * ONE,
              brightest=ONE, floor=torch.tensor(1e-4))


def smoothed(images):
    return avg_pool2d(images, 3, 1, 1, count_include_pad=False)


def test_losses_of_a_known_error():
    """An error of 0.1 in half of the first image, of 0.2 in all of the second."""
    target = torch.full((2, 3, 4, 4), 0.5)
    denoised = target.clone()
    denoised[0, :, :2] += 0.1
    denoised[1] -= 0.2
    value = {name: loss(denoised, target, NOISE).item() for name, loss in LOSSES.items()}
    # float32, 6e-8 of 0.5 in errors of 0.1: a few parts in a million
    assert value["mse"] == pytest.approx((0.005 + 0.04) / 2, rel=1e-5)
    assert value["l1"] == pytest.approx((0.05 + 0.2) / 2, rel=1e-5)
    assert value["log"] == pytest.approx(math.log(0.0051 * 0.0401) / 2, rel=1e-5)
    # where the network says 0.6, 0.5 and 0.3, the variance is 0.034, 0.03 and 0.022
    weighted = (0.5 * 0.01 * 0.02 / 0.034 + 0.04 * 0.02 / 0.022) / 2
    assert value["weighted"] == pytest.approx(weighted, rel=1e-5)


def test_the_weights_of_a_loss_are_not_learnt():
    """Else the network could lower the loss by calling pixels bright, hence noisy."""
    target = torch.full((1, 3, 4, 4), 0.5)
    denoised = torch.full_like(target, 0.4).requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES["weighted"](denoised, target, NOISE), denoised)
    expected = 2 * -0.1 * 0.02 / 0.026 / target.numel()
    torch.testing.assert_close(gradient, torch.full_like(target, expected))


# ---- what the pairs tell of their noise --------------------------------------------------------


def counts(generator, strength=0.02):
    """Two copies of 200 smooth images in 0.1-0.9 whose noise has the variance strength * x."""
    _, _, clean = noisy_pairs(200, seed=3)
    clean = (clean - 64) / 160 + 0.1
    noise = torch.randn(2, *clean.shape, generator=generator) * (strength * clean).sqrt()
    return clean + noise[0], clean + noise[1]


def test_the_variance_of_noise_is_told_by_the_brightness():
    noise = Noise.of_pairs(*counts(seeded()), 0.01)
    x = torch.linspace(0.2, 0.8, 7).view(1, 1, 1, -1).expand(1, 3, 1, 7)
    torch.testing.assert_close(noise.variance_at(x), 0.02 * x, rtol=0.05, atol=0)
    torch.testing.assert_close(noise.floor, 0.01 * noise.variance)


def test_the_variance_goes_on_beyond_the_values_that_were_seen():
    """A parabola that is fitted to a few flat images may lead anywhere."""
    a, b = counts(seeded())
    dim_a, dim_b = (0.3 + 0.01 * copies[:2] for copies in (a, b))
    noise = Noise.of_pairs(dim_a, dim_b, 0.01)
    ends = torch.tensor([-100.0, 0.0, 1.0, 100.0]).view(1, 1, 1, -1).expand(1, 3, 1, 4)
    variances = noise.variance_at(ends)
    assert torch.equal(variances[..., 0], variances[..., 1])
    assert torch.equal(variances[..., 2], variances[..., 3])
    assert (variances >= LEAST_VARIANCE * noise.variance).all()
    assert (variances < 5 * noise.variance).all()


def test_hot_pixels_do_not_set_the_curve():
    a, b = counts(seeded())
    for copies in (a, b):
        copies[::50, :, 3, 3] = 20.0
    noise = Noise.of_pairs(a, b, 0.01)
    x = torch.linspace(0.3, 0.7, 5).view(1, 1, 1, -1).expand(1, 3, 1, 5)
    torch.testing.assert_close(noise.variance_at(x), 0.02 * x, rtol=0.1, atol=0)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 7)])
def test_flat_images_without_noise_have_a_variance_too(shape):
    flat = torch.full(shape, 0.5)
    noise = Noise.of_pairs(flat, flat, 0.01)
    assert (noise.variance_at(flat) > 0).all() and noise.floor > 0


def test_noise2noise_identity():
    """E|f(a) - b|^2 = E|f(a) - x|^2 + E|b - x|^2 if b is unbiased, whatever a is; else not."""
    a, b, clean = (images.double() for images in noisy_pairs(400))
    denoised = smoothed(a)
    left = (denoised - b).square().mean()
    right = (denoised - clean).square().mean() + (b - clean).square().mean()
    # The difference is a mean of 2 (f(a) - x)(x - b), whose n values have mean 0 given a.
    deviation = 2 * ((denoised - clean) * (clean - b)).std() / math.sqrt(b.numel())
    assert abs(left - right) < 5 * deviation
    biased = b + 10
    assert abs((denoised - biased).square().mean() - right) > 50 * deviation


def test_noisy_targets_have_the_gradient_of_clean_ones():
    """Of the squared error, over 2,000 targets whose noise depends on the pixel."""
    generator = seeded()
    denoised, clean = torch.rand(2, 1, 3, 4, 4, generator=generator)
    denoised.requires_grad_()
    scale = torch.rand(1, 1, 4, 4, generator=generator) / 2
    targets = clean + scale * torch.randn(2_000, 1, 3, 4, 4, generator=generator)

    def gradient(target):
        return torch.autograd.grad(LOSSES["mse"](denoised, target, NOISE), denoised)[0]

    gradients = torch.stack([gradient(target) for target in targets])
    deviation = gradients.std(0) / math.sqrt(len(targets))
    # 48 values: P(any |z| > 5) = 3e-5
    assert ((gradients.mean(0) - gradient(clean)).abs() < 5 * deviation).all()


def test_psnr_agrees_with_scikit_image():
    a, _, clean = noisy_pairs(5)
    expected = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=255)
                for x, y in zip(clean, a, strict=True)]
    assert psnr(a, clean) == pytest.approx(numpy.mean(expected), abs=1e-4)  # float32 there


def test_psnr_of_a_known_error():
    clean = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    denoised = torch.zeros_like(clean)
    denoised[0], denoised[1] = 255, 51  # errors of 1 and 1/5; the third image has none: 100 dB
    expected = (0 + 20 * math.log10(5) + 100) / 3
    assert psnr(denoised, clean) == pytest.approx(expected)
    assert psnr(denoised.float(), clean) == pytest.approx(expected)


def test_psnr_does_not_broadcast():
    with pytest.raises(ValueError, match=r"4, 3, 2, 2.*1, 3, 2, 2"):
        psnr(torch.zeros(4, 3, 2, 2), torch.zeros(1, 3, 2, 2))


def test_the_estimate_agrees_with_the_true_pooled_psnr():
    a, b, clean = (images.double() / 255 for images in noisy_pairs(1_000))
    f_a, f_b = smoothed(a), smoothed(b)
    true = ((f_a - clean).square() + (f_b - clean).square()).mean().item() / 2
    # estimate - true is the mean of this, which has mean 0; images are independent
    rest = (f_a - clean) * (clean - b) + (f_b - clean) * (clean - a) + (a - clean) * (b - clean)
    deviation = rest.mean(dim=(1, 2, 3)).std().item() / math.sqrt(len(a))
    estimate = estimate_psnr(255 * f_a, 255 * f_b, 255 * a, 255 * b)
    tolerance = 5 * deviation / true * 10 / math.log(10)  # in dB
    assert tolerance < 0.2  # smoothing gains 8
    assert estimate == pytest.approx(-10 * math.log10(true), abs=tolerance)


def test_the_estimate_is_infinite_where_no_error_is_left():
    a, b, _ = noisy_pairs(4)
    assert estimate_psnr(b, a, a, b) == math.inf
