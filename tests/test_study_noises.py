"""Other kinds of noise: what they are, the filters beside them, and the command."""

import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import QUICK, noisy_pairs, rows_of, seeded
from samples import reds, write_photos

from Miniproject_1.model import psnr
from Miniproject_1.others.look import Look
from Miniproject_1.others.study import noises
from Miniproject_1.others.study.filters import best_blur, blurred, bm3d
from Miniproject_1.others.study.kinds import CLIPPED, KINDS, OFFSET, READ_NOISE, SIGMA

UNBIASED = [name for name in KINDS if name != CLIPPED]


def copies(name, level, count=64, side=32):
    """Noisy copies of grey images of one level, and their clean value."""
    kind = KINDS[name]
    clean = kind.clean(torch.full((count, 3, side, side), level, dtype=torch.uint8))
    return kind.noisy(clean, seeded(1)).double(), clean.double()


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_has_the_shape_of_the_clean_image_whose_range_is_the_peak(name):
    noisy, clean = copies(name, 255, count=2)
    _, black = copies(name, 0, count=2)
    assert (clean - black).mean().item() == pytest.approx(KINDS[name].peak, rel=1e-5)
    assert noisy.shape == clean.shape == (2, KINDS[name].channels, 32, 32)


@pytest.mark.parametrize("level", [0, 40, 255])
@pytest.mark.parametrize("name", UNBIASED)
def test_the_mean_of_the_noise_is_zero(name, level):
    noisy, clean = copies(name, level)
    error = (noisy - clean).mean((1, 2, 3))  # of 64 images
    spread = error.std().item() / math.sqrt(len(error))
    assert abs(error.mean().item()) <= 5 * spread + 1e-6


def test_clipped_noise_has_another_mean():
    noisy, clean = copies(CLIPPED, 0)
    # half of the normal noise is cut off: its mean is sigma / sqrt(2 pi)
    expected = SIGMA / math.sqrt(2 * math.pi)
    assert (noisy - clean).mean().item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name, variance", [
    ("gaussian", lambda clean: SIGMA**2),
    ("correlated", lambda clean: SIGMA**2),
    ("poisson", lambda clean: clean),
    ("camera", lambda clean: clean - OFFSET + READ_NOISE**2 + 1 / 12),
    ("bernoulli", lambda clean: clean**2),
])
def test_the_variance_of_the_noise(name, variance):
    noisy, clean = copies(name, 200, count=200)
    assert noisy.sub(clean).square().mean().item() == pytest.approx(
        float(variance(clean.mean())), rel=0.05)


@pytest.mark.parametrize("name", KINDS)
def test_two_copies_are_independent(name):
    kind, generator = KINDS[name], seeded(1)
    clean = kind.clean(torch.full((64, 3, 32, 32), 200, dtype=torch.uint8))
    a, b = (kind.noisy(clean, generator).double() for _ in range(2))
    covariance = ((a - a.mean()) * (b - b.mean())).mean((1, 2, 3))  # of 64 images
    assert abs(covariance.mean().item()) < 5 * covariance.std().item() / math.sqrt(64)


def test_neighbours_are_correlated_where_they_should_be():
    noisy, clean = copies("correlated", 100)
    noise = noisy - clean
    # white noise blurred by a Gaussian of 1 pixel: exp(-d^2 / 4) at a distance d
    for distance in (1, 2):
        product = (noise[..., distance:] * noise[..., :-distance]).mean().item() / SIGMA**2
        assert product == pytest.approx(math.exp(-distance**2 / 4), abs=0.02)


# ---- filters -----------------------------------------------------------------------------------


def test_a_blur_keeps_what_is_flat_and_averages_noise():
    flat = torch.full((1, 3, 24, 24), 7.0)
    assert torch.allclose(blurred(flat, 1.5), flat)
    noise = torch.randn(8, 1, 64, 64, generator=seeded())
    # a Gaussian blur of sigma s leaves 1 / (4 pi s^2) of the variance
    left = blurred(noise, 2.0).var().item()
    assert left == pytest.approx(1 / (16 * math.pi), rel=0.15)


def test_the_best_blur_is_wider_for_more_noise():
    a, _, clean = noisy_pairs(8, side=32)
    score, sigma = best_blur(a, clean, 255)
    assert score > psnr(a, clean)
    weak, narrow = best_blur(clean + (a - clean) / 20, clean, 255)
    assert narrow < sigma and weak > score


@pytest.fixture
def perfect(monkeypatch):
    """In the place of the package bm3d: flat images are denoised to their mean; calls are kept."""
    calls = []

    def denoise(image, noise):
        calls.append((image, noise))
        return np.broadcast_to(image.mean((0, 1)), image.shape).copy()

    package = SimpleNamespace(bm3d=denoise, bm3d_rgb=denoise)
    monkeypatch.setitem(sys.modules, "bm3d", package)
    return calls


@pytest.mark.parametrize("name", KINDS)
def test_bm3d_is_told_the_noise_that_there_is(perfect, name):
    """Its standard deviation, or its power at each frequency; of clipped noise that before."""
    noisy, clean = copies(name, 90, count=1, side=128)
    if name == CLIPPED:
        noisy = KINDS["gaussian"].noisy(clean.float(), seeded(1))
    denoised = bm3d(noisy.float(), name)
    assert denoised.shape == noisy.shape and denoised.dtype == torch.float32
    assert len(perfect) == (3 if name == "bernoulli" else 1)  # alike in all channels: one by one
    for image, noise in perfect:
        variance = noise**2 if np.ndim(noise) == 0 else noise.sum() / 128**4
        assert variance == pytest.approx(image.var((0, 1)).mean(), rel=0.1)
        assert image.min() == 0 and image.max() == pytest.approx(1)


def test_bm3d_is_told_which_frequencies_the_noise_has(perfect):
    noisy, _ = copies("correlated", 90, count=1, side=128)
    bm3d(noisy.float(), "correlated")
    ((image, spectrum),) = perfect
    power = np.abs(np.fft.fft2(image - image.mean((0, 1)), axes=(0, 1))) ** 2
    low = np.s_[1:8, 1:8]  # 49 frequencies, of 3 channels
    assert spectrum[low].mean() == pytest.approx(power[low].mean(), rel=5 / math.sqrt(3 * 49))
    assert spectrum[64, 64] < 1e-3 * spectrum[1, 1]


@pytest.mark.parametrize("name", ["poisson", "camera", "bernoulli", "gaussian", "correlated"])
@pytest.mark.parametrize("level", [20, 90, 250])
def test_bm3d_keeps_the_mean_of_flat_images(perfect, name, level):
    """Of counts, too, whose transform is not linear."""
    noisy, clean = copies(name, level, count=2, side=64)
    error = (bm3d(noisy.float(), name) - clean.float()).mean().item()
    means = (noisy - clean).mean((2, 3))  # of 64 x 64 pixels
    single = (noisy - clean).std().item() / 64  # of such a mean, if pixels are independent
    deviation = single * (4 * math.sqrt(math.pi) if name == "correlated" else 1)
    assert abs(error) < 6 * deviation / math.sqrt(len(means)) + 0.002 * KINDS[name].peak


@pytest.mark.parametrize("name", ["poisson", "bernoulli"])
def test_bm3d_leaves_black_photos_black(perfect, name):
    noisy, clean = copies(name, 0, count=1)
    assert bm3d(noisy.float(), name).abs().max() < 0.01


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(ValueError, match="pip install bm3d"):
        bm3d(torch.rand(1, 1, 8, 8), "gaussian")


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Small images, a quick recipe, and no BM3D."""
    monkeypatch.setattr(noises, "TRAIN_SQUARES", 6)
    monkeypatch.setattr(noises, "TEST_SQUARES", 2)
    monkeypatch.setattr(noises, "SIDE", 32)
    monkeypatch.setattr(noises, "bm3d", lambda noisy, name: noisy.float())
    monkeypatch.setattr(
        Look, "recipe", lambda found: replace(QUICK, channels=found.channels, value_range=None))


def test_a_row_per_kind_is_printed_and_kept(quick, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    arguments = ["gaussian", "camera", "--minutes", "0.02", "--results", str(file)]
    assert noises.main(arguments) == 0
    assert noises.main([*arguments, "--clean-targets"]) == 0
    rows = rows_of(file)
    assert [(row["name"], row["clean_targets"]) for row in rows] == [
        ("gaussian", False), ("camera", False), ("gaussian", True), ("camera", True)]
    assert rows[0]["bm3d"] == rows[0]["noisy"] and "bm3d" not in rows[2]
    assert all(row["validation"] == rows[0]["validation"] for row in rows)
    assert abs(rows[0]["noisy_bias"]) < 5 * SIGMA / math.sqrt(2 * 3 * 32**2)
    assert rows[1]["recipe"]["channels"] == 1 and rows[0]["pairs"] == 6
    assert rows[3]["command"].endswith("--clean-targets") and str(tmp_path) not in str(rows)
    assert "camera, shot and read noise" in capsys.readouterr().out


def test_photos_to_measure_on_are_not_trained_on(quick, tmp_path):
    write_photos(tmp_path, 20, size=(40, 36))
    squares = noises.from_photos(tmp_path, seed=0)
    assert squares.training.shape == (6, 3, 32, 32) and squares.test.shape == (1, 3, 32, 32)
    assert not reds(squares.training) & reds(squares.test)


@pytest.mark.parametrize("size, words", [((31, 40), "32 x 32"), (None, "1 photos")])
def test_photos_that_are_too_small_or_few_are_refused(quick, tmp_path, capsys, size, words):
    write_photos(tmp_path, 20 if size else 1, size or (40, 40))
    assert noises.main(["gaussian", "--photos", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0]


def test_unknown_kinds_are_refused(capsys):
    with pytest.raises(SystemExit) as refusal:
        noises.main(["fog"])
    assert refusal.value.code == 2
    message = capsys.readouterr().err
    assert "fog" in message and all(name in message for name in KINDS)
