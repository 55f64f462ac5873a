"""How noisy gradients are: `python -m Miniproject_1.others.study.noise_scale`.

The gradient noise scale is the batch whose gradient is as much noise as signal: tr(S) / |G|^2
pairs, where G is the mean gradient of the loss and S the covariance over pairs (S. McCandlish et
al., "An Empirical Model of Large-Batch Training", 2018, equation 2.8). It is measured at some
moments of a training, with the averaged weights, on pairs that the training does not see. Each
training is a row of the results file:

    kind               "noise scale"
    name, network, recipe, seed, pairs, epochs, data   of the training
    moments            a list: epoch, noise_scale in pairs, gradient |G|^2, variance tr(S)
    command            makes the row again, DATA is a path

with date, device, processor, threads, versions and commit.
"""

import argparse
import copy
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
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
    """What the gradients of some batches tell of those of single pairs."""

    squared: float  # |G|^2, of the mean gradient; an unbiased estimate, which may be below 0
    variance: float  # tr(S), of a single pair's gradient

    @property
    def noise_scale(self) -> float:
        """In pairs; infinite where no gradient is seen for the noise."""
        return self.variance / self.squared if self.squared > 0 else float("inf")


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
        seed: Of the augmentation.

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
    found = []
    for start in range(0, len(a) // BATCH * BATCH, BATCH):
        batch = pairs.at(torch.arange(start, start + BATCH, device=model.device))
        source, target = batch.augmented(model.recipe, generator)
        with torch.enable_grad():
            net.zero_grad()
            LOSSES[model.recipe.loss](net(source), target, noise).backward()
        found.append(_flat(net))
    return statistics_of(found, BATCH)


def _flat(net: nn.Module) -> Tensor:
    """The gradient of all weights as one vector."""
    return torch.cat([weight.grad.flatten() for weight in net.parameters()
                      if weight.grad is not None])


def measure(recipe: Recipe, seed: int, training: TrainingData, progress: bool = True) -> Row:
    """Train, and measure the gradients at MOMENTS.

    Args:
        recipe: Of the training.
        seed: Of the training.
        training: PAIRS pairs to train on; gradients are measured on as many that follow.
        progress: Whether to print a line per epoch.

    Returns:
        A row, without command.

    Raises:
        ValueError: There are too few pairs.
    """
    if len(training.a) < 2 * PAIRS:
        raise ValueError(f"{len(training.a):,} pairs given, expected {2 * PAIRS:,}; make more with "
                         "`python -m Miniproject_1 data`")
    part, others = training.first(PAIRS, clean=False), training.after(PAIRS, PAIRS)
    moments: list[dict] = []

    def at_moments(row: dict) -> None:
        if row["epoch"] in MOMENTS:
            found = gradients(model, *others, seed)
            moments.append({"epoch": row["epoch"], "noise_scale": found.noise_scale,
                            "gradient": found.squared, "variance": found.variance})

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Model(recipe)
        model.train(part.a, part.b, EPOCHS, time_limit=None, seed=seed, progress=progress,
                    after_epoch=at_moments)
    return {"kind": "noise scale", "name": OURS, "network": OURS, "recipe": asdict(recipe),
            "seed": seed, "pairs": PAIRS, "epochs": EPOCHS, "moments": moments,
            "data": training.about}


def table(rows: list[Row]) -> str:
    """A line of Markdown per recipe and moment, with the mean over seeds."""
    lines = []
    for group in grouped(rows, ("name", "recipe")):
        for position, moment in enumerate(group[0]["moments"]):
            scales = [row["moments"][position]["noise_scale"] for row in group]
            shown = f"{statistics.mean(scales):,.0f}"
            if len(scales) > 1:
                shown += f" ± {statistics.stdev(scales):,.0f}"
            lines.append([group[0]["name"], str(moment["epoch"]), shown])
    return markdown(HEADS, lines)


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
        yield measure(Recipe(), seed, training)


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
