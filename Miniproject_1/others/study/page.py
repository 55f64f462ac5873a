"""Write the page of results: `python -m Miniproject_1.others.study.page`.

All of it comes from the results files of report/results; with --check the page is only compared.
"""

import argparse
import statistics
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..command_line import Parser, program
from ..files import check_writable, write_text
from . import kills, noise_scale, noises, parallel, published_study, robustness
from .compare import speed_table
from .kinds import CLIPPED
from .measurements import (
    MACHINE,
    Results,
    add_results_options,
    chosen_results,
    on_both_targets,
    our_recipe,
    target_gaps,
)
from .presets import BATCH_PAIRS, STEPS, in_common
from .recipes import OURS, PUBLISHED, changes
from .rows import (
    Row,
    after_start,
    budget,
    decibels,
    grouped,
    listed,
    markdown,
    mean,
    seeds,
    spread,
    title,
)

PROGRAM = "python -m Miniproject_1.others.study.page"
PAGE = Path("report/RESULTS.md")
TRAINED = ("training", "pretraining", "noise")  # kinds of rows that tell of a training
MANY = 6  # more names are not listed
WIDTH = 100  # columns of the page's sentences
SOURCES = {"photos": "from photos", "scenes": "from generated scenes", "given": "given as files"}
HEAD = f"""# Results

`{PROGRAM}` makes this page of the files in [results](results).
PSNR is in dB: *per image* is the mean over images, the course's score; *pooled* is that of their
mean error, which is lower. Several seeds give mean ± standard deviation. In the commands DATA is a
folder made by `python -m Miniproject_1 data --clean`, VALIDATION a file of (noisy, clean) images
and PHOTOS a folder of photos; each writes its rows with `--results FILE`."""


def page(results: Results) -> str:
    """The page.

    Args:
        results: What was measured.

    Returns:
        Markdown.

    Raises:
        ValueError: A section has no rows.
    """
    parts = (accuracy, pretraining, speed, published_grid, epoch_by_epoch, number_of_pairs,
             ablations, few_pairs, batch_size, photos, other_sizes, other_noise,
             several_processes, survival)
    return "\n\n".join([HEAD, *(part(results) for part in parts)]) + "\n"


# ---- sections ----------------------------------------------------------------------------------


def accuracy(results: Results) -> str:
    """The PSNR of all trainings and of weights, from low to high."""
    rows = results.trainings
    groups = grouped(rows, ("kind", "name", "epochs", "minutes"))
    groups.sort(key=lambda group: mean(group, "psnr"))
    first = rows[0]
    noisy = [f"{first['noisy_psnr']:.2f}", f"{first['noisy_psnr_pooled']:.2f}"]
    lines = [["noisy images", *noisy, "", "", "", ""]]
    for group in groups:
        name = ", ".join(text for text in (title(group[0]), budget(group[0])) if text)
        seen = ""
        if group[0]["kind"] == "training":
            seen = f"{mean(group, 'pairs_seen'):,.0f}"
        lines.append([name, decibels(group), decibels(group, "psnr_pooled"),
                      decibels(group, "psnr_without_self_ensemble"),
                      f"{group[0]['parameters']:,}", seen, seeds(group)])
    heads = ["", "per image", "pooled", "without self-ensemble", "parameters", "pairs seen",
             "seeds"]
    return section(
        "Accuracy", "PSNR of the denoised validation images. The published network of "
        "[published.py](../Miniproject_1/others/study/published.py) has no self-ensemble, as "
        "CAREamics has none.",
        markdown(heads, lines), rows, "trainings.jsonl")


def pretraining(results: Results) -> str:
    """The training of the pretrained weights, epoch by epoch."""
    row = results.pretraining
    lines = [[f"{epoch['epoch']}", decibels([epoch], "loss", 4), decibels([epoch]),
              f"{epoch['seconds'] / 60:.0f}"] for epoch in row["history"]]
    changed = changes(row["recipe"], our_recipe(results)) or "none"
    return section(
        "Pretrained weights", f"The training of {row['name']}; changes of the recipe: {changed}; "
        f"{row['parameters']:,} parameters. PSNR per image without self-ensemble, of photos "
        "held out of the training, which are not those of Accuracy.",
        markdown(["epoch", "loss", "PSNR", "minutes"], lines, texts=0), [row],
        "pretraining.jsonl")


def speed(results: Results) -> str:
    """Pairs and images per second."""
    rows = results.speed
    precisions = ", ".join(f"{row['name']} in {row['precision']}" for row in rows)
    turns = f"{rows[0]['turns']} turns of {rows[0]['turn_seconds']:g} s"
    return section(
        "Speed", f"Medians over {turns}; {precisions}. The share is of the FLOP/s of a product of "
        "two large matrices in the same precision.", speed_table(rows), rows, "speed.jsonl")


def published_grid(results: Results) -> str:
    """The published study, rerun with both networks."""
    rows = results.table1
    first = rows[0]
    about = (
        f"PSNR per image in the settings of the published study, after {budget(first)} of "
        f"{first['pairs']:,} pairs; as reported, after 10 epochs of 50,000 pairs of the course. "
        f"Rates are multiples of {published_study.RATES[PUBLISHED]:g} in the published network and "
        f"of {published_study.RATES[OURS]:g} in ours. The second table has the "
        "mean difference between settings that differ in that field only.")
    tables = f"{published_study.table(rows)}\n\n{published_study.findings(rows)}"
    return section("The published study, rerun", about, tables, rows, "table1.jsonl")


def epoch_by_epoch(results: Results) -> str:
    """What trainings say of themselves after each epoch."""
    rows = results.curves
    heads = ["epoch", *(f"{row['name']}: {head}" for row in rows
                        for head in ("loss", "per image", "pooled", "estimated"))]
    lines = []
    for epochs in zip(*map(after_start, rows), strict=True):
        lines.append([f"{epochs[0]['epoch']}"])
        for epoch in epochs:
            lines[-1].append(decibels([epoch], "loss", 4))
            lines[-1] += [decibels([epoch], key) for key in ("psnr", "psnr_pooled", "est_psnr")]
    return section(
        "Epoch by epoch", f"Training loss and PSNR without self-ensemble, {budget(rows[0])} of "
        f"{rows[0]['pairs']:,} pairs. The estimate is of noisy pairs that are not trained on, "
        "without a clean image, and is pooled.", markdown(heads, lines, texts=0), rows,
        "curves.jsonl")


def number_of_pairs(results: Results) -> str:
    """Trainings on more and more pairs, with noisy and with clean targets."""
    rows = results.scaling
    lines = []
    for group in sorted(grouped(rows, ("pairs",)), key=lambda group: group[0]["pairs"]):
        noisy, clean = on_both_targets(group)
        lines.append([f"{group[0]['pairs']:,}", f"{group[0]['epochs']}", decibels(noisy, digits=3),
                      decibels(clean, digits=3), spread(target_gaps(group), 3)])
    heads = ["pairs", "epochs", "noisy targets", "clean targets", "difference"]
    return section(
        "Number of pairs", "PSNR per image after about as many steps on more and more pairs. "
        "Differences are of trainings with the same seed.", markdown(heads, lines, texts=0), rows,
        "scaling.jsonl")


def batch_size(results: Results) -> str:
    """Trainings in small and large batches, and the noise of the gradient."""
    rows = results.batches
    lines = []
    for group in grouped(rows, ("recipe",)):
        recipe = group[0]["recipe"]
        by_budget = {seen: [row for row in group if in_common(row) == seen]
                     for seen in ("pairs", "steps")}
        lines.append([f"{recipe['batch']}", f"{recipe['learning_rate']:.2g}",
                      *(decibels(some, digits=3) for some in by_budget.values())])
    heads = ["batch", "learning rate", f"{BATCH_PAIRS:,} pairs", f"{STEPS} steps"]
    tables = f"{markdown(heads, lines, texts=0)}\n\n{noise_scale.table(results.noise_scale)}"
    return section(
        "Batch size", "PSNR per image of ours at equal pairs and at equal steps. Below: the "
        "gradient's noise scale, the batch whose gradient is as much noise as signal, at the end "
        "of some epochs ([noise_scale.jsonl](results/noise_scale.jsonl)).", tables,
        [*rows, *results.noise_scale], "batches.jsonl")


def ablations(results: Results) -> str:
    """All recipes after the same training, from high to low PSNR."""
    rows = results.ablations
    about = f"One change of the recipe each, {budget(rows[0])} of {rows[0]['pairs']:,} pairs."
    return comparison("Ablations", about, rows)


def few_pairs(results: Results) -> str:
    """What keeps a training from fitting the noise of few pairs."""
    rows = results.few_pairs
    about = ("Ours, and without what is to keep it from fitting the noise of few pairs: "
             f"{budget(rows[0])} of {rows[0]['pairs']:,} pairs.")
    return comparison("Few pairs", about, rows)


def comparison(heading: str, about: str, rows: list[Row]) -> str:
    """A section with a line per recipe, from high to low PSNR.

    Args:
        heading, about: Of the section.
        rows: Of a sweep of changes.

    Returns:
        Markdown.

    Raises:
        ValueError: As `compared`.
    """
    lines = []
    for ablation in compared(rows):
        against = spread(ablation.gaps, 3) if ablation.change else ""
        lines.append([ablation.name, ablation.change, decibels(ablation.rows, ablation.key, 3),
                      against, f"{ablation.rows[0]['parameters']:,}", ablation.speed])
    heads = ["recipe", "change", "per image", f"against {OURS}", "parameters", "speed"]
    about += (" Differences are of trainings with the same seed, speeds are pairs per second "
              f"relative to {OURS}.")
    return section(heading, about, markdown(heads, lines, texts=2), rows, file_of(rows))


@dataclass(frozen=True)
class Ablation:
    """One change of the recipe.

    Attributes:
        name, change: Of the recipe, and in what it differs from ours; "" for ours.
        rows: One per seed.
        key: The quantity in them, in dB.
        gaps: dB above ours of the same seed.
        speed: Pairs per second of training relative to ours, "-" if measured elsewhere.
    """

    name: str
    change: str
    rows: list[Row]
    key: str
    gaps: list[float]
    speed: str


def file_of(rows: list[Row]) -> str:
    """The results file of a sweep."""
    return f"{rows[0]['preset']}.jsonl"


def compared(rows: list[Row]) -> list[Ablation]:
    """The ablations, best first.

    Args:
        rows: Of a sweep of changes.

    Returns:
        One of each name, and ours without self-ensemble.

    Raises:
        ValueError: "ours" is missing, or has other seeds than another recipe.
    """
    groups = {group[0]["name"]: sorted(group, key=lambda row: row["seed"])
              for group in grouped(rows, ("name",))}
    file = file_of(rows)
    if OURS not in groups:
        raise ValueError(f"{file} has no training of {OURS}, which all are compared with")
    ours = groups[OURS]
    for name, group in groups.items():
        if seeds(group) != seeds(ours):
            raise ValueError(f"{file} has seeds {seeds(group)} of {name}, but "
                             f"{seeds(ours)} of {OURS}; train both with the same --seeds")

    def gaps(group: list[Row], key: str) -> list[float]:
        return [row[key] - own["psnr"] for row, own in zip(group, ours, strict=True)]

    found = [Ablation(name, changes(group[0]["recipe"], ours[0]["recipe"]), group, "psnr",
                      gaps(group, "psnr"), relative_speed(group, ours))
             for name, group in groups.items()]
    single = "psnr_without_self_ensemble"
    found.append(Ablation("no self-ensemble", "predict(self_ensemble=False)", ours, single,
                          gaps(ours, single), relative_speed(ours, ours)))
    return sorted(found, key=lambda ablation: -statistics.mean(ablation.gaps))


def relative_speed(rows: list[Row], ours: list[Row]) -> str:
    """Such as "0.50", the mean over the seeds that one machine trained both with; "-" for none."""
    ratios = [row["pairs_per_second"] / own["pairs_per_second"]
              for row, own in zip(rows, ours, strict=True)
              if all(row[key] == own[key] for key in MACHINE)]
    return f"{statistics.mean(ratios):.2f}" if ratios else "-"


def photos(results: Results) -> str:
    """The photos of the report's picture."""
    rows = results.photos
    row = rows[0]
    lines = [[f"{number}", *(f"{score:.2f}" for score in scores)]
             for number, scores in enumerate(zip(*row["psnr"].values(), strict=True), 1)]
    return section(
        "Photos", f"PSNR of the photos of [{row['name']}](figures/{row['name']}), in its order, "
        f"denoised by both networks after {row['minutes']:g} minutes of training each, seed "
        f"{row['seed']}.",
        markdown(["photo", *row["psnr"]], lines), rows, "photos.jsonl")


def other_sizes(results: Results) -> str:
    """Noise and sizes that the network was not trained on."""
    row = results.robustness
    table = markdown(robustness.HEADS, map(robustness.cells, row["cases"]))
    return section(
        "Other cells and sizes", f"PSNR per image of {row['name']}; *worse* counts the images that "
        "lost by denoising. Its noise in training is that of the first line.", table, [row],
        "robustness.json")


def other_noise(results: Results) -> str:
    """Trainings on other kinds of noise, beside filters."""
    rows = results.noises
    about = (
        f"Trainings of {budget(rows[0])} on pairs of photos with other noise, by the recipe that "
        "`train -a -b` chooses for them. The blur is the best one for the photos measured, as only "
        "their clean values can tell; BM3D is told how the noise was made.")
    wrong = [row for row in rows if row["name"] == CLIPPED]
    texts = [about, *([_biased(wrong)] if wrong else [])]
    return section("Other kinds of noise", " ".join(texts), noises.table(rows), rows,
                   "noises.jsonl")


def _biased(rows: list[Row]) -> str:
    """What trainings on noise whose mean is not zero end with."""
    first = rows[0]
    targets = {False: "noisy", True: "clean"}
    errors = [f"{row['bias']:+.1f} after training on {targets[row['clean_targets']]} targets"
              for row in rows]
    return ("Clipped noise breaks the assumption of Noise2Noise, as its mean is not zero: the mean "
            f"error is {first['noisy_bias']:+.1f} of {first['peak']:g} in the noisy photos, "
            f"{', '.join(errors)}.")


def several_processes(results: Results) -> str:
    """One training in several processes."""
    rows = results.processes
    about = ("Training in one process, and in several that share its threads: medians over "
             f"{rows[0]['turns']} turns of {rows[0]['turn_seconds']:g} s.")
    return section("Several processes", about, parallel.table(rows), rows, "processes.jsonl")


def survival(results: Results) -> str:
    """Trainings that were killed."""
    rows = results.kills
    about = ("Small trainings, killed at a random moment and resumed; their weights are compared "
             "with those of a training in one go.")
    return section("Survival", about, kills.table(rows), rows, "kills.jsonl")


# ---- what stands below each table --------------------------------------------------------------


def section(heading: str, about: str, table: str, rows: list[Row], file: str) -> str:
    """A section with where its numbers come from.

    Args:
        heading: Of the section.
        about: A sentence or two.
        table: Markdown.
        rows: That the table is made of.
        file: That has them.

    Returns:
        Markdown.
    """
    facts = [*data(rows), *machines(rows), f"rows of [{file}](results/{file}), made by"]
    shown = "\n".join(f"- {fact}" for fact in facts)
    commands = "\n".join(unique(row["command"] for row in rows))
    about = textwrap.fill(about, WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"## {heading}\n\n{about}\n\n{table}\n\n{shown}\n\n```sh\n{commands}\n```"


def data(rows: list[Row]) -> list[str]:
    """What was trained on and what was measured on, with the seeds of the trainings."""
    facts = []
    for group in grouped(_distinct(rows, ("data", "pairs")), ("data",)):
        facts.append(_training_data(group))
    for row in _distinct(rows, ("validation",)):
        images = row["validation"]
        facts.append(f"measured on {images['images']:,} images, checksum {images['checksum']}")
    used = unique(str(row["seed"]) for row in rows if row["kind"] in TRAINED)
    if used:
        facts.append(f"seeds of training: {', '.join(used)}")
    return facts


def _distinct(rows: list[Row], keys: tuple[str, ...]) -> list[Row]:
    """A row for each value of the keys, of those that have them."""
    with_keys = [row for row in rows if row.get(keys[0]) is not None]
    return [group[0] for group in grouped(with_keys, keys)]


def _training_data(rows: list[Row]) -> str:
    """A sentence about the `data` that rows with several numbers of pairs have in common."""
    row = rows[0]
    told = row["data"]
    seed = "" if told["seed"] is None else f", seed {told['seed']}"
    name = f"{seed}, checksum {told['checksum']}"
    if row["kind"] == "noise":
        return f"trained on {row['pairs']:,} pairs from {told['squares']:,} {told['kind']}{name}"
    if row["kind"] == "robustness":
        return f"{told['photos']:,} photos that `data --photos` holds out of training{name}"
    source = SOURCES.get(told["kind"], told["kind"])
    counts = sorted({row["pairs"] for row in rows})
    some = ""
    if counts != [told["pairs"]]:
        some = f"the first {listed(f'{count:,}' for count in counts)} of "
    return f"trained on {some}{told['pairs']:,} pairs {source}{name}"


def machines(rows: list[Row]) -> list[str]:
    """Where and when; with the names of what was measured, if it was on several machines."""
    groups = grouped(rows, MACHINE)
    facts = []
    for group in groups:
        days = sorted({row["date"][:10] for row in group})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        row = group[0]
        place = (f"{row['processor']} ({row['device']}, {row['threads']} threads), "
                 f"PyTorch {row['torch']}, {when}")
        if len(groups) > 1:
            place = f"{_names(group)}: {place}"
        facts.append(place)
    return facts


def _names(rows: list[Row]) -> str:
    """What was measured; of many settings, how many of which network."""
    names = unique(f"{title(row)} {budget(row)}".strip() for row in rows)
    if len(names) <= MANY:
        return ", ".join(names)
    networks = [row.get("network", row["name"]) for row in rows]
    return ", ".join(f"{networks.count(name)} trainings of {name}" for name in unique(networks))


def unique(texts: Iterable[str]) -> list[str]:
    """Each once, in order of their first places."""
    return list(dict.fromkeys(texts))


# ---- the command -------------------------------------------------------------------------------


@program
def main(argv: list[str] | None = None) -> int:
    """Write or check the page; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    output, text = arguments.output, page(chosen_results(arguments))
    if arguments.check:
        if not output.is_file() or output.read_text(encoding="utf-8") != text:
            raise ValueError(f"{output} is not what {arguments.results} gives; write it anew with "
                             f"`{PROGRAM}`")
        print(f"{output} is what {arguments.results} gives")
        return 0
    check_writable(output)
    write_text(output, text)
    print(f"wrote {output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Write the page of results from the results files.")
    add_results_options(parser)
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", type=Path, default=PAGE, help=f"default: {PAGE}")
    add("--check", action="store_true", help="write nothing; exit code 2 if the page is another")
    return parser


if __name__ == "__main__":
    sys.exit(main())
