"""Compare recipes side by side: `python -m Miniproject_1.others.study.compare [NAME ...]`.

It trains each for the same time or on the same pairs, or measures their speed, or measures a file
of weights. Each result is a row, a line of JSON in the results file, as training.py and speed.py
say, with the command that makes it again, in which DATA and VALIDATION are paths.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from ..command_line import Parser, number, program, random_seed
from .data import add_data_options, chosen_validation, load_training
from .recipes import OURS, PUBLISHED, RECIPES, contestants
from .rows import Row, budget, collect, decibels, grouped, markdown, mean, seeds, title
from .speed import throughput
from .training import Budget, train, weigh

PROGRAM = "python -m Miniproject_1.others.study.compare"
MINUTES = 5.0  # of a training, by default


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
            work = [f"{mean(group, 'pairs_seen'):,.0f}", f"{mean(group, 'pairs_per_second'):,.0f}"]
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
    validation = chosen_validation(arguments)
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
    names = "; ".join(RECIPES)
    parser = Parser(prog=PROGRAM, description="Compare recipes side by side.")
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help=f"of {names}; default: {OURS} {PUBLISHED}")
    add_data_options(parser)
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


if __name__ == "__main__":
    sys.exit(main())
