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
    a, b, clean = noisy_pairs(24, side=8)
    model = PublishedModel(PublishedRecipe(batch=8))
    model.train(a, b, 1, validation=(a, clean), progress=False, row_every=1e-6)
    assert [row["pairs"] for row in model.history] == [8, 8, 8]  # one of each step


def test_the_loss_is_the_one_of_the_recipe():
    """Of the untrained network, whose step is too small to matter."""
    a, b, clean = noisy_pairs(8, side=8)
    still = {"batch": 8, "learning_rate": 1e-12, "dropout": 0.0}
    errors = {}
    for loss in ("mse", "l1"):
        torch.manual_seed(0)
        model = PublishedModel(PublishedRecipe(loss=loss, **still))
        with torch.no_grad():
            error = torch.cat((model.net.train()(a) - b, model.net(b) - a))
        model.train(a, b, 1, validation=(a, clean), progress=False)
        errors[loss] = model.history[0]["loss"]
        bound = {"mse": error.square(), "l1": error.abs()}[loss].flatten(1).mean(1)
        assert bound.min() < errors[loss] < bound.max()
    assert errors["mse"] != pytest.approx(errors["l1"], rel=0.5)


def test_each_row_goes_through_after_epoch():
    a, b, clean = noisy_pairs(8, side=8)
    model = PublishedModel(PublishedRecipe(batch=8))
    model.train(a, b, 2, validation=(a, clean), progress=False,
                after_epoch=lambda row: row.update(mine=row["epoch"] * 10))
    assert [row["mine"] for row in model.history] == [10, 20]


@pytest.mark.parametrize("field", [
    {"loss": "log"}, {"loss": ["mse"]}, {"batch": 0}, {"batch": True}, {"learning_rate": -1.0},
    {"betas": 0.5}, {"betas": (0.9, 1)}, {"dropout": 7}])
def test_a_recipe_with_an_impossible_value_is_refused(field):
    with pytest.raises(ValueError, match=f"{[*field][0]} is .*expected"):
        PublishedRecipe(**field)


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
