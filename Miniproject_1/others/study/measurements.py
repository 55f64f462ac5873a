"""The results files that page and report are made from, and the choice of rows in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..results import read_results
from .careamics_training import NETWORK as CAREAMICS
from .careamics_training import PROGRAM as CAREAMICS_PROGRAM
from .compare import PROGRAM as COMPARE
from .kills import PROGRAM as KILLS
from .noise_scale import PROGRAM as NOISE_SCALE
from .noises import PROGRAM as NOISES
from .parallel import PROGRAM as PARALLEL
from .photos import PROGRAM as PHOTOS
from .recipes import OURS, PUBLISHED
from .robustness import PROGRAM as ROBUSTNESS
from .rows import Row, budget, grouped, latest, title
from .sweep import IDENTITY
from .sweep import PROGRAM as SWEEP
from .weights import PROGRAM as WEIGHTS

LONG_EPOCHS = 10  # of our longest training
SHORT_MINUTES, EQUAL_MINUTES = 1, 5  # of ours
PUBLISHED_MINUTES = 10

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
    "targets.jsonl": (
        f"{COMPARE} {OURS} {IMAGES} --pairs 20000 --epochs 1",
        f"{COMPARE} {OURS} {IMAGES} --pairs 20000 --epochs 1 --clean-targets",
    ),
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

OPTIONAL = ("table1.jsonl", "curves.jsonl", "batches.jsonl", "noise_scale.jsonl",
            "scaling.jsonl", "photos.jsonl")  # they take long

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
    targets: list[Row]
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
        return [*self.trainings, self.pretraining, *self.targets, *self.speed, *self.ablations,
                *self.few_pairs, *self.table1, *self.curves, *self.batches, *self.noise_scale,
                *self.scaling, *self.photos, self.robustness, *self.noises, *self.processes,
                *self.kills]


def read(folder: Path) -> Results:
    """Read the results files.

    Args:
        folder: Has the files of COMMANDS.

    Returns:
        Their rows.

    Raises:
        ValueError: A file is missing, damaged, or has rows that do not belong together; names the
            command that makes it.
    """
    results = Results(
        trainings=latest(_read(folder, "trainings.jsonl", ("training", "weights")), TRAINING),
        pretraining=_read(folder, "pretraining.jsonl", ("pretraining",))[-1],
        targets=latest(_read(folder, "targets.jsonl", ("training",)), TRAINING),
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
    _check_alike("targets.jsonl", results.targets, ("data", "validation"))
    weights = [results.pretraining, pretrained(results.trainings)]
    _check_alike("pretraining.jsonl", weights, ("recipe",))
    if results.robustness["date"] < results.pretraining["date"]:
        raise ValueError(f"robustness.json is older than the weights; {remedy('robustness.json')}")


def _check_sweeps(results: Results) -> None:
    """ValueError if trainings of a sweep differ in more than they should."""
    _check_alike("table1.jsonl", results.table1, ("pairs", "epochs"))
    _check_alike("curves.jsonl", results.curves, ("pairs", "epochs", "seed"))
    for group in grouped(results.scaling, ("pairs",)):
        _check_alike("scaling.jsonl", group, ("epochs", "recipe"))
    for name, rows in (("ablations.jsonl", results.ablations),
                       ("few_pairs.jsonl", results.few_pairs)):
        _check_alike(name, rows, ("pairs", "epochs", "minutes", "clean_targets"))
        for group in grouped(rows, ("name",)):
            _check_alike(name, group, ("recipe",))


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
    if not file.is_file() and name in OPTIONAL:
        return []
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


def target_pairs(results: Results) -> list[tuple[Row, Row]]:
    """Trainings that differ in nothing but their targets.

    Args:
        results: What was measured.

    Returns:
        (on noisy targets, on clean targets), at least one pair, in the order of the file.

    Raises:
        ValueError: There is no pair, or one of its trainings ended early.
    """
    alike = ("name", "recipe", "epochs", "minutes", "seed", "pairs")
    pairs = []
    for group in grouped(results.targets, alike):
        by_target = {row["clean_targets"]: row for row in group}
        if len(by_target) == 2:
            pairs.append((by_target[False], by_target[True]))
    if not pairs:
        raise ValueError("targets.jsonl has no two trainings that differ in clean_targets only; "
                         + remedy("targets.jsonl"))
    for noisy, clean in pairs:
        if "epochs" in noisy and noisy["pairs_seen"] != clean["pairs_seen"]:
            raise ValueError(f"targets.jsonl has trainings of {_label(noisy)} on noisy and on "
                             f"clean targets that saw {noisy['pairs_seen']:,} and "
                             f"{clean['pairs_seen']:,} pairs: one of them ended early; "
                             + remedy("targets.jsonl"))
    return pairs
