"""The core: U-Net, augmentation, loss identity, PSNR, `Model`."""

import copy
import itertools
import math
import os
import pickle
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Miniproject_1 import Model, model
from Miniproject_1.model import Muon, UNet, augment, estimate_psnr, noise2noise_loss, psnr, tiles
from Miniproject_1.others import pixelate

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"widths": (8, 16), "blocks": 1}


@pytest.fixture
def small_steps(monkeypatch):
    """Constants with which a training of a few dozen steps gets somewhere."""
    monkeypatch.setattr(model, "BATCH", 16)
    monkeypatch.setattr(model, "RATE", 1e-2)
    monkeypatch.setattr(model, "SHORT", (1, 1))
    monkeypatch.setattr(model, "EMA", 0.9)


def noisy_pairs(count: int, seed: int = 0, side: int = 16, sigma: float = 25.0):
    """(a, b, clean): smooth random images in 64-192, float32, with Gaussian noise that stays inside 0-255."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * 128 + 64
    clean = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    a, b = ((clean + sigma * torch.randn(clean.shape, generator=generator).clamp(-2.5, 2.5)) for _ in range(2))
    return a, b, clean


def small_model(**arguments) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(**{**SMALL, **arguments})


def randomised(net: UNet, seed: int = 0) -> UNet:
    """`net` with no weight left at zero, so that it is far from the identity."""
    generator = torch.Generator().manual_seed(seed)
    for weight in net.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    return net


# --------------------------------------------------------------------------------------------------- U-Net
@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 21), width=st.integers(1, 21), depth=st.integers(1, 4), blocks=st.integers(0, 2))
def test_unet_takes_any_size_and_shape(height, width, depth, blocks):
    net = UNet(channels=2, widths=(4, 6, 8, 10)[:depth], blocks=blocks)
    image = torch.randn(2, 2, height, width)
    assert net(image).shape == image.shape


def test_unet_starts_as_the_identity_and_has_a_linear_output():
    net, image = UNet(), torch.randn(1, 3, 8, 8)
    assert torch.equal(net(image), image)
    output = randomised(UNet(**SMALL))(100 * image)
    assert output.min() < -1 and output.max() > 1  # nothing squashes or clips it


def test_unet_scales_with_the_contrast():
    net, image = randomised(UNet(**SMALL)), torch.randn(1, 3, 7, 9)
    torch.testing.assert_close(net(0.3 * image), 0.3 * net(image))


def test_unet_shares_no_weights_between_blocks_and_uses_all():
    net = randomised(UNet(**SMALL))
    net(torch.randn(1, 3, 8, 8)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters())
    blocks = [module for module in net.modules() if isinstance(module, model.ResidualBlock)]
    assert len(blocks) == 3  # 1 block x (2 encoders + 1 decoder); modules() names a shared one once


# -------------------------------------------------------------------------------------------- augmentation
def test_augment_gives_each_of_the_sixteen_outcomes_equally_often():
    count = 8_000
    a = torch.arange(4.0).reshape(1, 1, 2, 2).expand(count, 1, 2, 2)
    source, target = augment(a, a + 4, torch.Generator().manual_seed(0))
    outcomes, numbers = torch.cat((source, target), 1).flatten(1).unique(dim=0, return_counts=True)
    assert len(outcomes) == 16
    expected = count / 8  # of each turn, in either direction
    assert (numbers - expected).abs().max() < 4.5 * math.sqrt(expected)  # binomial; 8 x P(|z| > 4.5) = 5e-5


def test_augment_gives_each_pair_in_both_directions():
    a, b = torch.rand(2, 20, 3, 8, 8)
    source, target = augment(a, b, torch.Generator().manual_seed(0))
    assert len(source) == len(target) == 40
    assert torch.equal(source[:20], target[20:]) and torch.equal(source[20:], target[:20])
    assert torch.equal(source[:20].flatten(1).sort().values, a.flatten(1).sort().values)


def test_augment_moves_both_copies_alike():
    a = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    source, target = augment(a, 255 - a, torch.Generator().manual_seed(0))
    assert source.dtype == torch.uint8
    assert torch.equal(source, 255 - target)


def test_augment_keeps_the_shape_of_images_that_are_not_square():
    a = torch.rand(64, 1, 2, 3)
    source, target = augment(a, -a, torch.Generator().manual_seed(0))
    assert source.shape == (128, 1, 2, 3) and torch.equal(source, -target)
    assert torch.equal(source[:64].flatten(1).sort().values, a.flatten(1).sort().values)


@pytest.mark.parametrize("height, width, count", [(64, 64, 1), (30, 20, 1), (65, 64, 2), (200, 130, 12), (20, 130, 3)])
def test_tiles_cover_the_image(height, width, count):
    image = torch.arange(height * width).reshape(1, 1, height, width)
    cut = tiles(image)
    assert cut.shape == (count, 1, min(height, 64), min(width, 64))
    assert torch.equal(cut.unique(), image.flatten())


# -------------------------------------------------------------------------------------------- loss and PSNR
def test_noise2noise_identity():
    """E|f(a) - b|^2 = E|f(a) - x|^2 + E|b - x|^2 for unbiased b, independent of a; and not for a biased one."""
    a, b, clean = (image.double() for image in noisy_pairs(400, side=32))
    denoised = torch.nn.functional.avg_pool2d(a, 3, 1, 1)
    left = (denoised - b).square().mean()
    right = (denoised - clean).square().mean() + (b - clean).square().mean()
    # The difference is the mean of 2 (f(a) - x)(x - b) over n values, independent given a, of mean 0.
    error = 2 * ((denoised - clean) * (clean - b)).std() / math.sqrt(b.numel())
    assert abs(left - right) < 5 * error
    biased = b + 10
    assert abs((denoised - biased).square().mean() - right) > 50 * error


def test_psnr_agrees_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio
    a, _, clean = noisy_pairs(5)
    expected = [peak_signal_noise_ratio(c.numpy(), n.numpy(), data_range=255) for n, c in zip(a, clean, strict=True)]
    assert psnr(a, clean) == pytest.approx(sum(expected) / 5, abs=1e-4)


def test_psnr_does_not_broadcast():
    with pytest.raises(ValueError, match="equal shapes"):
        psnr(torch.zeros(4, 3, 2, 2), torch.zeros(1, 3, 2, 2))


def test_psnr_of_a_known_error():
    clean = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    noisy = torch.stack((torch.full((3, 4, 4), 255), torch.full((3, 4, 4), 51)))  # errors of 1 and 1/5
    assert psnr(noisy, clean) == pytest.approx((0 + 20 * math.log10(5)) / 2)
    assert psnr(noisy.to(torch.uint8), clean) == psnr(noisy, clean)


def test_clean_free_estimate_agrees_with_the_true_pooled_psnr():
    """Within 0.05 dB on 1,000 generated images, for a denoiser that really removes noise."""
    generator = torch.Generator().manual_seed(0)
    parts = [pixelated(pixelate.scenes(50, generator), generator) for _ in range(20)]
    a, b, clean = (torch.cat(images) for images in zip(*parts, strict=True))
    f_a, f_b = (torch.nn.functional.avg_pool2d(noisy, 3, 1, 1, count_include_pad=False) for noisy in (a, b))
    mse = ((f_a - clean).square().mean() + (f_b - clean).square().mean()) / 2 / 255**2
    estimate = estimate_psnr(f_a, f_b, a, b)
    assert estimate == pytest.approx(-10 * mse.log10().item(), abs=0.05)
    noise = (a - clean).square().mean() / 255**2
    assert estimate > -10 * noise.log10().item() + 0.5  # it is the denoised error that is estimated


def pixelated(scenes: torch.Tensor, generator: torch.Generator):
    """(a, b, clean) as float64 from N x 3 x 256 x 256 scenes, written independently of pixelate.py."""
    cells = scenes.reshape(-1, 3, 32, 8, 32, 8).permute(0, 1, 2, 4, 3, 5).reshape(-1, 3, 32, 32, 64).double()

    def draw():
        index = torch.randint(64, (len(scenes), 1, 32, 32, 1), generator=generator).expand(-1, 3, -1, -1, -1)
        return cells.gather(4, index)[..., 0]

    return draw(), draw(), cells.mean(4)


# ------------------------------------------------------------------------------------- loss and optimizer
def test_loss_of_a_known_error():
    """A flat source has equal weights: log(floor + mse); an error counts less where the source is rough."""
    flat, error = torch.full((2, 3, 16, 16), 0.5), torch.zeros(2, 3, 16, 16)
    error[0, :, :, :5], error[1] = 0.1, 0.2
    expected = ((0.01 * 5 / 16 + model.LOSS_FLOOR) * (0.04 + model.LOSS_FLOOR)) ** 0.5
    assert noise2noise_loss(flat + error, flat, flat).exp().item() == pytest.approx(expected, rel=1e-5)
    rough = flat.clone()
    rough[0, :, :, :5:2] += 0.3
    assert noise2noise_loss(flat + error, rough, flat) < noise2noise_loss(flat + error, flat, flat) - 1


def test_noisy_targets_have_the_gradient_of_clean_ones():
    """Unbiased: the mean over noisy targets of the gradient, without the logarithm's 1 / mse, is that of the clean one.

    The noise is heteroscedastic; 2,000 draws, whose mean is within 5 of its deviations."""
    generator = torch.Generator().manual_seed(0)
    source, clean = torch.rand(2, 1, 3, 8, 8, generator=generator)
    denoised = source.clone().requires_grad_()

    def gradient(targets):
        loss = noise2noise_loss(denoised.expand_as(targets), source.expand_as(targets), targets)
        return torch.autograd.grad(loss.exp(), denoised)[0]

    noise = 0.5 * torch.rand(1, 1, 8, 8, generator=generator) * torch.randn(2000, 3, 8, 8, generator=generator)
    gradients = torch.stack([gradient(clean + one) for one in noise])
    deviation = gradients.std(0) / len(noise) ** 0.5
    assert ((gradients.mean(0) - gradient(clean)).abs() < 5 * deviation).all()


def test_training_does_not_depend_on_the_default_dtype(small_steps):
    a, b, _ = noisy_pairs(64)
    torch.set_default_dtype(torch.float64)
    try:
        denoiser = small_model()
        denoiser.train(a, b, 1, progress=False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert denoiser.predict(a).dtype == torch.float32


def test_muon_moves_all_directions_alike():
    """The change of a weight has singular values of about 1, though the gradient's differ by a factor of 30."""
    weight = torch.zeros(8, 6, 3, 3)
    left, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    right, _ = torch.linalg.qr(torch.randn(54, 8, generator=torch.Generator().manual_seed(1)))
    weight.grad = (left * torch.logspace(-1.5, 0, 8) @ right.T).view(8, 6, 3, 3)
    Muon([weight]).step(0.5)
    directions = left.T @ weight.flatten(1) @ right  # diagonal
    assert ((directions.diagonal() / -0.5 - 0.95).abs() < 0.3).all()
    assert (directions - directions.diagonal().diag()).abs().max() < 1e-4


# --------------------------------------------------------------------------------------------------- train
def test_training_denoises_and_reports(small_steps):
    a, b, clean = noisy_pairs(512)
    denoiser = small_model()
    before = psnr(denoiser.predict(a), clean)
    denoiser.train(a, b, 4, progress=False)
    assert before == pytest.approx(psnr(a, clean), abs=0.05)  # the identity
    assert psnr(denoiser.predict(a), clean) > before + 3
    assert [row["epoch"] for row in denoiser.history] == list(range(5))
    assert {row["kind"] for row in denoiser.history} == {"est."}
    mse = (denoiser.predict(a, self_ensemble=False) - clean).square().mean() / 255**2
    # 26 held-out pairs of 768 values, noise of deviation 23, error of 10 to 15: the estimate of the squared error has a
    # deviation of about 2 x 23 x 12 / sqrt(2 x 26 x 768) = 2.8 of 150, or 0.08 dB; it is of other images than `mse`.
    assert denoiser.history[-1]["psnr"] == pytest.approx(-10 * mse.log10().item(), abs=0.7)


def test_training_on_validation_reports_the_psnr_per_image(capsys):
    a, b, clean = noisy_pairs(70)
    denoiser = small_model()
    denoiser.train(a, b, 2, validation=(a[:8], clean[:8]))
    assert denoiser.history[-1]["psnr"] == pytest.approx(psnr(denoiser.predict(a[:8], self_ensemble=False), clean[:8]))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("per image" in line for line in lines[1:])  # a heading, epochs 0 to 2


def test_training_is_deterministic_in_its_seed_and_continues_from_the_weights(small_steps):
    a, b, clean = noisy_pairs(64)
    first, second, other = small_model(), small_model(), small_model()
    for denoiser, seed in ((first, 3), (second, 3), (other, 4)):
        denoiser.train(a, b, 2, seed=seed, progress=False)
    weights = [torch.cat([w.flatten() for w in d.net.parameters()]) for d in (first, second, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    first.train(a, b, 15, progress=False)
    trained = psnr(first.predict(a), clean)
    assert trained > psnr(a, clean) + 2
    first.train(a, b, 1, progress=False)
    assert psnr(first.predict(a), clean) > trained - 0.3


def test_zero_epochs_change_nothing():
    denoiser = small_model()
    before = copy.deepcopy(denoiser.net.state_dict())
    denoiser.train(*noisy_pairs(30)[:2], 0, progress=False)
    assert all(torch.equal(before[name], weight) for name, weight in denoiser.net.state_dict().items())


@pytest.mark.parametrize("count, shape", [(1, (3, 1, 1)), (3, (3, 5, 7)), (65, (3, 4, 4)), (2, (3, 70, 100))])
def test_training_takes_any_count_and_size(count, shape):
    a = torch.randint(0, 256, (count, *shape), dtype=torch.uint8)
    denoiser = small_model()
    denoiser.train(a, 255 - a, 1, progress=False)
    assert denoiser.history[-1]["epoch"] == 1
    assert all(weight.isfinite().all() for weight in denoiser.net.parameters())


def test_time_limit_ends_the_training_annealed(monkeypatch, small_steps):
    """On a clock that ticks a second at each look, so that the load of the machine does not matter."""
    ticks = itertools.count()
    monkeypatch.setattr(model, "time", types.SimpleNamespace(monotonic=lambda: float(next(ticks))))
    rates = []
    step = Muon.step
    monkeypatch.setattr(Muon, "step", lambda self, rate: rates.append(rate) or step(self, rate))
    a, b, clean = noisy_pairs(64)
    denoiser = small_model()
    denoiser.train(a, b, 1_000_000, time_limit=100, progress=False)
    assert 90 < denoiser.history[-1]["seconds"] < 100
    assert rates[0] == model.RATE and rates[-1] < 0.1 * model.RATE and rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("steps, factor", [(1, 2), (500, 2), (1_280, 1.25), (2_000, 1), (20_000, 1)])
def test_short_trainings_start_at_a_higher_rate(steps, factor, monkeypatch):
    rates = []

    def stop(self, rate):
        rates.append(rate)
        raise KeyboardInterrupt

    monkeypatch.setattr(Muon, "step", stop)
    a, b, _ = noisy_pairs(8)
    with pytest.raises(KeyboardInterrupt):
        small_model().train(a, b, steps, progress=False)  # a step each
    assert rates == [pytest.approx(factor * model.RATE)]


def test_rates_within_a_time_limit_are_those_of_as_many_steps(monkeypatch, small_steps):
    """... but for the first. On a clock that only the steps move, by a second each."""
    rates = []
    monkeypatch.setattr(model, "time", types.SimpleNamespace(monotonic=lambda: float(len(rates))))
    monkeypatch.setattr(model, "SHORT", (20, 1_000))
    monkeypatch.setattr(Muon, "step", lambda self, rate: rates.append(rate))
    a, b, _ = noisy_pairs(16)
    small_model().train(a, b, 1_000_000, time_limit=100, progress=False)
    assert len(rates) == 98  # 2% are for the last row
    expected = [model.RATE * (1_000 / 98) ** 0.5 * (1 - step / 98) for step in range(98)]
    assert rates[0] == model.RATE and rates[1:] == pytest.approx(expected[1:])


def test_a_limit_too_short_for_a_step_is_said(small_steps):
    denoiser = small_model()
    with pytest.warns(UserWarning, match="too short for a single step") as caught:
        denoiser.train(*noisy_pairs(64)[:2], 1, time_limit=1e-6, progress=False)
    assert caught[0].filename == __file__  # not in torch's decorators


def test_no_method_changes_global_state_and_training_works_with_autograd_off(tmp_path, small_steps):
    a, b, clean = noisy_pairs(64)

    def state():
        return (torch.is_grad_enabled(), torch.get_rng_state().tolist(), torch.get_default_dtype(),
                torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
                torch.is_autocast_enabled("cpu"))

    torch.set_grad_enabled(False)
    try:
        before = state()
        denoiser = small_model()
        denoiser.train(a, b, 15, progress=False)
        denoiser.save(tmp_path / "model.pth")
        denoiser.load_pretrained_model(tmp_path / "model.pth")
        assert psnr(denoiser.predict(a), clean) > psnr(a, clean) + 0.5
        assert state() == before
    finally:
        torch.set_grad_enabled(True)
    before = state()
    denoiser.predict(a)
    assert state() == before


def test_ctrl_c_leaves_the_weights_reached_so_far_and_a_checkpoint(tmp_path, monkeypatch, small_steps):
    a, b, clean = noisy_pairs(128)
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 60:  # in epoch 8
            raise KeyboardInterrupt
        return augment(*arguments)

    monkeypatch.setattr(model, "augment", interrupted)
    denoiser = small_model()
    with pytest.raises(KeyboardInterrupt):
        denoiser.train(a, b, 20, progress=False, checkpoint=tmp_path / "model.pth")
    assert psnr(denoiser.predict(a), clean) > psnr(a, clean) + 0.5
    saved = Model()
    saved.load_pretrained_model(tmp_path / "model.pth")
    assert psnr(saved.predict(a), clean) > psnr(a, clean) + 0.5


def test_a_loss_of_nan_stops_with_the_last_good_weights(monkeypatch, small_steps, capsys):
    a, b, clean = noisy_pairs(320)
    losses = []

    def diverging(*images):
        losses.append(1)
        return loss(*images) * (math.nan if len(losses) > 60 else 1)

    loss = model.noise2noise_loss
    monkeypatch.setattr(model, "noise2noise_loss", diverging)
    denoiser = small_model()
    with pytest.warns(UserWarning, match="diverged") as caught:
        denoiser.train(a, b, 100)
    assert caught[0].filename == __file__
    assert len(losses) == 100
    assert " nan " in capsys.readouterr().out  # a row says so, as epoch 0 has a "-"
    assert psnr(denoiser.predict(a), clean) > psnr(a, clean) + 0.5


def test_a_rising_loss_stops_with_the_last_good_weights(monkeypatch, small_steps):
    """A rate that is far too high never gives NaN, since the loss is a logarithm."""
    rates = []

    def wild(self, rate):
        rates.append(rate)
        step(self, rate * (1000 if len(rates) > 60 else 1))

    step = Muon.step
    monkeypatch.setattr(Muon, "step", wild)
    a, b, clean = noisy_pairs(320)
    denoiser = small_model()
    with pytest.warns(UserWarning, match="diverged"):
        denoiser.train(a, b, 100, progress=False)
    assert len(rates) == 100
    assert psnr(denoiser.predict(a), clean) > psnr(a, clean) + 0.5


def test_a_checkpoint_that_cannot_be_written(tmp_path, monkeypatch, small_steps):
    a, b, clean = noisy_pairs(64)
    denoiser = small_model()
    with pytest.raises(OSError, match="missing or read-only"):
        denoiser.train(a, b, 1, progress=False, checkpoint=tmp_path / "missing" / "model.pth")

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.warns(UserWarning, match="epoch 1: checkpoint not written: No space") as caught:
        denoiser.train(a, b, 1, progress=False, checkpoint=tmp_path / "model.pth")
    assert caught[0].filename == __file__
    assert not list(tmp_path.iterdir())


def test_inference_mode_does_not_matter():
    a, b, clean = noisy_pairs(64)
    with torch.inference_mode():
        denoiser = small_model()
        denoiser.train(a.clone(), b.clone(), 1, progress=False)
        denoiser.predict(a)
    denoiser.train(a, b, 1, progress=False)
    assert denoiser.history[-1]["epoch"] == 1


# ------------------------------------------------------------------------------------------------- predict
@pytest.fixture
def random_model():
    denoiser = small_model()
    randomised(denoiser.net)
    return denoiser


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 3), (100, 3, 32, 32), (1, 3, 512, 512), (1, 3, 470, 33)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_predict_keeps_the_shape_and_range(random_model, shape, dtype):
    noisy = torch.randint(0, 256, shape).to(dtype)
    before = noisy.clone()
    denoised = random_model.predict(noisy, self_ensemble=shape[-1] < 100)
    assert denoised.shape == noisy.shape and denoised.dtype == torch.float32 and not denoised.requires_grad
    assert denoised.min() >= 0 and denoised.max() <= 255 and denoised.isfinite().all()
    assert torch.equal(noisy, before)


def test_predict_gives_the_same_for_a_batch_as_for_its_images():
    denoiser = Model()
    denoiser.load_pretrained_model()
    a = noisy_pairs(70, side=32)[0]
    together = denoiser.predict(a)
    one_by_one = torch.cat([denoiser.predict(image[None]) for image in a])
    assert (together - one_by_one).abs().max() <= 0.1
    uint8 = a.round().to(torch.uint8)
    assert torch.equal(denoiser.predict(uint8), denoiser.predict(uint8.float()))


@pytest.mark.parametrize("self_ensemble", [True, False])
@pytest.mark.parametrize("size", [(96, 128), (75, 101)])
def test_predict_in_squares_equals_the_whole(random_model, monkeypatch, size, self_ensemble):
    noisy = torch.rand(2, 3, *size) * 255
    whole = random_model.predict(noisy, self_ensemble=self_ensemble)
    monkeypatch.setattr(model, "CORE", 32)
    assert (random_model.predict(noisy, self_ensemble=self_ensemble) - whole).abs().max() < 0.1


@pytest.mark.parametrize("widths, blocks", [((4, 4), 2), ((4,), 1), ((4, 4, 4), 3), ((4, 4, 4, 4), 1)])
def test_reach_is_what_the_network_sees(widths, blocks):
    net = randomised(UNet(channels=1, widths=widths, blocks=blocks)).double()
    for middle in (256, 257, 263):  # the grid of the lower levels makes pixels differ
        image = torch.rand(1, 1, 512, 512, dtype=torch.float64, requires_grad=True)
        net(image)[..., middle, middle].sum().backward()
        seen = (image.grad[0, 0].nonzero() - middle).abs().max()
        assert net.reach / 3 < seen <= net.reach  # a bound, and not a wasteful one
    assert model.CORE % 2 ** len(widths) == net.reach % 2 ** (len(widths) - 1) == 0


def test_predict_bounds_its_memory():
    """1 x 3 x 2048 x 2048 adds less than 2 GiB; measured in a process of its own, by its peak."""
    code = """
import resource, torch
from Miniproject_1 import Model
model, noisy = Model(), torch.zeros(1, 3, 2048, 2048, dtype=torch.uint8)
model.predict(noisy[..., :64, :64])
with open("/proc/self/statm") as statm:
    before = int(statm.read().split()[1]) * resource.getpagesize()
model.predict(noisy, self_ensemble=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    added = int(run.stdout)
    assert 4 * 3 * 2048**2 <= added < 2 * 2**30  # at least the result


def test_steps_use_freed_memory_again():
    """After the first ones, steps of 16 pairs take less than 4 MiB from the system, by the page faults of a process of
    its own, without settings of malloc. (Without FREED they get all that they need anew.)"""
    code = """
import resource, torch
from Miniproject_1 import Model, model
model.BATCH = 16
noisy = torch.randint(256, (2, 64, 3, 32, 32), dtype=torch.uint8)
denoiser, faults = Model(), []
for epochs in (2, 6):
    denoiser.train(*noisy, epochs, validation=(noisy[0, :1], noisy[1, :1]), progress=False)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print((faults[1] - faults[0]) * resource.getpagesize() // 24)
"""
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "THP_MEM"))}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
                         env=environment)
    assert int(run.stdout) < 4 * 2**20


def test_self_ensemble_commutes_with_flips_and_rotations(random_model):
    noisy = torch.rand(1, 3, 16, 16) * 255
    for turn in (lambda x: x.flip(-1), lambda x: x.rot90(1, (-2, -1)), lambda x: x.transpose(-1, -2)):
        assert torch.allclose(random_model.predict(turn(noisy)), turn(random_model.predict(noisy)), atol=0.1)


# ----------------------------------------------------------------------------------------- save and load
def test_saved_models_come_back(random_model, tmp_path):
    noisy = torch.rand(1, 3, 9, 9) * 255
    random_model.save(tmp_path / "model.pth")
    loaded = Model()
    loaded.load_pretrained_model(tmp_path / "model.pth")
    assert torch.equal(loaded.predict(noisy), random_model.predict(noisy))
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


def test_a_copy_of_the_weights_beside_the_module_comes_first(tmp_path, monkeypatch, random_model):
    (tmp_path / "Miniproject_1").mkdir()
    monkeypatch.setattr(model, "__file__", str(tmp_path / "Miniproject_1" / "model.py"))
    denoiser = Model()
    with pytest.raises(FileNotFoundError, match="bestmodel.pth"):
        denoiser.load_pretrained_model()
    small_model(widths=(5,)).save(tmp_path / "bestmodel.pth")
    denoiser.load_pretrained_model()
    assert denoiser.net.arguments["widths"] == [5]
    random_model.save(tmp_path / "Miniproject_1" / "bestmodel.pth")
    denoiser.load_pretrained_model()
    assert denoiser.net.arguments["widths"] == [8, 16]


class Malicious:
    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.mark.parametrize("damage", ["truncated", "text", "foreign", "other weights", "malicious", "empty"])
def test_damaged_weights_are_refused(tmp_path, monkeypatch, random_model, damage):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    random_model.save(path)
    content = {"truncated": path.read_bytes()[:1000], "text": b"hello", "empty": b"",
               "malicious": pickle.dumps(Malicious())}.get(damage)
    if content is not None:
        path.write_bytes(content)
    elif damage == "foreign":
        torch.save(torch.zeros(3), path)
    else:
        torch.save({"unet": {"channels": 3}, "weights": random_model.net.state_dict()}, path)
    with pytest.raises(ValueError, match="model.pth"):
        random_model.load_pretrained_model(path)
    assert not (tmp_path / "executed").exists()
    random_model.predict(torch.zeros(1, 3, 4, 4))  # still whole


def test_save_to_a_missing_folder_fails_and_leaves_nothing(tmp_path, random_model):
    with pytest.raises(OSError, match="missing"):
        random_model.save(tmp_path / "missing" / "model.pth")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------- bad input
GOOD = torch.full((2, 3, 4, 4), 100.0)
BAD_IMAGES = [
    ([[1]], TypeError, "list.*expected a torch.Tensor"),
    (None, TypeError, "NoneType.*expected a torch.Tensor"),
    (GOOD[0], ValueError, "3 x 4 x 4.*expected N x 3 x H x W"),
    (torch.tensor(1.0), ValueError, "scalar.*expected N x 3"),
    (GOOD[:0], ValueError, "0 x 3 x 4 x 4.*none of them 0"),
    (GOOD[..., :0], ValueError, "4 x 0.*none of them 0"),
    (GOOD[:, :1], ValueError, "2 x 1 x 4 x 4.*expected N x 3 x H x W"),
    (GOOD.bool(), TypeError, "torch.bool"),
    (GOOD.to(torch.uint16), TypeError, "torch.uint16"),
    (GOOD.to(torch.complex64), TypeError, "complex64"),
    (GOOD * math.nan, ValueError, "from (nan|inf) to (nan|inf), expected 0-255 without NaN or infinity"),
    (GOOD * math.inf, ValueError, "from (nan|inf) to (nan|inf), expected 0-255 without NaN or infinity"),
    (GOOD * 3, ValueError, "from 300 to 300.*expected 0-255"),
    (-GOOD, ValueError, "from -100 to -100.*expected 0-255"),
    (GOOD.long() + 1000, ValueError, "expected 0-255"),
]


@pytest.mark.parametrize("images, error, message", BAD_IMAGES)
def test_bad_images_are_named(images, error, message):
    denoiser = small_model()
    with pytest.raises(error, match="noisy is|noisy has") as caught:
        denoiser.predict(images)
    assert caught.match(message)
    for arguments in ((images, GOOD), (GOOD, images)):
        with pytest.raises(error, match="noisy_[ab] (is|has)"):
            denoiser.train(*arguments, 1)
        with pytest.raises(error, match=r"validation\[[01]\] (is|has)"):
            denoiser.train(GOOD, GOOD, 1, validation=arguments)


def test_images_scaled_to_one_get_a_hint():
    denoiser = small_model()
    with pytest.warns(UserWarning, match="multiply it by 255") as caught:
        denoiser.predict(GOOD / 255)
        denoiser.train(GOOD / 255, GOOD, 0, progress=False)
        denoiser.train(GOOD, GOOD + 1, 1, validation=(GOOD / 255, GOOD), progress=False)
    names = [str(warning.message).split()[0] for warning in caught]
    assert names == ["noisy", "noisy_a", "validation[0]"]  # once each, not in each epoch
    assert {warning.filename for warning in caught} == {__file__}  # not in torch's decorators
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoiser.predict(torch.zeros(1, 3, 4, 4))  # black is black on either scale
        denoiser.predict(torch.ones(1, 3, 4, 4, dtype=torch.uint8))


def test_identical_copies_get_a_warning():
    a = noisy_pairs(2)[0]
    with pytest.warns(UserWarning, match="identical") as caught:
        small_model().train(a, a.clone(), 1, progress=False)
    assert caught[0].filename == __file__  # not in torch's decorators


def test_pairs_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(1, 3, 4, 4\).*equal shapes"):
        small_model().train(GOOD, GOOD[:1], 1)


@pytest.mark.parametrize("epochs, error", [(-1, ValueError), (1.5, TypeError), ("3", TypeError), (True, TypeError)])
def test_bad_epochs_are_refused(epochs, error):
    with pytest.raises(error, match="num_epochs is"):
        small_model().train(GOOD, GOOD, epochs)


@pytest.mark.parametrize("limit", [0, -5, math.nan, "none"])
def test_bad_time_limits_are_refused(limit):
    with pytest.raises(ValueError, match="time_limit is"):
        small_model().train(GOOD, GOOD, 1, time_limit=limit)
