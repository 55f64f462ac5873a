"""Muon and Adam, the schedule, the weight average and the divergence guard."""

import copy
import itertools
import math

import pytest
import torch
from helpers import QUICK, seeded
from torch import nn

from Miniproject_1.model import (
    CHECK_EVERY,
    DivergenceGuard,
    Muon,
    Optimizer,
    Recipe,
    Schedule,
    WeightAverage,
)

# -------------------------------------------------------------------------------------- optimizers


def muon_step(weights, gradients, momentum=0.95, rate=1.0):
    """What Muon, that of the first weights on, adds to them for the gradients of one step."""
    before = [weight.detach().clone() for weight in weights]
    muon = Muon(weights, momentum)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    muon.param_groups[0]["lr"] = rate
    muon.step()
    return [weight.detach() - old for weight, old in zip(weights, before, strict=True)]


@pytest.mark.parametrize("shape", [(8, 6, 3, 3), (8, 20), (20, 8)])
def test_muon_moves_all_directions_alike(shape):
    """By 0.7 to 1.2 of the rate, though the gradient's singular values are 0.03 to 1."""
    rows, columns = shape[0], math.prod(shape[1:])
    left, _ = torch.linalg.qr(torch.randn(rows, 8, generator=seeded(0)))
    right, _ = torch.linalg.qr(torch.randn(columns, 8, generator=seeded(1)))
    gradient = (left * torch.logspace(-1.5, 0, 8)) @ right.T
    change, = muon_step([nn.Parameter(torch.zeros(shape))], [gradient.view(shape)], rate=0.5)
    moved = left.T @ change.flatten(1) @ right / -0.5
    assert 0.7 < moved.diagonal().min() and moved.diagonal().max() < 1.2
    # Five steps amplify roundings of 6e-8 by at most 3.44^5 = 480.
    assert (moved - moved.diagonal().diag()).abs().max() < 1e-4


def test_muon_treats_weights_of_one_shape_apart():
    gradients = list(torch.randn(2, 4, 6, generator=seeded()))
    together = muon_step([nn.Parameter(torch.zeros(4, 6)) for _ in range(2)], gradients)
    for change, gradient in zip(together, gradients, strict=True):
        alone, = muon_step([nn.Parameter(torch.zeros(4, 6))], [gradient])
        torch.testing.assert_close(change, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("momentum, goes_on", [(0.95, True), (0.0, False)])
def test_muon_has_momentum(momentum, goes_on):
    """After ten equal gradients, one against them turns it only where it has no momentum."""
    weight, gradient = nn.Parameter(torch.zeros(4, 6)), torch.randn(4, 6, generator=seeded())
    muon = Muon([weight], momentum)
    muon.param_groups[0]["lr"] = 1.0
    for sign in (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1):
        before = weight.detach().clone()
        weight.grad = sign * gradient
        muon.step()
    assert ((before - weight.detach()).mul(gradient).sum() > 0) == goes_on


class Mixed(nn.Module):
    """Parameters of no, one, two and four dimensions."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.linear = nn.Linear(6, 4)
        self.convolution = nn.Conv2d(2, 4, 3)


def moved_by(recipe, net, rate):
    """name -> the largest change of a parameter in a step."""
    before = copy.deepcopy(net.state_dict())
    optimizer = Optimizer(recipe, net)
    for weight in net.parameters():
        weight.grad = torch.randn(weight.shape, generator=seeded())
    optimizer.step(rate)
    return {name: (weight - before[name]).abs().max().item()
            for name, weight in net.state_dict().items()}


def test_muon_leaves_vectors_to_adam_at_their_share_of_the_rate():
    moved = moved_by(Recipe(vector_rate=0.2), Mixed(), rate=0.01)
    vectors = ("scale", "linear.bias", "convolution.bias")
    for name in vectors:  # Adam's first step is the rate, in every element
        assert moved.pop(name) == pytest.approx(0.002, rel=1e-3)
    # no element is above the largest singular value, 1.2 of the rate
    assert all(0 < change < 0.012 for change in moved.values())


def test_adam_moves_everything_at_the_full_rate():
    moved = moved_by(Recipe(optimizer="adam"), Mixed(), rate=0.01)
    assert list(moved.values()) == pytest.approx([0.01] * 5, rel=1e-3)


@pytest.mark.parametrize("net", [nn.Linear(2, 3, bias=False), nn.BatchNorm2d(4)], ids=str)
def test_a_network_of_matrices_or_vectors_only_is_trained(net):
    assert all(change > 0 for name, change in moved_by(Recipe(), net, rate=0.01).items()
               if name in dict(net.named_parameters()))


def test_a_step_clears_the_gradients():
    net = Mixed()
    optimizer = Optimizer(Recipe(), net)
    sum(weight.sum() for weight in net.parameters()).backward()
    optimizer.step(0.01)
    assert all(weight.grad is None or not weight.grad.any() for weight in net.parameters())


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_matrices_lose_rate_times_decay_of_themselves(optimizer):
    """Beside what the gradient does; vectors lose nothing."""
    plain, decayed = Mixed(), Mixed()
    decayed.load_state_dict(plain.state_dict())
    before = copy.deepcopy(plain.state_dict())
    for net, decay in ((plain, 0.0), (decayed, 0.5)):
        sum(weight.sum() for weight in net.parameters()).backward()
        Optimizer(Recipe(optimizer=optimizer), net).step(0.1, decay)
    for name, weight in decayed.state_dict().items():
        lost = 0.1 * 0.5 * before[name] if weight.dim() > 1 else 0
        torch.testing.assert_close(weight, plain.state_dict()[name] - lost)


# ---------------------------------------------------------------------------------------- schedule


def rates_of(schedule):
    """The learning rates of all its steps."""
    rates = []
    while schedule.progress < 1:
        rates.append(schedule.learning_rate())
        schedule.advance()
    assert schedule.learning_rate() == 0
    return rates


def ticking(every=1.0):
    """A clock that moves by so many seconds at each look."""
    count = itertools.count()
    return lambda: every * next(count)


def test_the_rate_falls_linearly_to_zero():
    rates = rates_of(Schedule(QUICK, steps=10, seconds=math.inf))
    assert rates == pytest.approx([QUICK.learning_rate * (1 - step / 10) for step in range(10)])


@pytest.mark.parametrize("steps, factor", [(1, 2), (500, 2), (1_000, 2 ** 0.5), (2_000, 1),
                                           (9_000, 1)])
def test_short_trainings_start_higher(steps, factor):
    recipe = Recipe(short_training=(500, 2_000))
    rate = Schedule(recipe, steps, seconds=math.inf).learning_rate()
    assert rate == pytest.approx(factor * recipe.learning_rate)


def test_time_ends_it_with_the_rates_of_as_many_steps():
    """But for the first step, before which nobody knows how many there will be."""
    recipe = Recipe(short_training=(20, 1_000))
    timed = rates_of(Schedule(recipe, steps=10**6, seconds=100.0, clock=ticking()))
    counted = rates_of(Schedule(recipe, steps=100, seconds=math.inf))
    assert timed[0] == recipe.learning_rate and timed[1:] == pytest.approx(counted[1:])


def test_steps_or_time_count_whichever_is_ahead():
    assert len(rates_of(Schedule(QUICK, steps=50, seconds=100.0, clock=ticking()))) == 50
    assert len(rates_of(Schedule(QUICK, steps=50, seconds=100.0, clock=ticking(every=4)))) == 25


def test_the_decay_grows_with_the_number_of_epochs_up_to_one():
    recipe = Recipe(weight_decay=0.01)
    decays = [Schedule(recipe, epochs * 7, math.inf, epoch=7).weight_decay()
              for epochs in (1, 20, 100, 5_000)]
    assert decays == pytest.approx([0.01, 0.2, 1, 1])


def test_the_decay_is_of_the_epochs_that_time_allows():
    schedule = Schedule(Recipe(weight_decay=0.01), 10**6, 100.0, epoch=5, clock=ticking())
    schedule.advance()
    assert schedule.weight_decay() == pytest.approx(0.2)  # 100 steps


@pytest.mark.parametrize("steps, seconds", [(0, math.inf), (10, 0.0), (10, -1.0)])
def test_without_steps_or_time_it_is_over_at_once(steps, seconds):
    assert rates_of(Schedule(QUICK, steps, seconds)) == []


# --------------------------------------------------------------------------------- weight average


def test_the_average_follows_the_student_at_its_decay():
    net, student = nn.Linear(2, 2), nn.Linear(2, 2)
    average = WeightAverage(net, student, decay=0.5)
    for step in range(100, 110):  # no longer young
        average.update(step)
    far = (net.weight - student.weight).detach()
    average.update(110)
    # Float32: differences of 1e-3 between weights of about 1, whose roundings are 6e-8.
    torch.testing.assert_close((net.weight - student.weight).detach(), far / 2, rtol=0, atol=2e-7)


def test_a_young_average_forgets_the_start():
    """After ten steps at a decay of 0.995, a plain average would be the start by 95%."""
    net, student = nn.Linear(2, 2), nn.Linear(2, 2)
    before = (net.weight - student.weight).detach().abs()
    average = WeightAverage(net, student, decay=0.995)
    for step in range(1, 11):
        average.update(step)
    assert ((net.weight - student.weight).abs() < 0.01 * before).all()


def test_without_decay_the_average_is_the_student():
    net, student = nn.Linear(2, 2), nn.Linear(2, 2)
    WeightAverage(net, student, decay=0.0).update(1)
    assert torch.equal(net.weight, student.weight) and torch.equal(net.bias, student.bias)


def test_the_average_has_the_statistics_of_batchnorm():
    net, student = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    average = WeightAverage(net, student, decay=0.0)
    student(5 + 2 * torch.randn(4, 3, 8, 8, generator=seeded()))
    average.update(1)
    assert net.running_mean.gt(0.4).all()
    assert torch.equal(net.running_mean, student.running_mean)
    assert torch.equal(net.running_var, student.running_var)


def test_roll_back_returns_to_what_was_kept():
    net, student = nn.Linear(2, 2), nn.Linear(2, 2)
    average = WeightAverage(net, student, decay=0.5)
    average.update(1)
    average.keep()
    kept = net.weight.detach().clone()
    nn.init.constant_(student.weight, math.nan)
    average.update(2)
    assert not average.is_finite()
    average.roll_back()
    assert average.is_finite() and torch.equal(net.weight, kept)


# -------------------------------------------------------------------------------- divergence guard


def told(values):
    """Whether the guard tells a divergence after some window of these squared errors."""
    guard = DivergenceGuard(floor=1e-9, noise=torch.tensor(0.01))
    found = []
    for step, value in enumerate(values, 1):
        guard.add(torch.tensor(value))
        if step % CHECK_EVERY == 0:
            found.append(guard.diverged())
    return any(found)


LOW, HIGH = [0.01] * CHECK_EVERY, [0.01 * math.exp(1.5)] * CHECK_EVERY  # 1.5 nat, or 6.5 dB


@pytest.mark.parametrize("values, expected", [
    (LOW + HIGH, True),
    (HIGH + LOW + HIGH, True),
    (HIGH + LOW + LOW, False),
    (LOW + [0.015] * CHECK_EVERY, False),  # 0.4 nat
    (LOW + [0.1] + LOW[1:], False),  # a single batch of outliers
    ([0.0] + LOW[1:] + LOW, False),  # an easy batch at the start
    (LOW[1:] + [math.nan], True),
    (LOW + LOW[1:] + [math.inf], True),
], ids=["rises", "falls, rises", "falls", "rises a little", "one outlier", "easy start", "NaN",
        "infinite"])
def test_the_guard_tells_an_error_that_rises_far(values, expected):
    assert told(values) == expected
