"""Compare recipes side by side: `python -m Miniproject_1.others.study.compare [NAME ...]`.

It trains each for the same time or on the same pairs, or measures their speed, or measures a file
of weights. Each result is a row, a line of JSON in the results file:

    kind                        "training", "throughput" or "weights"
    name, recipe                of recipes.py, or of the file of weights; null for the published one
    seed, epochs or minutes     of the training
    clean_targets               whether the targets were clean images
    pairs, pairs_seen           in the training data that were used; in all steps together
    parameters, seconds         of the network; of the training
    psnr, psnr_pooled           dB, as `predict` denoises the validation images: mean over images;
                                of their mean error
    psnr_without_self_ensemble  dB, mean over images; null where there is none to leave out
    noisy_psnr, noisy_psnr_pooled   the same of the noisy images
    data, validation            what the images are, without a path
    history                     of the training, by epoch
    command                     makes the row again, DATA and VALIDATION are paths

with date, device, processor, threads and torch. Rows of "throughput" are those of speed.py.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...model import Model, Recipe, psnr
from ..command_line import Parser, program, random_seed
from .data import TrainingData, ValidationData, load_training, load_validation
from .published import PublishedModel
from .recipes import OURS, PUBLISHED, RECIPES, Denoiser, contestants, new_model, parameter_count
from .rows import Row, budget, collect, decibels, grouped, markdown, mean, seeds, title
from .speed import ENDLESS, pairs_per_second, throughput

PROGRAM = "python -m Miniproject_1.others.study.compare"
MINUTES = 5.0  # of a training, by default


@dataclass(frozen=True)
class Budget:
    """How long a training may take: so many epochs, or so many minutes."""

    epochs: int | None = None
    minutes: float | None = None

    def row(self) -> dict:
        """What a row of results says of it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


# ---- measurements ------------------------------------------------------------------------------


def train(name: str, recipe: Recipe | None, how_long: Budget, seed: int, training: TrainingData,
          validation: ValidationData, progress: bool = True) -> Row:
    """Train a recipe from new weights and measure it.

    Args:
        name: Of the recipe.
        recipe: None for the published network.
        how_long: The budget of the training.
        seed: Of the weights, and of shuffling and augmentation.
        training: The pairs; their clean images, if there are any, are the targets.
        validation: The images to measure on.
        progress: Whether to print a line per epoch.

    Returns:
        A row of kind "training", without command.

    Raises:
        ValueError: The published network has clean targets, or no epoch came to its end.
    """
    if recipe is None and training.clean is not None:
        raise ValueError("the published network has no training on clean targets; leave it out")
    epochs = ENDLESS if how_long.epochs is None else how_long.epochs
    limit = None if how_long.minutes is None else 60 * how_long.minutes
    images = (validation.noisy, validation.clean)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # draws weights and, in the published network, dropout
        model = new_model(recipe)
        fit = model.train
        if isinstance(model, Model):
            fit = partial(model.train, clean=training.clean)
        fit(training.a, training.b, epochs, validation=images, time_limit=limit, seed=seed,
            progress=progress)
    pairs_per_second(model.history)  # raises where there was no epoch
    return _row("training", name, model) | how_long.row() | {
        "seed": seed,
        "clean_targets": training.clean is not None,
        "pairs": len(training.a),
        "pairs_seen": sum(row["pairs"] for row in model.history),
        "seconds": model.history[-1]["seconds"],
        **accuracy(model, validation),
        "data": training.about,
        "validation": validation.about,
        "history": model.history,
    }


def weigh(file: Path, validation: ValidationData) -> Row:
    """Measure a file of weights.

    Args:
        file: Written by `Model.save`.
        validation: The images to measure on.

    Returns:
        A row of kind "weights", without command.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged.
    """
    model = Model()
    model.load_pretrained_model(file)
    scores = accuracy(model, validation)
    return _row("weights", file.name, model) | scores | {"validation": validation.about}


def _row(kind: str, name: str, model: Denoiser) -> Row:
    """What a row says of the network."""
    recipe = None if isinstance(model, PublishedModel) else asdict(model.recipe)
    return {"kind": kind, "name": name, "recipe": recipe, "parameters": parameter_count(model)}


def accuracy(model: Denoiser, validation: ValidationData) -> dict:
    """The PSNR of a model.

    Args:
        model: Trained or not.
        validation: The images to measure on.

    Returns:
        What a row says of PSNR, in dB.
    """
    noisy, clean = validation.noisy, validation.clean
    denoised = model.predict(noisy)
    single = None
    if isinstance(model, Model):
        single = psnr(model.predict(noisy, self_ensemble=False), clean)
    return {
        "psnr": psnr(denoised, clean),
        "psnr_pooled": pooled_psnr(denoised, clean),
        "psnr_without_self_ensemble": single,
        "noisy_psnr": psnr(noisy, clean),
        "noisy_psnr_pooled": pooled_psnr(noisy, clean),
    }


def pooled_psnr(images: Tensor, clean: Tensor) -> float:
    """PSNR of the mean squared error over all images.

    Args:
        images, clean: N x C x H x W, values 0-255.

    Returns:
        dB, infinite for images without error.
    """
    error = (images.double() - clean.to(images.device).double()) / 255
    mse = error.square().mean().item()
    return -10 * math.log10(mse) if mse > 0 else math.inf


# ---- what is printed ---------------------------------------------------------------------------


def summary(rows: list[Row]) -> str:
    """The results as Markdown: a line per recipe and budget, with the mean over seeds.

    Args:
        rows: As `train`, `weigh` or `throughput` give them.

    Returns:
        A table for the speed, and one for the PSNR, as far as there are rows of them.
    """
    speeds = [row for row in rows if row["kind"] == "throughput"]
    scores = [row for row in rows if row["kind"] != "throughput"]
    tables = []
    if speeds:
        tables.append(speed_table(speeds))
    if scores:
        tables.append(score_table(scores))
    return "\n\n".join(tables)


def score_table(rows: list[Row]) -> str:
    """A line for the noisy images, and one per name and budget."""
    heads = ["name", "budget", "PSNR per image", "pooled", "seeds", "pairs seen", "parameters",
             "pairs/s"]
    noisy = [f"{rows[0]['noisy_psnr']:.3f}", f"{rows[0]['noisy_psnr_pooled']:.3f}"]
    lines = [["noisy images", "", *noisy, "", "", "", ""]]
    for group in grouped(rows, ("kind", "name", "epochs", "minutes", "clean_targets")):
        first = group[0]
        work = ["", ""]
        if first["kind"] == "training":
            rates = [{"rate": pairs_per_second(row["history"])} for row in group]
            work = [f"{mean(group, 'pairs_seen'):,.0f}", f"{mean(rates, 'rate'):,.0f}"]
        lines.append([title(first), budget(first), decibels(group, "psnr", 3),
                      decibels(group, "psnr_pooled", 3), seeds(group), work[0],
                      f"{first['parameters']:,}", work[1]])
    return markdown(heads, lines)


def speed_table(rows: list[Row]) -> str:
    """A line per name."""
    heads = ["name", "parameters", "MFLOP/pair", "pairs/s", f"of {rows[0]['name']}",
             "of matrix product", "images/s", "with self-ensemble"]
    lines = []
    for row in rows:
        ensemble = row["images_per_second_self_ensemble"]
        lines.append([row["name"], f"{row['parameters']:,}", f"{row['flops_per_pair'] / 1e6:,.0f}",
                      f"{row['pairs_per_second']:,.0f}", f"{row['ratio']:.2f}",
                      f"{row['share']:.0%}", f"{row['images_per_second']:,.0f}",
                      "-" if ensemble is None else f"{ensemble:,.0f}"])
    return markdown(heads, lines)


# ---- the command -------------------------------------------------------------------------------


@program
def main(argv: list[str] | None = None) -> int:
    """Compare recipes; `program` says what it takes and returns."""
    arguments = _arguments(argv)
    collect(_measured(arguments), command(arguments), arguments.results, summary)
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows, one by one."""
    recipes = contestants(arguments.names)
    validation = load_validation(arguments.validation or arguments.data / "val_data.pkl")
    if arguments.weights:
        yield weigh(arguments.weights, validation)
        return
    training = load_training(arguments.data, arguments.pairs, arguments.clean_targets)
    if arguments.throughput:
        about = {"pairs": len(training.a), "data": training.about, "validation": validation.about}
        for row in throughput(recipes, training, validation):
            yield row | about
        return
    how_long = Budget(arguments.epochs, arguments.minutes)
    for seed in arguments.seeds:
        for name, recipe in recipes.items():
            shown = {"name": name, "clean_targets": arguments.clean_targets} | how_long.row()
            print(f"\n{title(shown)}, {budget(shown)}, seed {seed}", flush=True)
            row = train(name, recipe, how_long, seed, training, validation)
            print(f"{row['psnr']:.3f} dB per image, {row['psnr_pooled']:.3f} pooled", flush=True)
            yield row


def command(arguments: argparse.Namespace) -> str:
    """The command line that measures the same, with DATA and VALIDATION in the place of paths."""
    words = PROGRAM.split()
    if arguments.weights:
        words += ["--weights", arguments.weights.name]
    else:
        words += [*arguments.names, "-d", "DATA"]
    words += ["--validation", "VALIDATION"]
    if arguments.pairs and not arguments.weights:
        words += ["--pairs", str(arguments.pairs)]
    if arguments.throughput:
        words += ["--throughput"]
    elif not arguments.weights:
        words += _budget_words(arguments)
    return shlex.join(words)


def _budget_words(arguments: argparse.Namespace) -> list[str]:
    """The options of `command` that only trainings have."""
    if arguments.epochs:
        words = ["--epochs", str(arguments.epochs)]
    else:
        words = ["--minutes", f"{arguments.minutes:g}"]
    if arguments.seeds != [0]:
        words += ["--seeds", *map(str, arguments.seeds)]
    if arguments.clean_targets:
        words += ["--clean-targets"]
    return words


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    """The parsed arguments, with the defaults that depend on others."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.throughput or arguments.weights:
        for option in ("seeds", "clean_targets"):
            if getattr(arguments, option):
                parser.error(f"--{option.replace('_', '-')} is for trainings only")
    if arguments.weights and arguments.names:
        parser.error(f"--weights measures a file, without the names {'; '.join(arguments.names)}")
    if arguments.clean_targets and PUBLISHED in (arguments.names or [PUBLISHED]):
        parser.error(f"--clean-targets needs names other than {PUBLISHED}, such as {OURS}")
    if arguments.epochs is None and arguments.minutes is None:
        arguments.minutes = MINUTES
    arguments.names = arguments.names or [OURS, PUBLISHED]
    arguments.seeds = arguments.seeds or [0]
    return arguments


def _parser() -> Parser:
    names = "; ".join([*RECIPES, PUBLISHED])
    parser = Parser(prog=PROGRAM, description="Compare recipes side by side.")
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help=f"of {names}; default: {OURS} {PUBLISHED}")
    add("-d", "--data", metavar="DIR", type=Path, default=Path("data"),
        help="folder that `python -m Miniproject_1 data` made; default: data")
    add("--validation", metavar="FILE", type=Path,
        help="(noisy, clean) images to measure on; default: val_data.pkl in DIR")
    add("--pairs", metavar="N", type=number(int), help="train on the first N pairs only")
    add("--seeds", metavar="S", type=random_seed, nargs="+",
        help="train each recipe once for each seed; default: 0")
    add("--clean-targets", action="store_true",
        help="train against clean images, from DIR/clean_data.pkl, which `data --clean` makes")
    add("--results", metavar="FILE", type=Path, help="append the results, a line of JSON each")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--minutes", metavar="M", type=number(float),
                      help=f"of each training; default: {MINUTES:g}")
    what.add_argument("--epochs", metavar="E", type=number(int),
                      help="of each training, without a time limit")
    what.add_argument("--throughput", action="store_true",
                      help="measure the speed, in turns, instead of training")
    what.add_argument("--weights", metavar="FILE", type=Path,
                      help="measure weights, such as bestmodel.pth, instead of training")
    return parser


def number(kind: type[int] | type[float]) -> Callable[[str], float]:
    """The type of an option that takes a finite number above 0."""

    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < math.inf:
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text} given, expected {noun} above 0")
        return value

    return parsed


if __name__ == "__main__":
    sys.exit(main())
