"""Trainings of the study, measured: the rows of results that they give."""

import math
from dataclasses import asdict, replace

import pytest
import torch
from helpers import QUICK, noisy_pairs, quick_model

from Miniproject_1.model import estimate_psnr, psnr
from Miniproject_1.others.study.data import TrainingData, ValidationData
from Miniproject_1.others.study.published import PublishedRecipe
from Miniproject_1.others.study.training import (
    Budget,
    measure_epoch,
    pooled_psnr,
    train,
    weigh,
)

COUNT = 24  # pairs


@pytest.fixture
def images():
    """(training data without clean targets, validation data)."""
    a, b, clean = noisy_pairs(COUNT)
    return TrainingData(a, b, None, {"kind": "given"}), ValidationData(a[:4], clean[:4], {})



def test_a_row_says_what_was_trained_and_how_well_it_denoises(images):
    training, validation = images
    row = train("quick", QUICK, Budget(epochs=2), 3, training, validation, progress=False)
    assert (row["kind"], row["name"], row["recipe"]) == ("training", "quick", asdict(QUICK))
    assert (row["seed"], row["epochs"], row["clean_targets"]) == (3, 2, False)
    assert (row["pairs"], row["pairs_seen"], len(row["history"])) == (COUNT, 2 * COUNT, 3)
    assert row["parameters"] == sum(w.numel() for w in quick_model().net.parameters())
    assert row["psnr_without_self_ensemble"] == pytest.approx(row["history"][-1]["psnr"])
    assert row["noisy_psnr"] == psnr(validation.noisy, validation.clean)
    assert row["psnr"] > row["noisy_psnr"]


def test_a_seed_gives_the_same_training(images):
    scores = [train("quick", QUICK, Budget(epochs=1), seed, *images, progress=False)["psnr"]
              for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]


def test_minutes_end_a_training(images):
    row = train("quick", QUICK, Budget(minutes=0.02), 0, *images, progress=False)
    assert row["minutes"] == 0.02 and "epochs" not in row
    assert 0 < row["seconds"] < 60


def test_the_published_network_is_trained_alike(images):
    row = train("published", PublishedRecipe(), Budget(epochs=1), 0, *images, progress=False)
    assert row["network"] == "published" and row["psnr_without_self_ensemble"] is None
    assert row["pairs_seen"] == COUNT and row["parameters"] == 1_354_435


def test_clean_targets_take_the_place_of_noisy_ones(images):
    """The loss of a network that has yet to learn is far higher on black targets."""
    training, validation = images
    black = replace(training, clean=torch.zeros_like(training.a))
    noisy_row = train("quick", QUICK, Budget(epochs=1), 0, *images, progress=False)
    black_row = train("quick", QUICK, Budget(epochs=1), 0, black, validation, progress=False)
    assert black_row["clean_targets"] and not noisy_row["clean_targets"]
    assert black_row["history"][1]["loss"] > noisy_row["history"][1]["loss"] + 1  # nat


def test_the_published_network_refuses_clean_targets(images):
    training, validation = images
    black = replace(training, clean=torch.zeros_like(training.a))
    with pytest.raises(ValueError, match="published"):
        train("published", PublishedRecipe(), Budget(epochs=1), 0, black, validation,
              progress=False)


def test_pooled_psnr_is_of_the_mean_error():
    clean = torch.zeros(2, 1, 4, 4)
    noisy = torch.cat((torch.full((1, 1, 4, 4), 25.5), torch.zeros(1, 1, 4, 4)))
    assert pooled_psnr(noisy, clean) == pytest.approx(23.0103)  # mse 0.01 and 0: 0.005
    assert pooled_psnr(clean, clean) == float("inf")


def test_weights_are_measured_with_their_recipe(images, tmp_path):
    model, (_, validation) = quick_model(widths=(4,)), images
    model.save(tmp_path / "some.pth")
    row = weigh(tmp_path / "some.pth", validation)
    assert (row["kind"], row["name"]) == ("weights", "some.pth")
    assert row["recipe"]["widths"] == (4,)
    assert row["psnr"] == pytest.approx(psnr(model.predict(validation.noisy), validation.clean))



# ---- each epoch, measured in all ways ----------------------------------------------------------


@pytest.mark.parametrize("recipe", [QUICK, PublishedRecipe(batch=8)])
def test_each_epoch_has_all_kinds_of_psnr_by_the_weights_of_that_time(images, recipe):
    training, validation = images
    held = training.after(16, 8)

    def measure(model, row):
        measure_epoch(validation, held, model, row)
        single = {"self_ensemble": False} if recipe is QUICK else {}
        denoised, *pair = (model.predict(noisy, **single) for noisy in (validation.noisy, *held))
        expected.append((psnr(denoised, validation.clean),
                         pooled_psnr(denoised, validation.clean), estimate_psnr(*pair, *held, 255)))

    expected = []
    row = train("some", recipe, Budget(epochs=2), 0, training.first(16, clean=False), validation,
                progress=False, measure=measure)
    found = [(epoch["psnr"], epoch["psnr_pooled"], epoch["est_psnr"]) for epoch in row["history"]]
    assert found == expected and len({scores for scores in found}) == len(found) >= 2
    assert row["pairs_seen"] == 32  # none is held out of them


def test_without_held_pairs_there_is_no_estimate(images):
    training, validation = images
    row = {}
    measure_epoch(validation, training.after(COUNT, 8), quick_model(), row)
    assert math.isnan(row["est_psnr"]) and row["psnr_pooled"] > 0
