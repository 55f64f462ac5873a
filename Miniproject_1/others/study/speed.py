"""How fast recipes train and predict, measured in turns on one machine.

Beside each stands the rate of a plain matrix product in the same precision, measured in the same
turn: it tells how much of the machine a network uses.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...model import Recipe, has_bf16, tiles
from .data import TrainingData, ValidationData
from .published import PublishedModel
from .recipes import AnyRecipe, Denoiser, network, new_model, parameter_count

TURNS = 5  # of which the median counts; one more, before them, warms up
TURN_SECONDS = 8.0  # of training in a turn
PRODUCT_SIDE = 2048  # of the matrices whose product gives the machine's rate
PRODUCTS = 10  # in a turn
ENDLESS = 10**6  # epochs: the time ends the training


def throughput(recipes: Mapping[str, AnyRecipe], training: TrainingData,
               validation: ValidationData, turns: int = TURNS,
               turn_seconds: float = TURN_SECONDS, product_side: int = PRODUCT_SIDE) -> list[dict]:
    """Measure the speed of recipes in turns.

    Args:
        recipes: By name.
        training: The pairs to train on.
        validation: The images to predict.
        turns: How many; the medians count.
        turn_seconds: Of training in a turn.
        product_side: Of the square matrices that are multiplied.

    Returns:
        A row per recipe: `pairs_per_second` in training and `ratio`, the same as a share of the
        first recipe's; `share`, its FLOP/s as a share of the matrix product's, `product_flops`;
        `images_per_second` of `predict` without self-ensemble and, where there is one,
        `images_per_second_self_ensemble` with it; and what the network is.

    Raises:
        ValueError: A turn is too short for a step.
    """
    measured: dict[str, list[dict]] = {name: [] for name in recipes}
    with torch.random.fork_rng():  # what is drawn here changes nothing elsewhere
        for _ in range(1 + turns):
            for name, recipe in recipes.items():
                turn = _turn(recipe, training, validation, turn_seconds, product_side)
                measured[name].append(turn)

    rows: list[dict] = []
    for name, recipe in recipes.items():
        medians = _medians(measured[name][1:])
        first = rows[0] if rows else medians
        ratio = medians["pairs_per_second"] / first["pairs_per_second"]
        rows.append({"kind": "throughput", "name": name, "network": network(recipe),
                     "recipe": asdict(recipe)}
                    | _network(recipe, training)
                    | {"turns": turns, "turn_seconds": turn_seconds, "ratio": ratio}
                    | medians)
    return rows


def _turn(recipe: AnyRecipe, training: TrainingData, validation: ValidationData,
          seconds: float, product_side: int) -> dict[str, float | None]:
    """What is measured of one recipe in one turn."""
    model = new_model(recipe)
    product_flops = _product_flops(model.device, _precision(recipe), product_side)
    pairs_per_second = _training_rate(model, training, validation, seconds)
    single, ensemble = _prediction_rates(model, validation.noisy)
    flops = pairs_per_second * _network(recipe, training)["flops_per_pair"]
    return {"pairs_per_second": pairs_per_second, "share": flops / product_flops,
            "product_flops": product_flops, "images_per_second": single,
            "images_per_second_self_ensemble": ensemble}


def _medians(turns: list[dict]) -> dict:
    """Of each quantity; None where there is none."""
    medians: dict[str, float | None] = {}
    for quantity in turns[0]:
        values = [turn[quantity] for turn in turns]
        medians[quantity] = None if None in values else statistics.median(values)
    return medians


def _network(recipe: AnyRecipe, training: TrainingData) -> dict:
    """Parameters, FLOP per pair in training, passes per pair, precision."""
    model = new_model(recipe)
    passes, image = 1, training.a[:1]
    if isinstance(recipe, Recipe):
        passes = 2 if recipe.swap in ("both", "pixels") else 1
        image = tiles(image, recipe.tile)[:1]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.net.eval()(torch.zeros(image.shape, device=model.device))
    # Gradients take twice the forward pass.
    return {"parameters": parameter_count(model), "passes": passes,
            "flops_per_pair": 3 * passes * counter.get_total_flops(),
            "precision": str(_precision(recipe)).removeprefix("torch.")}


def _precision(recipe: AnyRecipe) -> torch.dtype:
    """What the network computes in, here."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(recipe, Recipe) and recipe.precision == "auto" and has_bf16(device):
        return torch.bfloat16
    return torch.float32


def _product_flops(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of the product of two square matrices."""
    matrix = torch.randn(side, side, device=device).to(dtype)
    torch.mm(matrix, matrix).sum().item()  # warms up; item() waits for a GPU
    start = time.perf_counter()
    for _ in range(PRODUCTS):
        product = torch.mm(matrix, matrix)
    product.sum().item()
    return PRODUCTS * 2 * side**3 / (time.perf_counter() - start)


def _training_rate(model: Denoiser, training: TrainingData, validation: ValidationData,
                   seconds: float) -> float:
    """Pairs per second, without the measurements of PSNR."""
    one_image = (validation.noisy[:1], validation.clean[:1])
    model.train(training.a, training.b, ENDLESS, validation=one_image, time_limit=seconds,
                progress=False)
    return pairs_per_second(model.history)


def pairs_per_second(history: list[dict]) -> float:
    """The speed of a training.

    Args:
        history: Of `Model` or `PublishedModel`.

    Returns:
        Pairs per second over all epochs, without the measurements of PSNR.

    Raises:
        ValueError: There was no epoch.
    """
    epochs = [row for row in history if row["pairs"]]
    if not epochs:
        raise ValueError("no epoch came to its end: the time is too short for a step, or the loss "
                         "diverged; allow more time or lower the learning rate")
    seconds = sum(row["pairs"] / row["pairs_per_second"] for row in epochs)
    return sum(row["pairs"] for row in epochs) / seconds


def _prediction_rates(model: Denoiser, noisy: Tensor) -> tuple[float, float | None]:
    """Images per second without self-ensemble and with it, None where there is none."""
    if isinstance(model, PublishedModel):
        start = time.perf_counter()
        model.predict(noisy)
        return len(noisy) / (time.perf_counter() - start), None
    start = time.perf_counter()
    model.predict(noisy, self_ensemble=False)
    middle = time.perf_counter()
    model.predict(noisy, self_ensemble=True)
    return len(noisy) / (middle - start), len(noisy) / (time.perf_counter() - middle)
