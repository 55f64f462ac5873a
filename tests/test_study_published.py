"""The published network: it is the one of 1.354 M parameters, and it learns from noisy pairs."""

from dataclasses import replace

import pytest
import torch
from helpers import noisy_pairs

from Miniproject_1.model import psnr
from Miniproject_1.others.study.published import PublishedModel, PublishedRecipe


def trained(seed=0, epochs=2, **changes):
    a, b, clean = noisy_pairs(24, side=8)
    torch.manual_seed(seed)
    model = PublishedModel(replace(PublishedRecipe(batch=8), **changes))
    model.train(a, b, epochs, validation=(a, clean), seed=seed, progress=False)
    return model


def test_size():
    weights = PublishedModel().net.parameters()
    assert sum(weight.numel() for weight in weights) == 1_354_435


def test_it_learns():
    a, b, clean = noisy_pairs(32, side=8, sigma=50)
    model = PublishedModel(PublishedRecipe(batch=8))
    model.train(a, b, 8, validation=(a, clean), progress=False)
    scores = [row["psnr"] for row in model.history]
    assert scores[-1] > scores[0] + 3  # dB
    assert psnr(model.predict(a), clean) == pytest.approx(scores[-1])


def test_the_history_has_a_row_for_each_epoch():
    history = trained().history
    assert [row["epoch"] for row in history] == [1, 2]
    assert [row["pairs"] for row in history] == [24, 24]
    assert 0 < history[0]["seconds"] < history[1]["seconds"]


def test_the_history_has_rows_within_an_epoch_by_time():
    history = trained(epochs=1, row_every=1e-6).history
    assert sum(row["pairs"] for row in history) == 24
    assert len(history) == 3  # one of each step


def test_time_ends_the_training():
    a, b, clean = noisy_pairs(24, side=8)
    model = PublishedModel(PublishedRecipe(batch=8))
    model.train(a, b, 10**6, validation=(a, clean), time_limit=0.05, progress=False)
    assert model.history[-1]["seconds"] > 0.05


def test_a_seed_gives_the_same_training():
    first, second = trained(seed=1), trained(seed=1)
    image = noisy_pairs(1, side=8)[0]
    assert torch.equal(first.predict(image), second.predict(image))
    assert not torch.equal(first.predict(image), trained(seed=2).predict(image))


def test_predictions_are_images():
    noisy = noisy_pairs(3, side=16)[0].to(torch.uint8)
    denoised = PublishedModel().predict(noisy)
    assert denoised.shape == noisy.shape and denoised.dtype == torch.float32
    assert 0 <= denoised.min() and denoised.max() <= 255 and not denoised.requires_grad


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 8, 12)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=" x ".join(map(str, shape))):
        PublishedModel().predict(torch.zeros(shape))
