"""The results files that page and report are made from, and the choice of rows in them."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..command_line import Parser
from ..results import read_results
from .careamics_training import NETWORK as CAREAMICS
from .careamics_training import PROGRAM as CAREAMICS_PROGRAM
from .compare import PROGRAM as COMPARE
from .kills import PROGRAM as KILLS
from .noise_scale import PROGRAM as NOISE_SCALE
from .noises import PROGRAM as NOISES
from .parallel import PROGRAM as PARALLEL
from .photos import PROGRAM as PHOTOS
from .presets import in_common
from .recipes import OURS, PUBLISHED
from .robustness import PROGRAM as ROBUSTNESS
from .rows import Row, after_start, budget, grouped, latest, title
from .sweep import IDENTITY
from .sweep import PROGRAM as SWEEP
from .weights import PROGRAM as WEIGHTS

LONG_EPOCHS = 10  # of our longest training
SHORT_MINUTES, EQUAL_MINUTES = 1, 5  # of ours
PUBLISHED_MINUTES = 10

RESULTS = Path("report/results")
IMAGES = "-d DATA --validation VALIDATION"
COMMANDS = {
    "trainings.jsonl": (
        f"{COMPARE} {PUBLISHED} {IMAGES} --minutes {PUBLISHED_MINUTES}",
        f"{COMPARE} {OURS} {IMAGES} --minutes {SHORT_MINUTES}",
        f"{COMPARE} {OURS} {IMAGES} --minutes {EQUAL_MINUTES}",
        f"{COMPARE} {OURS} {IMAGES} --epochs {LONG_EPOCHS}",
        f"{COMPARE} --weights bestmodel.pth --validation VALIDATION",
        f"{CAREAMICS_PROGRAM} {IMAGES} --minutes {EQUAL_MINUTES}",
    ),
    "pretraining.jsonl": (f"{WEIGHTS} --photos PHOTOS",),
    "speed.jsonl": (f"{COMPARE} {OURS} {PUBLISHED} {IMAGES} --throughput",),
    "ablations.jsonl": (f"{SWEEP} ablations {IMAGES}",),
    "few_pairs.jsonl": (f"{SWEEP} few_pairs {IMAGES}",),
    "table1.jsonl": (f"{SWEEP} table1 {IMAGES}",),
    "curves.jsonl": (f"{SWEEP} curves {IMAGES} --seeds 0",),
    "batches.jsonl": (f"{SWEEP} batches {IMAGES}",),
    "noise_scale.jsonl": (f"{NOISE_SCALE} -d DATA",),
    "scaling.jsonl": (f"{SWEEP} scaling {IMAGES}",),
    "photos.jsonl": (f"{PHOTOS} -d DATA",),
    "robustness.json": (f"{ROBUSTNESS} --photos PHOTOS",),
    "noises.jsonl": (
        f"{NOISES} --photos PHOTOS --minutes 10",
        f"{NOISES} --photos PHOTOS --minutes 10 --clean-targets",
    ),
    "processes.jsonl": (PARALLEL,),
    "kills.jsonl": (KILLS,),
}

VARIED = {  # what these files change of our recipe on purpose
    "table1.jsonl": ("loss", "learning_rate", "batch", "short_training"),
    "batches.jsonl": ("learning_rate", "batch", "short_training"),
    "noise_scale.jsonl": ("held_out",),
}

PLACE = ("date", "device", "processor", "threads", "torch", "command")
SCORE = ("psnr", "psnr_pooled", "psnr_without_self_ensemble", "noisy_psnr", "noisy_psnr_pooled",
         "validation", "name", "recipe", "parameters", *PLACE)
REQUIRED = {  # by kind: what a row has
    "training": (*SCORE, "seed", "clean_targets", "pairs", "pairs_seen", "seconds", "data",
                 "history"),
    "weights": SCORE,
    "pretraining": ("name", "recipe", "parameters", "seed", "pairs", "epochs", "pairs_seen",
                    "seconds", "data", "validation", "history", *PLACE),
    "throughput": ("name", "recipe", "parameters", "passes", "flops_per_pair", "precision",
                   "pairs_per_second", "share", "ratio", "images_per_second",
                   "images_per_second_self_ensemble", "turns", "turn_seconds", "pairs", "data",
                   *PLACE),
    "photos": ("name", "minutes", "seed", "pairs", "data", "psnr", *PLACE),
    "robustness": ("name", "data", "cases", *PLACE),
    "noise": ("name", "about", "recipe", "seed", "minutes", "clean_targets", "pairs", "noisy",
              "psnr", "psnr_without_self_ensemble", "bias", "noisy_bias", "peak", "data",
              "validation", *PLACE),
    "noise scale": ("name", "recipe", "seed", "pairs", "epochs", "moments", "data", *PLACE),
    "processes": ("name", "recipe", "processes", "one", "several", "ratio", "turns",
                  "turn_seconds", *PLACE),
    "kills": ("name", "seed", "kills", "identical", "corrupt", *PLACE),
}
MACHINE = ("device", "processor", "threads", "torch")
TRAINING = ("kind", "name", "epochs", "minutes", "seed", "clean_targets", "pairs", "data",
            "validation")

NOISE = ("name", "minutes", "seed", "clean_targets")


@dataclass(frozen=True)
class Results:
    """The rows of each file; of what was measured twice, the last one."""

    trainings: list[Row]
    pretraining: Row
    speed: list[Row]
    ablations: list[Row]
    few_pairs: list[Row]
    table1: list[Row]
    curves: list[Row]
    batches: list[Row]
    noise_scale: list[Row]
    scaling: list[Row]
    photos: list[Row]
    robustness: Row
    noises: list[Row]
    processes: list[Row]
    kills: list[Row]

    def all(self) -> list[Row]:
        """All rows."""
        return [row for rows in self.by_file().values() for row in rows]

    def by_file(self) -> dict[str, list[Row]]:
        """The rows by the name of their file."""
        return {
            "trainings.jsonl": self.trainings,
            "pretraining.jsonl": [self.pretraining],
            "speed.jsonl": self.speed,
            "ablations.jsonl": self.ablations,
            "few_pairs.jsonl": self.few_pairs,
            "table1.jsonl": self.table1,
            "curves.jsonl": self.curves,
            "batches.jsonl": self.batches,
            "noise_scale.jsonl": self.noise_scale,
            "scaling.jsonl": self.scaling,
            "photos.jsonl": self.photos,
            "robustness.json": [self.robustness],
            "noises.jsonl": self.noises,
            "processes.jsonl": self.processes,
            "kills.jsonl": self.kills,
        }


def add_results_options(parser: Parser) -> None:
    """Give a command --results and --any-recipe."""
    add = parser.add_argument
    add("--results", metavar="DIR", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    add("--any-recipe", action="store_true",
        help="take results of different recipes of ours, which are refused otherwise")


def chosen_results(arguments: argparse.Namespace) -> Results:
    """What `add_results_options` lets choose; raises as `read` does."""
    return read(arguments.results, arguments.any_recipe)


def read(folder: Path, any_recipe: bool = False) -> Results:
    """Read the results files.

    Args:
        folder: Has the files of COMMANDS.
        any_recipe: Whether files with other recipes of ours than that of trainings.jsonl will do.

    Returns:
        Their rows.

    Raises:
        ValueError: A file is missing, damaged, or has rows that do not belong together; names the
            command that makes it.
    """
    results = Results(
        trainings=latest(_read(folder, "trainings.jsonl", ("training", "weights")), TRAINING),
        pretraining=_read(folder, "pretraining.jsonl", ("pretraining",))[-1],
        speed=latest(_read(folder, "speed.jsonl", ("throughput",)), ("name",)),
        ablations=_read_sweep(folder, "ablations.jsonl"),
        few_pairs=_read_sweep(folder, "few_pairs.jsonl"),
        table1=_read_sweep(folder, "table1.jsonl"),
        curves=_read_sweep(folder, "curves.jsonl"),
        batches=_read_sweep(folder, "batches.jsonl"),
        noise_scale=latest(_read(folder, "noise_scale.jsonl", ("noise scale",)),
                           ("recipe", "seed")),
        scaling=_read_sweep(folder, "scaling.jsonl"),
        photos=latest(_read(folder, "photos.jsonl", ("photos",)), ("name",)),
        robustness=_read(folder, "robustness.json", ("robustness",))[-1],
        noises=latest(_read(folder, "noises.jsonl", ("noise",)), NOISE),
        processes=latest(_read(folder, "processes.jsonl", ("processes",)), ("name", "processes")),
        kills=latest(_read(folder, "kills.jsonl", ("kills",)), ("name", "seed")))
    _check_trainings(results)
    _check_sweeps(results)
    if not any_recipe:
        _check_recipes(results)
    _check_alike("speed.jsonl", results.speed, ("command", *MACHINE))
    _check_alike("noises.jsonl", results.noises, ("minutes", "data", "validation", *MACHINE))
    for group in grouped(results.noises, ("name",)):
        _check_alike("noises.jsonl", group, ("pairs", "recipe"))
    return results


def _check_trainings(results: Results) -> None:
    """ValueError if trainings of different things, or weights of another training, are compared."""
    trained = [row for row in results.trainings if row["kind"] == "training"]
    timed = [row for row in trained if "minutes" in row]
    _check_alike("trainings.jsonl", results.trainings, ("validation",))
    _check_alike("trainings.jsonl", trained, ("data", "pairs"))
    _check_alike("trainings.jsonl", timed, ("device", "processor", "threads"))
    _check_alike("trainings.jsonl", [row for row in timed if row.get("network") != CAREAMICS],
                 ("torch",))  # CAREamics has its own
    for group in grouped(trained, ("name",)):
        _check_alike("trainings.jsonl", group, ("recipe",))
    weights = [results.pretraining, pretrained(results.trainings)]
    _check_alike("pretraining.jsonl", weights, ("recipe",))
    if results.robustness["date"] < results.pretraining["date"]:
        raise ValueError(f"robustness.json is older than the weights; {remedy('robustness.json')}")


def _check_sweeps(results: Results) -> None:
    """ValueError if trainings of a sweep differ in more than they should."""
    _check_alike("table1.jsonl", results.table1, ("pairs", "epochs"))
    _check_alike("curves.jsonl", results.curves, ("pairs", "epochs", "seed"))
    _check_alike("noise_scale.jsonl", results.noise_scale, ("recipe", "pairs", "epochs", "data"))
    for group in grouped(results.scaling, ("pairs",)):
        _check_alike("scaling.jsonl", group, ("epochs", "recipe"))
    for row in results.curves:
        if any(epoch["est_psnr"] is None for epoch in after_start(row)):
            raise ValueError(f"curves.jsonl has no estimated PSNR of {row['name']}, which takes "
                             f"more pairs than are trained on; {remedy('curves.jsonl')}")
    for name, rows in (("ablations.jsonl", results.ablations),
                       ("few_pairs.jsonl", results.few_pairs)):
        _check_alike(name, rows, ("pairs", "epochs", "minutes", "clean_targets"))
        for group in grouped(rows, ("name",)):
            _check_alike(name, group, ("recipe",))


def _check_recipes(results: Results) -> None:
    """ValueError if rows have different recipes of ours, but for what they change on purpose."""
    usual = our_recipe(results)
    for name, rows in results.by_file().items():
        for row in filter(is_ours, rows):
            _check_recipe(name, row, usual)


def _check_recipe(name: str, row: Row, usual: dict) -> None:
    """ValueError if a row of a file has another recipe in what the file does not vary."""
    recipe = row["recipe"]
    for field in sorted((usual.keys() | recipe.keys()) - set(VARIED.get(name, ()))):
        value, wanted = recipe.get(field), usual.get(field)
        if value != wanted:
            raise ValueError(f"{name} has {_label(row)} with {field} {value}, expected {wanted} as "
                             f"in trainings.jsonl; take such rows out and {remedy(name)}, or "
                             "choose --any-recipe")


def is_ours(row: Row) -> bool:
    """Whether a row is of our recipe, or of what a grid makes of it, such as "ours; batch 64"."""
    return row["name"] == OURS or row["name"].startswith(f"{OURS}; ")


def _read_sweep(folder: Path, name: str) -> list[Row]:
    """The rows of a sweep, all of the same data and of the preset that the file is named after."""
    rows = latest(_read(folder, name, ("training",)), IDENTITY)
    for row in rows:
        missing = [key for key in IDENTITY if key not in row]
        if missing or row["preset"] != Path(name).stem:
            raise ValueError(f"{name} has a row of another kind: {_label(row)}; {remedy(name)}")
        if row["pairs_seen"] != row["pairs"] * row["epochs"]:
            raise ValueError(f"{name} has a training that ended early: {_label(row)}; "
                             f"{remedy(name)}")
    _check_alike(name, rows, ("validation", "data"))
    return rows


def _read(folder: Path, name: str, kinds: Sequence[str]) -> list[Row]:
    """The rows of a file, all of these kinds."""
    file = folder / name
    if not file.is_file():
        raise ValueError(f"no {file}; {remedy(name)}")
    rows = read_results(file)
    if not rows:
        raise ValueError(f"{file} is empty; {remedy(name)}")
    for number, row in enumerate(rows, 1):
        if row.get("kind") not in kinds:
            raise ValueError(f"{file}: row {number} is of kind {row.get('kind')!r}, expected "
                             f"{' or '.join(kinds)}; {remedy(name)}")
        missing = [key for key in REQUIRED[row["kind"]] if key not in row]
        if missing:
            raise ValueError(f"{file}: row {number} has no {', '.join(missing)}; {remedy(name)}")
    return rows


def remedy(name: str) -> str:
    """How to make a file."""
    commands = " and ".join(f"`{command}`" for command in COMMANDS[name])
    return f"make it by {commands}, each with --results {name}"


def _check_alike(name: str, rows: Iterable[Row], keys: Iterable[str]) -> None:
    """ValueError if rows that are compared differ in one of the keys."""
    for key in keys:
        groups = grouped(rows, (key,))
        if len(groups) > 1:
            one, other = groups[0][0], groups[1][0]
            raise ValueError(f"{name} compares {_label(one)} and {_label(other)}, but their {key} "
                             f"differs: {one.get(key)} and {other.get(key)}; {remedy(name)}")


def _label(row: Row) -> str:
    return " ".join(text for text in (title(row), budget(row)) if text)


def pick(results: Results, name: str, **wanted: float) -> list[Row]:
    """Trainings of a recipe, one row per seed, in the order of the seeds.

    Args:
        results: What was measured.
        name: Of the recipe.
        wanted: What the rows say, such as epochs=10.

    Returns:
        At least one row.

    Raises:
        ValueError: There is none.
    """
    rows = [row for row in results.trainings if row["kind"] == "training" and row["name"] == name]
    rows = [row for row in rows if wanted.items() <= row.items()]
    if not rows:
        asked = ", ".join(f"{key} {value}" for key, value in wanted.items())
        raise ValueError(f"trainings.jsonl has no training of {name}, {asked}; "
                         + remedy("trainings.jsonl"))
    return sorted(rows, key=lambda row: row["seed"])


def our_recipe(results: Results) -> dict:
    """The recipe of our longest training, by field."""
    return pick(results, OURS, epochs=LONG_EPOCHS)[0]["recipe"]


def pretrained(trainings: list[Row]) -> Row:
    """The row of the pretrained weights.

    Args:
        trainings: The rows of trainings.jsonl.

    Returns:
        What was measured last.

    Raises:
        ValueError: No weights were measured.
    """
    rows = [row for row in trainings if row["kind"] == "weights"]
    if not rows:
        raise ValueError(f"trainings.jsonl has no row of weights; {remedy('trainings.jsonl')}")
    return rows[-1]


def on_both_targets(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Trainings that differ in nothing but their targets and seeds.

    Args:
        rows: Of scaling.jsonl, with one number of pairs.

    Returns:
        (on noisy targets, on clean targets), as many of each, in the order of the seeds.

    Raises:
        ValueError: A seed lacks one of the two.
    """
    noisy, clean = ({row["seed"]: row for row in rows if row["clean_targets"] == wanted}
                    for wanted in (False, True))
    alone = sorted(noisy.keys() ^ clean.keys())
    if alone:
        raise ValueError(f"scaling.jsonl has {rows[0]['pairs']:,} pairs with seed "
                         f"{', '.join(map(str, alone))} on noisy or on clean targets only; "
                         + remedy("scaling.jsonl"))
    order = sorted(noisy)
    return [noisy[seed] for seed in order], [clean[seed] for seed in order]


def target_gaps(rows: list[Row]) -> list[float]:
    """By how many dB clean targets are better, seed by seed; rows as `on_both_targets` takes."""
    noisy, clean = on_both_targets(rows)
    return [one["psnr"] - other["psnr"] for one, other in zip(clean, noisy, strict=True)]


def batch_scores(results: Results, seen: str, scaled: bool) -> dict[int, list[float]]:
    """PSNR by batch, of one kind of comparison.

    Args:
        results: What was measured.
        seen: What all have in common: "pairs" or "steps".
        scaled: Whether the learning rate grew with the square root of the batch.

    Returns:
        A PSNR per seed for each batch, from small to large.
    """
    usual = our_recipe(results)
    found: dict[int, list[float]] = {}
    for row in sorted(results.batches, key=lambda row: row["recipe"]["batch"]):
        batch, rate = row["recipe"]["batch"], row["recipe"]["learning_rate"]
        wanted = usual["learning_rate"]
        if scaled:
            wanted *= (batch / usual["batch"]) ** 0.5
        if in_common(row) == seen and abs(rate / wanted - 1) < 1e-6:
            found.setdefault(batch, []).append(row["psnr"])
    return found
