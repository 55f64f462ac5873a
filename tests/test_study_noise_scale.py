"""The noise scale of gradients."""

import pytest
import torch
from helpers import QUICK, noisy_pairs, quick_model, rows_of, seeded, weights_of

from Miniproject_1.others.datasets import build
from Miniproject_1.others.study import noise_scale
from Miniproject_1.others.study.noise_scale import gradients, main, statistics_of


def test_it_is_that_of_gradients_whose_statistics_are_known():
    """Of M batches of B gradients in D dimensions, with variance v in each and a mean of square q.

    spread ~ v D / B chi2 / (D (M - 1)): its relative standard deviation is sqrt(2 / (D (M - 1))).
    |G|^2 has the variance of about 4 q v / (B M). Both bounds are five standard deviations.
    """
    count, batch, size, variance, mean = 200, 16, 50, 4.0, 0.3
    pairs = mean + variance**0.5 * torch.randn(count, batch, size, generator=seeded(),
                                               dtype=torch.float64)
    found = statistics_of(list(pairs.mean(dim=1)), batch)
    squared = size * mean**2
    assert found.variance == pytest.approx(
        size * variance, rel=5 * (2 / (size * (count - 1)))**0.5)
    assert found.squared == pytest.approx(
        squared, abs=5 * (4 * squared * variance / (batch * count))**0.5)


def test_the_estimate_of_the_squared_gradient_is_unbiased_where_there_is_none():
    """Gradients of mean 0: the mean's own square, D v / (B M) = 0.8, has to be taken off.

    What is left has the variance of about 2 D (v / (B M))^2, in R repeats a Rth of it.
    """
    repeats, count, batch, size, variance = 200, 5, 8, 8, 4.0
    noise = variance**0.5 * torch.randn(repeats, count, batch, size, generator=seeded(),
                                        dtype=torch.float64)
    found = [statistics_of(list(pairs.mean(dim=1)), batch).squared for pairs in noise]
    spread = (2 * size / repeats)**0.5 * variance / (batch * count)
    assert 0.8 > 5 * spread
    assert sum(found) / repeats == pytest.approx(0, abs=5 * spread)


def test_the_scale_is_the_ratio_of_means_and_infinite_without_a_gradient():
    assert noise_scale.noise_scale([1.0, 3.0], [10.0, 30.0]) == 10
    assert noise_scale.noise_scale([1.0, -1.0], [10.0, 30.0]) == float("inf")


def test_measuring_changes_neither_weights_nor_gradients_wanted():
    a, b, _ = noisy_pairs(64)
    model = quick_model()
    before = weights_of(model)
    first, second = gradients(model, a, b, 0), gradients(model, a, b, 0)
    assert first == second and first.variance > 0
    assert torch.equal(weights_of(model), before)
    assert not any(weight.requires_grad for weight in model.net.parameters())


def test_the_command_measures_at_moments_of_a_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(noise_scale, "Recipe", lambda: QUICK)
    monkeypatch.setattr(noise_scale, "PAIRS", 64)
    monkeypatch.setattr(noise_scale, "EPOCHS", 3)
    monkeypatch.setattr(noise_scale, "MOMENTS", (1, 3))
    build(tmp_path, pairs=128, validation=1, progress=False)
    file = tmp_path / "rows.jsonl"
    assert main(["-d", str(tmp_path), "--seeds", "0", "1", "--results", str(file)]) == 0
    rows = rows_of(file)
    assert [row["seed"] for row in rows] == [0, 1]
    assert [moment["epoch"] for moment in rows[0]["moments"]] == [1, 3]
    assert rows[0]["moments"] != rows[1]["moments"]
    assert "| ours" in capsys.readouterr().out
    monkeypatch.setattr(noise_scale, "PAIRS", 65)
    assert main(["-d", str(tmp_path)]) == 2
    assert "128 pairs, expected at least 130" in capsys.readouterr().err
