"""How noisy gradients are: `python -m Miniproject_1.others.study.noise_scale`.

The gradient noise scale is the batch whose gradient is as much noise as signal: tr(S) / |G|^2
pairs, where G is the mean gradient of the loss and S the covariance over pairs (S. McCandlish et
al., "An Empirical Model of Large-Batch Training", 2018, equation 2.8). It is measured at some
moments of a training, with the averaged weights, on pairs that the training does not see. Each
training is a row of the results file:

    kind               "noise scale"
    name, network, recipe, seed, pairs, epochs, data   of the training
    moments            a list: epoch, gradient |G|^2, variance tr(S), both unbiased estimates
    command            makes the row again, DATA is a path

with date, device, processor, threads, versions and commit.
"""

import argparse
import copy
import math
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ...model import LOSSES, Model, Noise, Pairs, Recipe
from ..command_line import Parser, program, random_seed
from .data import TrainingData, load_training
from .recipes import OURS
from .rows import Row, collect, grouped, markdown
from .sweep import GRID_EPOCHS as EPOCHS
from .sweep import GRID_PAIRS as PAIRS
from .sweep import SEEDS

PROGRAM = "python -m Miniproject_1.others.study.noise_scale"
MOMENTS = (1, 5, 10)  # epochs at whose end the gradients are measured
BATCH = 32  # pairs of which a gradient is taken
HEADS = ("recipe", "epoch", "noise scale in pairs")


@dataclass(frozen=True)
class Gradients:
    """What the gradients of some batches tell of those of single pairs; unbiased estimates."""

    squared: float  # |G|^2, of the mean gradient; it may be below 0
    variance: float  # tr(S), of a single pair's gradient


def noise_scale(squared: Sequence[float], variance: Sequence[float]) -> float:
    """The noise scale that several measurements give together.

    Args:
        squared, variance: Of each, as in `Gradients`.

    Returns:
        In pairs, the ratio of their means; infinite where no gradient is seen for the noise.
    """
    signal = statistics.mean(squared)
    return statistics.mean(variance) / signal if signal > 0 else math.inf


def statistics_of(gradients: Sequence[Tensor], batch: int) -> Gradients:
    """The statistics of single pairs' gradients, from those of batches.

    Args:
        gradients: One of each batch, alike in shape; at least two.
        batch: Pairs in a batch, drawn independently.

    Returns:
        Unbiased estimates.
    """
    count = len(gradients)
    total = torch.zeros_like(gradients[0], dtype=torch.float64)
    squares = 0.0
    for gradient in gradients:
        total += gradient
        squares += gradient.double().square().sum().item()
    mean = total / count
    spread = (squares - count * mean.square().sum().item()) / (count - 1)  # tr(S) / batch
    return Gradients(mean.square().sum().item() - spread / count, batch * spread)


def gradients(model: Model, a: Tensor, b: Tensor, seed: int) -> Gradients:
    """Measure the gradients of a model's loss.

    Args:
        model: With the weights to measure at.
        a, b: N x C x H x W noisy pairs, at least 2 BATCH of them.
        seed: Of the batches and the augmentation.

    Returns:
        Their statistics, in float32.
    """
    if model.units is None:
        raise ValueError("the model knows no units yet; train it")
    units = model.units.to(model.device)
    net = copy.deepcopy(model.net).requires_grad_(True)
    pairs = Pairs(a.to(model.device), b.to(model.device), None).to_unit(units)
    noise = Noise.of_pairs(pairs.a, pairs.b, model.recipe.loss_floor)
    generator = torch.Generator(model.device).manual_seed(seed)
    order = torch.randperm(len(a), generator=generator, device=model.device)
    found = []
    for index in order[:len(a) // BATCH * BATCH].split(BATCH):
        source, target = pairs.at(index).augmented(model.recipe, generator)
        with torch.enable_grad():
            net.zero_grad()
            LOSSES[model.recipe.loss](net(source), target, noise).backward()
        found.append(_flat(net))
    return statistics_of(found, BATCH)


def _flat(net: nn.Module) -> Tensor:
    """The gradient of all weights as one vector."""
    return torch.cat([weight.grad.flatten() for weight in net.parameters()
                      if weight.grad is not None])


def measure(seed: int, training: TrainingData, progress: bool = True) -> Row:
    """Train ours, and measure the gradients at MOMENTS.

    Args:
        seed: Of the training.
        training: PAIRS pairs to train on; gradients are measured on as many that follow.
        progress: Whether to print a line per epoch.

    Returns:
        A row, without command.
    """
    recipe = replace(Recipe(), held_out=0)
    part, others = training.first(PAIRS, clean=False), training.after(PAIRS, PAIRS)
    moments: list[dict] = []

    def at_moments(row: dict) -> None:
        if row["epoch"] in MOMENTS:
            found = gradients(model, *others, seed)
            moments.append({"epoch": row["epoch"], "gradient": found.squared,
                            "variance": found.variance})

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Model(recipe)
        model.train(part.a, part.b, EPOCHS, time_limit=None, seed=seed, progress=progress,
                    after_epoch=at_moments)
    return {"kind": "noise scale", "name": OURS, "network": OURS, "recipe": asdict(recipe),
            "seed": seed, "pairs": PAIRS, "epochs": EPOCHS, "moments": moments,
            "data": training.about}


def table(rows: list[Row]) -> str:
    """A line of Markdown per recipe and moment, of all seeds together."""
    lines = []
    for group in grouped(rows, ("name", "recipe")):
        lines += [[group[0]["name"], str(epoch), f"{scale:,.0f}"]
                  for epoch, scale in by_epoch(group).items()]
    return markdown(HEADS, lines)


def by_epoch(rows: list[Row]) -> dict[int, float]:
    """The noise scale at each moment, in pairs, from the rows of all seeds."""
    moments = [moment for row in rows for moment in row["moments"]]
    found = {}
    for group in grouped(moments, ("epoch",)):
        found[group[0]["epoch"]] = noise_scale([moment["gradient"] for moment in group],
                                               [moment["variance"] for moment in group])
    return found


@program
def main(argv: list[str] | None = None) -> int:
    """Measure; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    words = [*PROGRAM.split(), "-d", "DATA"]
    if arguments.seeds != SEEDS:
        words += ["--seeds", *map(str, arguments.seeds)]
    collect(_measured(arguments), shlex.join(words), arguments.results, table)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    training = load_training(arguments.data, 2 * PAIRS)
    for seed in arguments.seeds:
        print(f"\nseed {seed}", flush=True)
        yield measure(seed, training)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Measure the noise scale of gradients.")
    add = parser.add_argument
    add("-d", "--data", metavar="DIR", type=Path, default=Path("data"),
        help="folder that `python -m Miniproject_1 data` made; default: data")
    add("--seeds", metavar="S", type=random_seed, nargs="+", default=SEEDS,
        help=f"default: {' '.join(map(str, SEEDS))}")
    add("--results", metavar="FILE", type=Path, help="append the rows, a line of JSON each")
    return parser


if __name__ == "__main__":
    sys.exit(main())
