"""The noise scale of gradients."""

import json

import pytest
import torch
from helpers import noisy_pairs, quick_model, seeded, weights_of

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
    assert found.noise_scale == found.variance / found.squared


def test_gradients_that_are_all_alike_have_none():
    found = statistics_of([torch.ones(3)] * 4, 8)
    assert found.noise_scale == pytest.approx(0, abs=1e-12)


def test_without_a_gradient_it_is_infinite():
    ones = torch.ones(3)
    assert statistics_of([ones, -ones], 8).noise_scale == float("inf")


def test_measuring_changes_neither_weights_nor_gradients_wanted():
    a, b, _ = noisy_pairs(64)
    model = quick_model()
    before = weights_of(model)
    first, second = gradients(model, a, b, 0), gradients(model, a, b, 0)
    assert first == second and first.variance > 0
    assert torch.equal(weights_of(model), before)
    assert not any(weight.requires_grad for weight in model.net.parameters())


def test_the_command_measures_at_moments_of_a_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(noise_scale, "PAIRS", 64)
    monkeypatch.setattr(noise_scale, "EPOCHS", 3)
    monkeypatch.setattr(noise_scale, "MOMENTS", (1, 3))
    build(tmp_path, pairs=128, validation=1, progress=False)
    file = tmp_path / "rows.jsonl"
    assert main(["-d", str(tmp_path), "--seeds", "0", "1", "--results", str(file)]) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 1]
    assert [moment["epoch"] for moment in rows[0]["moments"]] == [1, 3]
    assert "| ours" in capsys.readouterr().out
    monkeypatch.setattr(noise_scale, "PAIRS", 65)
    assert main(["-d", str(tmp_path)]) == 2
    assert "128 pairs, expected at least 130" in capsys.readouterr().err
