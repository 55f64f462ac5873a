"""The report's figure and numbers: `python -m Miniproject_1.others.study.figures`.

It reads the results files only, and writes figures/training.pdf and results/numbers.tex: one LaTeX
macro for each number, so that report.tex holds no number that was measured.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...model import Recipe
from ..command_line import Parser, program
from ..files import check_writable, replacing, write_text
from ..noise import CELL, SIZE
from .measurements import (
    EQUAL_MINUTES,
    LONG_EPOCHS,
    PUBLISHED_MINUTES,
    SHORT_MINUTES,
    Results,
    pick,
    read,
    target_pairs,
)
from .page import RESULTS, compared
from .published import PublishedRecipe
from .recipes import OURS, PUBLISHED
from .rows import Row, mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROGRAM = "python -m Miniproject_1.others.study.figures"
NEAR = 6.0  # seconds between a row of the history and the time that it is taken for
BLUE, ORANGE = "#0072b2", "#d55e00"  # which the colour-blind can tell apart
FONT: Any = {  # as the text's
    "font.family": "STIXGeneral",
    "font.size": 8,
    "mathtext.fontset": "stix",
    "pdf.fonttype": 42,
}
SIZE_IN_INCHES = (6.85, 2.1)  # the width of the text

Macros = dict[str, str]  # names and texts in LaTeX


# ---- texts -------------------------------------------------------------------------------------


def decibels(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def scientific(value: float) -> str:
    """0.002 as LaTeX for 2 x 10^-3, and 0.001 for 10^-3."""
    mantissa, exponent = f"{value:e}".split("e")
    factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g} \times "
    return rf"\ensuremath{{{factor}10^{{{int(exponent)}}}}}"


def escaped(text: str) -> str:
    """The text with LaTeX's special characters escaped."""
    return re.sub(r"[#$%&_{}]", r"\\\g<0>", text)


def listed(values: list) -> str:
    """Such as "32, 64 and 128"."""
    return " and ".join(", ".join(map(str, values)).rsplit(", ", 1))


def machine(row: Row) -> str:
    """What a row was measured on."""
    place = f"{row['processor']}, {row['threads']} threads, PyTorch {row['torch']}"
    return escaped(place)


# ---- numbers -----------------------------------------------------------------------------------


def macros(results: Results) -> dict[str, Macros]:
    """All macros, by the source of their numbers.

    Args:
        results: What was measured.

    Returns:
        A name for each macro, which LaTeX takes, and its text.

    Raises:
        ValueError: A measurement is missing.
    """
    days = sorted(row["date"][:10] for row in results.all())
    return {
        "the recipes": recipe_macros(results),
        "all results": {"FirstDate": days[0], "LastDate": days[-1]},
        "trainings.jsonl": training_macros(results),
        f"trainings.jsonl, {EQUAL_MINUTES} minutes": equal_time_macros(results),
        "targets.jsonl": target_macros(results),
        "speed.jsonl": speed_macros(results),
        "ablations.jsonl": ablation_macros(results),
    }


def recipe_macros(results: Results) -> Macros:
    """The recipe of our longest training, and the published one."""
    long = pick(results, OURS, epochs=LONG_EPOCHS)[0]
    recipe, published = Recipe(**long["recipe"]), PublishedRecipe()
    fewest, full = recipe.short_training
    return {
        "Size": f"{SIZE}",
        "Cell": f"{CELL}",
        "Widths": listed(list(recipe.widths)),
        "Blocks": f"{recipe.blocks}",
        "Batch": f"{recipe.batch}",
        "Rate": scientific(recipe.learning_rate),
        "FewSteps": f"{fewest}",
        "ManySteps": f"{full}",
        "Momentum": f"{recipe.momentum}",
        "Ema": f"{recipe.ema}",
        "LossFloor": scientific(recipe.loss_floor),
        "WeightDecay": f"{recipe.weight_decay:g}",
        "HeldOut": f"{recipe.held_out:,}",
        "PublishedBatch": f"{published.batch}",
        "PublishedRate": scientific(published.learning_rate),
        "PublishedDropout": f"{published.dropout}",
    }


def training_macros(results: Results) -> Macros:
    """PSNR and length of the trainings, and the PSNR of the pretrained weights."""
    long = pick(results, OURS, epochs=LONG_EPOCHS)
    short = pick(results, OURS, minutes=SHORT_MINUTES)
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)
    pretrained = [row for row in results.trainings if row["kind"] == "weights"][-1:]
    if not pretrained:
        raise ValueError("trainings.jsonl has no row of weights; add it by "
                         "`python -m Miniproject_1.others.study.compare --weights bestmodel.pth`")
    ensemble = mean(long, "psnr") - mean(long, "psnr_without_self_ensemble")
    first = long[0]
    return {
        "Pairs": f"{first['pairs']:,}",
        "ValidationImages": f"{first['validation']['images']:,}",
        "NoisyPerImage": decibels(first["noisy_psnr"]),
        "NoisyPooled": decibels(first["noisy_psnr_pooled"]),
        "Epochs": f"{LONG_EPOCHS}",
        "RetrainedPerImage": decibels(mean(long, "psnr")),
        "RetrainedPooled": decibels(mean(long, "psnr_pooled")),
        "EnsembleGain": decibels(ensemble),
        "PretrainedPerImage": decibels(pretrained[0]["psnr"]),
        "PretrainedPooled": decibels(pretrained[0]["psnr_pooled"]),
        "PretrainedParameters": f"{pretrained[0]['parameters'] / 1e6:.2f}",
        "ShortMinutes": f"{SHORT_MINUTES}",
        "OursShort": decibels(mean(short, "psnr")),
        "OursShortPooled": decibels(mean(short, "psnr_pooled")),
        "LongMinutes": f"{PUBLISHED_MINUTES}",
        "PublishedLong": decibels(mean(published, "psnr")),
        "PublishedLongPooled": decibels(mean(published, "psnr_pooled")),
        "PublishedLongEpochs": epochs(published),
        "BenchMachine": machine(published[0]),
    }


def difference(value: float, other: float, digits: int = 2) -> str:
    """Of the rounded values, as a table shows them."""
    return decibels(round(value, digits) - round(other, digits), digits)


def epochs(rows: list[Row]) -> str:
    """How often each pair was seen."""
    return f"{mean(rows, 'pairs_seen') / rows[0]['pairs']:.1f}"


def equal_time_macros(results: Results) -> Macros:
    """Ours and published after the same time."""
    ours = pick(results, OURS, minutes=EQUAL_MINUTES)
    # The published recipe has no schedule: halfway it is where a shorter training would end.
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)
    then = statistics.mean(psnr_after(60 * EQUAL_MINUTES, row["history"]) for row in published)
    return {
        "EqualMinutes": f"{EQUAL_MINUTES}",
        "OursEqualTime": decibels(mean(ours, "psnr")),
        "OursEqualTimePooled": decibels(mean(ours, "psnr_pooled")),
        "OursEqualEpochs": epochs(ours),
        "EqualTimeGain": difference(mean(ours, "psnr"), then),
    }


def psnr_after(seconds: float, history: list[dict]) -> float:
    """The PSNR in dB after this time of a training.

    Args:
        seconds: Of training.
        history: Of the training.

    Returns:
        That of the nearest row.

    Raises:
        ValueError: No row is near.
    """
    row = min(history, key=lambda row: abs(row["seconds"] - seconds))
    if abs(row["seconds"] - seconds) > NEAR:
        raise ValueError(f"trainings.jsonl has no row of the published network after {seconds:g} "
                         f"s, the nearest one is after {row['seconds']:.0f} s; train it anew")
    return row["psnr"]


def target_macros(results: Results) -> Macros:
    """Trainings of ours on noisy and on clean targets: means over seeds."""
    pairs = target_pairs(results)
    noisy = statistics.mean(row["psnr"] for row, _ in pairs)
    clean = statistics.mean(row["psnr"] for _, row in pairs)
    first = pairs[0][0]
    return {
        "NoisyTargets": decibels(noisy, 3),
        "CleanTargets": decibels(clean, 3),
        "TargetGap": difference(clean, noisy, 3),
        "TargetPairs": f"{first['pairs']:,}",
        "TargetEpochs": epochs([first]).removesuffix(".0"),
    }


def speed_macros(results: Results) -> Macros:
    """Parameters, work and speed of both networks."""
    rows = {row["name"]: row for row in results.speed}
    for name in (OURS, PUBLISHED):
        if name not in rows:
            raise ValueError(f"speed.jsonl has no row of {name}; measure both in one run")
    ours, published = rows[OURS], rows[PUBLISHED]
    ratio = ours["pairs_per_second"] / published["pairs_per_second"]
    return {
        **network_macros("Ours", ours),
        **network_macros("Published", published),
        "ThroughputRatio": f"{ratio:.1f}",
        "FlopsRatio": f"{forward_flops(published) / forward_flops(ours):.1f}",
    }


def network_macros(prefix: str, row: Row) -> Macros:
    """What the table of costs says of one network."""
    return {
        f"{prefix}Parameters": f"{row['parameters'] / 1e6:.2f}",
        f"{prefix}Flops": f"{forward_flops(row) / 1e6:,.0f}",
        f"{prefix}Throughput": f"{row['pairs_per_second']:,.0f}",
        f"{prefix}Share": escaped(f"{row['share']:.0%}"),
    }


def forward_flops(row: Row) -> float:
    """Of one image; a training pass has two more, of gradients."""
    return row["flops_per_pair"] / row["passes"] / 3


def ablation_macros(results: Results) -> Macros:
    """The lines of a table, `recipe & PSNR & dB against ours & parameters in M`, best first."""
    lines = []
    for name, _, group, gap in compared(results.ablations):
        against = "" if name == OURS else rf"\ensuremath{{{gap:+.2f}}}"
        parameters = f"{group[0]['parameters'] / 1e6:.2f}"
        shown = [escaped(name), decibels(mean(group, "psnr")), against, parameters]
        lines.append(" & ".join(shown) + r" \\")
    first = results.ablations[0]
    return {
        "AblationRows": " ".join(lines),
        "AblationPairs": f"{first['pairs']:,}",
        "AblationEpochs": epochs([first]).removesuffix(".0"),
    }


def latex(sections: dict[str, Macros]) -> str:
    """Macros as LaTeX, with a comment above each section."""
    lines = [f"% Written by `{PROGRAM}`; do not edit."]
    for source, numbers in sections.items():
        lines.append(f"% {source}")
        lines += [rf"\newcommand{{\{name}}}{{{text}}}" for name, text in numbers.items()]
    return "\n".join(lines) + "\n"


# ---- figure ------------------------------------------------------------------------------------


def draw(results: Results, path: Path) -> None:
    """PSNR per epoch of our longest training; beside it, PSNR against time.

    The state before training is left out: its PSNR is that of the noisy images, far below.

    Args:
        results: What was measured.
        path: The PDF to write.

    Raises:
        ValueError: Matplotlib or a measurement is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure  # without pyplot, which has global state
    except ImportError as error:
        raise ValueError("Matplotlib is missing: run pip install matplotlib") from error

    with matplotlib.rc_context(FONT):
        figure = Figure(figsize=SIZE_IN_INCHES, layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_epochs(left, results)
        draw_time(right, results)
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(y=0.15)
            axes.legend(frameon=False)
        figure.savefig(path, format="pdf", metadata={"CreationDate": None})  # same input, same file


def draw_epochs(axes: "Axes", results: Results) -> None:
    """PSNR per epoch of our longest training."""
    long = pick(results, OURS, epochs=LONG_EPOCHS)[0]
    plot(axes, long, "epoch", 1, "o-", BLUE, "ours")
    axes.set(xlabel="epoch", ylabel="PSNR (dB), per image")
    axes.locator_params(axis="x", integer=True)


def draw_time(axes: "Axes", results: Results) -> None:
    """PSNR against minutes, ours and published; stars are with self-ensemble."""
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)[0]
    ours = pick(results, OURS, minutes=EQUAL_MINUTES)[0]
    plot(axes, ours, "seconds", 60, "o-", BLUE, "ours")
    axes.plot(ours["seconds"] / 60, ours["psnr"], "*", color=BLUE, markersize=9,
              label="ours, self-ensemble")
    plot(axes, published, "seconds", 60, "s--", ORANGE, "published")
    axes.set(xlabel="minutes of training", ylabel="PSNR (dB), per image")
    axes.set_xlim(left=0)


def plot(axes: "Axes", training: Row, key: str, unit: float, style: str, color: str,
         label: str) -> None:
    """The PSNR of a training against a key of its history, in units."""
    history = [row for row in training["history"] if row["epoch"] > 0]
    x = [row[key] / unit for row in history]
    y = [row["psnr"] for row in history]
    axes.plot(x, y, style, color=color, markersize=3, label=label)


# ---- the command -------------------------------------------------------------------------------


@program
def main(argv: list[str] | None = None) -> int:
    """Write figure and numbers; `program` says what it takes and returns."""
    arguments = _parser().parse_args(argv)
    figure = arguments.output / "figures/training.pdf"
    numbers = arguments.output / "results/numbers.tex"
    results = read(arguments.results)
    text = latex(macros(results))
    check_writable(figure)
    check_writable(numbers)
    with replacing(figure) as temporary:
        draw(results, temporary)
    write_text(numbers, text)
    print(f"wrote {figure} and {numbers}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Write the report's figure and numbers.")
    add = parser.add_argument
    add("--results", metavar="DIR", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    add("-o", "--output", metavar="DIR", type=Path, default=RESULTS.parent,
        help=f"folder of report.tex; default: {RESULTS.parent}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
