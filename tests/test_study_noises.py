"""Other kinds of noise: what they are, the filters beside them, and the command."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from helpers import QUICK, noisy_pairs, seeded
from samples import reds, write_photos

from Miniproject_1.model import psnr
from Miniproject_1.others.look import Look
from Miniproject_1.others.study import noises
from Miniproject_1.others.study.filters import best_blur, blurred, bm3d
from Miniproject_1.others.study.kinds import CLIPPED, KINDS, OFFSET, READ_NOISE, SIGMA

needs_bm3d = pytest.mark.skipif(find_spec("bm3d") is None, reason="the package bm3d is missing")
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


@needs_bm3d
@pytest.mark.parametrize("name", KINDS)
def test_bm3d_removes_each_kind_of_noise(name):
    kind = KINDS[name]
    _, _, photos = noisy_pairs(1, side=48)
    clean = kind.clean(photos.to(torch.uint8))
    noisy = kind.noisy(clean, seeded(3))
    denoised = bm3d(noisy, name)
    assert denoised.shape == noisy.shape and denoised.dtype == torch.float32
    assert psnr(denoised, clean, kind.peak) > psnr(noisy, clean, kind.peak) + 1.5


@needs_bm3d
def test_bm3d_is_better_with_the_spectrum_of_the_noise():
    _, _, photos = noisy_pairs(1, side=64)
    clean = photos.round()
    noisy = KINDS["correlated"].noisy(clean, seeded(3))
    white, told = bm3d(noisy, "gaussian"), bm3d(noisy, "correlated")
    assert psnr(told, clean) > psnr(white, clean) + 3


@needs_bm3d
@pytest.mark.parametrize("name", ["poisson", "camera", "bernoulli", "gaussian"])
def test_bm3d_keeps_the_mean_of_flat_images(name):
    """Of counts, too, whose transform is not linear; and of grey photos, without colour."""
    noisy, clean = copies(name, 90, count=2, side=64)
    error = (bm3d(noisy.float(), name) - clean.float()).mean().item()
    deviation = (noisy - clean).std().item() / math.sqrt(noisy[:, :1].numel())
    assert abs(error) < 6 * deviation


@needs_bm3d
@pytest.mark.parametrize("name", ["poisson", "bernoulli"])
def test_bm3d_leaves_black_photos_black(name):
    noisy, clean = copies(name, 0, count=1)
    assert not bm3d(noisy.float(), name).abs().max() > 0.01


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
    rows = [json.loads(line) for line in file.read_text().splitlines()]
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
