"""Train many settings with several seeds: `python -m Miniproject_1.others.study.sweep PRESET`.

A preset of presets.py, or any grid over the fields of a recipe:

    sweep table1 --network published --only loss mse --seeds 1 2
    sweep ablations --only name 'MSE loss' 'L1 loss'
    sweep --vary batch 16 32 --vary widths '(16, 32)' '(32, 64)'
    sweep --network published --vary learning_rate 1e-3 3e-3 --seeds 0

Each training is a row of the results file, as training.py says, with `preset` and, in its history,
`psnr_pooled` and `est_psnr`, the estimate on HELD pairs that follow those of the training, pooled.
Stopped or killed, the same command goes on: what the file has is not trained again.
"""

import argparse
import ast
import json
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..command_line import Parser, number, program, random_seed
from ..files import check_writable, write_text
from ..results import append_results, results_text, rows_of_lines, strict
from .data import (
    TrainingData,
    ValidationData,
    add_data_options,
    chosen_validation,
    load_training,
)
from .presets import PRESETS, Setting, grid
from .recipes import NETWORKS, OURS, network
from .rows import Row, decibels, grouped, markdown, seeds, title
from .training import Budget, measure_epoch, train

PROGRAM = "python -m Miniproject_1.others.study.sweep"
HELD = 500  # pairs, to estimate the PSNR with
SEEDS = [0, 1, 2]
GRID = "grid"  # the preset of what --vary gives,
GRID_PAIRS, GRID_EPOCHS = 5_000, 10  # and how long each is trained
IDENTITY = ("preset", "network", "recipe", "clean_targets", "pairs", "epochs", "seed", "data",
            "validation")  # rows that agree in these are of the same training


@dataclass(frozen=True)
class Sweep:
    """What is to be trained, and on what.

    Attributes:
        preset: Its name.
        settings: All of them are trained with the first seed, then with the next one.
        seeds: Of the trainings.
        training, validation: What they train on and are measured on.
    """

    preset: str
    settings: Sequence[Setting]
    seeds: Sequence[int]
    training: TrainingData
    validation: ValidationData

    def runs(self) -> list[tuple[Setting, int]]:
        """(setting, seed) of each training."""
        return [(setting, seed) for seed in self.seeds for setting in self.settings]

    def identity(self, setting: Setting, seed: int) -> str:
        """What the row of a training is known by."""
        return identity({
            "preset": self.preset,
            "network": network(setting.recipe),
            "recipe": asdict(setting.recipe),
            "clean_targets": setting.clean_targets,
            "pairs": setting.pairs,
            "epochs": setting.epochs,
            "seed": seed,
            "data": self.training.about,
            "validation": self.validation.about,
        })

    def train(self, setting: Setting, seed: int, progress: bool) -> Row:
        """The row of a training; ValueError if it diverged."""
        held = self.training.after(setting.pairs, HELD)
        row = train(setting.name, setting.recipe, Budget(epochs=setting.epochs), seed,
                    self.training.first(setting.pairs, setting.clean_targets), self.validation,
                    progress, partial(measure_epoch, self.validation, held))
        if row["pairs_seen"] != setting.pairs * setting.epochs or math.isnan(row["psnr"]):
            raise ValueError("it diverged; lower the learning rate")
        return row | {"preset": self.preset}


def identity(row: Row) -> str:
    """What a row is known by, whether it was measured now or read from a file."""
    return json.dumps(strict([row[key] for key in IDENTITY]), sort_keys=True)


def rows_in(file: Path) -> list[Row]:
    """The rows that a file of results has; a last row that is cut short is taken out.

    Args:
        file: Of a sweep that was perhaps killed as it wrote; it need not exist.

    Returns:
        Its rows.

    Raises:
        ValueError: It is damaged otherwise, has rows of another kind or is no .jsonl file; it is
            left as it is.
    """
    if file.suffix != ".jsonl":
        raise ValueError(f"{file} is no file of rows, expected one that ends in .jsonl")
    if not file.exists():
        return []
    text = results_text(file)
    last = text[text.rfind("\n") + 1:]
    cut = last.startswith("{") and not _is_json(last)
    whole = text.removesuffix(last) if cut else text
    rows = rows_of_lines(whole, file)
    for line, row in enumerate(rows, 1):
        missing = [key for key in IDENTITY if key not in row]
        if missing:
            raise ValueError(f"{file}, line {line}, has no {', '.join(missing)}: it is not of a "
                             "sweep; choose another file with --results")
    if cut:
        print(f"{file}: the last row is cut short; its training is run again", file=sys.stderr)
    if last:
        write_text(file, whole if cut else whole + "\n")
    return rows


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def run(sweep: Sweep, file: Path, command: str, progress: bool = True) -> list[Row]:
    """Train what a file of results does not have yet.

    Args:
        sweep: What is to be trained.
        file: Each row is appended to it at once.
        command: What makes the rows again.
        progress: Whether to print a line per training and per epoch.

    Returns:
        All rows of the sweep, in its order.

    Raises:
        ValueError: The file is damaged or of something else; or, after all others were trained, a
            training failed.
        OSError: It cannot be written, which is found out before the first training.
    """
    rows = {identity(row): row for row in rows_in(file)}
    check_writable(file)
    runs = {sweep.identity(setting, seed): (setting, seed) for setting, seed in sweep.runs()}
    left = [run for name, run in runs.items() if name not in rows]
    if progress:
        print(f"{sweep.preset}: {len(runs)} trainings, {len(runs) - len(left)} of them done "
              "before", flush=True)
    failed = []
    pace = Pace()
    for position, (setting, seed) in enumerate(left, 1):
        label = f"{setting.name}; {_budget(setting)}, seed {seed}"
        if progress:
            print(f"\n{label}", flush=True)
        began = time.monotonic()
        try:
            row = sweep.train(setting, seed, progress)
        except ValueError as error:  # such as a loss that diverged
            failed.append(f"{label}: {error}")
            continue
        append_results(file, row | {"command": command})
        rows[sweep.identity(setting, seed)] = row
        pace.add(setting, time.monotonic() - began)
        if progress:
            print(f"{row['psnr']:.3f} dB per image; {position} of {len(left)} done, about "
                  f"{pace.left(left[position:]) / 3600:.1f} h left", flush=True)
    if failed:
        raise ValueError(f"{len(failed)} of {len(runs)} trainings failed: {'; '.join(failed)}")
    return [rows[name] for name in runs]


class Pace:
    """How long trainings take: seconds for each pair that a network sees."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.pairs: dict[str, int] = {}

    def add(self, setting: Setting, seconds: float) -> None:
        """A training took so long."""
        name = network(setting.recipe)
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.pairs[name] = self.pairs.get(name, 0) + setting.pairs * setting.epochs

    def left(self, runs: Sequence[tuple[Setting, int]]) -> float:
        """Seconds that these will take; a network not trained yet counts as fast as the others."""
        mean = sum(self.seconds.values()) / sum(self.pairs.values())
        rates = {name: self.seconds[name] / self.pairs[name] for name in self.seconds}
        return sum(setting.pairs * setting.epochs * rates.get(network(setting.recipe), mean)
                   for setting, _ in runs)


def _budget(setting: Setting) -> str:
    targets = ", clean targets" if setting.clean_targets else ""
    return f"{setting.epochs} x {setting.pairs:,} pairs{targets}"


def summary(rows: Sequence[Row]) -> str:
    """A line per setting, best first, as Markdown: the mean over seeds."""
    groups = grouped(rows, [key for key in IDENTITY if key != "seed"])
    groups.sort(key=lambda group: -sum(row["psnr"] for row in group) / len(group))
    lines = [[title(group[0]), f"{group[0]['epochs']} x {group[0]['pairs']:,}",
              decibels(group, "psnr", 3), decibels(group, "psnr_pooled", 3), seeds(group)]
             for group in groups]
    return markdown(["setting", "epochs x pairs", "per image", "pooled", "seeds"], lines, texts=2)


# ---- the command -------------------------------------------------------------------------------


@program
def main(argv: list[str] | None = None) -> int:
    """Train the settings; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    settings = _settings(arguments)
    preset = arguments.preset or GRID
    file = arguments.results or Path("out") / f"{preset}.jsonl"
    validation = chosen_validation(arguments)
    with_clean = any(setting.clean_targets for setting in settings)
    training = load_training(arguments.data, clean=with_clean)
    most = max(setting.pairs for setting in settings)
    if most > len(training.a):
        raise ValueError(f"{arguments.data} has {len(training.a):,} pairs, the sweep takes "
                         f"{most:,}; make more with `python -m Miniproject_1 data`")
    sweep = Sweep(preset, settings, arguments.seeds, training, validation)
    rows = run(sweep, file, _command(arguments), not arguments.quiet)
    print(f"\n{summary(rows)}\n\nwrote {file}")
    return 0


def _settings(arguments: argparse.Namespace) -> list[Setting]:
    """The settings that the arguments ask for."""
    if arguments.preset:
        if arguments.vary:
            raise ValueError(f"--vary makes a grid of its own, without the preset "
                             f"{arguments.preset}; --only takes a part of a preset")
        settings = list(PRESETS[arguments.preset]())
    else:
        base = NETWORKS[arguments.network or OURS]
        recipes = grid(base, _parsed(arguments.vary))
        settings = [Setting(recipe, GRID_PAIRS, GRID_EPOCHS) for recipe in recipes]
    fields = {field for setting in settings for field in _fields(setting)}
    unknown = [field for field, *_ in arguments.only if field not in fields]
    if unknown:
        raise ValueError(f"--only {', '.join(unknown)}: no recipe has such a field, expected some "
                         f"of: {', '.join(sorted(fields))}")
    asked_for = [_limited(setting, arguments) for setting in settings
                 if _asked_for(setting, arguments)]
    if not asked_for:
        raise ValueError(f"none of the {len(settings)} settings is of the --network and --only "
                         "given; ask for other values")
    return asked_for


def _limited(setting: Setting, arguments: argparse.Namespace) -> Setting:
    """The setting with the pairs and epochs that the arguments give."""
    given = {"pairs": arguments.pairs, "epochs": arguments.epochs}
    return replace(setting, **{key: value for key, value in given.items() if value})


def _asked_for(setting: Setting, arguments: argparse.Namespace) -> bool:
    """Whether --network and --only leave the setting in."""
    if arguments.network and network(setting.recipe) != arguments.network:
        return False
    own = _fields(setting)
    return all(own.get(field) in values for field, values in _parsed(arguments.only).items())


def _fields(setting: Setting) -> dict[str, Any]:
    """What --only asks for."""
    return asdict(setting.recipe) | {"name": setting.name}


def _parsed(options: list[list[str]]) -> dict[str, list[Any]]:
    """Values by field of all --vary or --only; `1e-3` is a number, `mse` a text."""
    found: dict[str, list[Any]] = {}
    for field, *values in options:
        if field in found or not values:
            raise ValueError(f"{field} has to be given once, with its values, such as "
                             "`batch 16 32`")
        found[field] = [_value(text) for text in values]
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _command(arguments: argparse.Namespace) -> str:
    """The command line that measures the same, with DATA and VALIDATION in the place of paths."""
    words = [*PROGRAM.split(), *([arguments.preset] if arguments.preset else [])]
    if arguments.network:
        words += ["--network", arguments.network]
    for option in ("vary", "only"):
        for given in getattr(arguments, option):
            words += [f"--{option}", *given]
    words += ["-d", "DATA", "--validation", "VALIDATION"]
    for option in ("pairs", "epochs"):
        if getattr(arguments, option):
            words += [f"--{option}", str(getattr(arguments, option))]
    if arguments.seeds != SEEDS:
        words += ["--seeds", *map(str, arguments.seeds)]
    return shlex.join(words)


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="Train many settings with several seeds.")
    add = parser.add_argument
    add("preset", metavar="PRESET", nargs="?", choices=PRESETS,
        help=f"one of {', '.join(PRESETS)}; default: what --vary gives")
    add("--network", choices=NETWORKS, help=f"only this one; default of --vary: {OURS}")
    add("--vary", metavar=("FIELD", "VALUE"), nargs="+", action="append", default=[],
        help="a field of the recipe and its values, such as `--vary batch 16 32`; each further one "
             "multiplies the settings")
    add("--only", metavar=("FIELD", "VALUE"), nargs="+", action="append", default=[],
        help="of a preset, the settings with one of these values only; FIELD may be name")
    add_data_options(parser)
    add("--pairs", metavar="N", type=number(int),
        help=f"train on the first N; default: as the preset says, or {GRID_PAIRS:,}")
    add("--epochs", metavar="E", type=number(int),
        help=f"default: as the preset says, or {GRID_EPOCHS}")
    add("--seeds", metavar="S", type=random_seed, nargs="+", default=SEEDS,
        help=f"train each setting once for each; default: {' '.join(map(str, SEEDS))}")
    add("--results", metavar="FILE", type=Path,
        help="append the results, a line of JSON each; default: out/PRESET.jsonl")
    add("--quiet", action="store_true", help="print no line per training and per epoch")
    return parser


if __name__ == "__main__":
    sys.exit(main())
