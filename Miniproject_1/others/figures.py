"""The figure and the numbers of the report: `python -m Miniproject_1.others.figures [--results DIR] [-o DIR]`.

Reads grade.json, pretrained.json and bench.jsonl, which COMMANDS write, and the constants of the model. Writes
figures/training.pdf and results/numbers.tex, one LaTeX macro for each number of the text: report.tex holds no number
that we measured.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from .. import model
from . import baseline, pixelate
from .arguments import Parser, program
from .pixelate import check_writable, replacing

COMMANDS = {
    "grade.json": "python test.py -d DATA --epochs 10 --validation VALIDATION --results report/results/grade.json",
    "pretrained.json": "python test.py -d DATA --pairs 1000 --validation VALIDATION --results "
                       "report/results/pretrained.json",
    "bench.jsonl": "python -m Miniproject_1.others.bench ours published -d DATA --validation VALIDATION --minutes 0 "
                   "--results report/results/bench.jsonl, then with ours --minutes 5 --no-throughput, with "
                   "ours --minutes 1 --no-throughput, with published --minutes 10 --no-throughput and with "
                   "ours 'clean targets' --epochs 10 --seeds 3 --no-throughput (DATA made with `data --clean`), and "
                   "what else README.md lists",
}
EQUAL, SHORT, LONG = 5, 1, 10  # minutes of training: of both, of ours, of the published network
OURS, PUBLISHED = "#0072b2", "#d55e00"  # blue and orange that the colour-blind can tell apart
FONT = {"font.family": "STIXGeneral", "font.size": 8, "mathtext.fontset": "stix", "pdf.fonttype": 42}  # as the text's


# ------------------------------------------------------------------------------------------------ numbers
def decibels(value: float) -> str:
    return f"{value:.2f}"


def scientific(value: float) -> str:
    """0.002 as LaTeX for 2 x 10^-3, and 0.001 for 10^-3."""
    mantissa, exponent = f"{value:e}".split("e")
    factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g} \times "
    return rf"\ensuremath{{{factor}10^{{{int(exponent)}}}}}"


def machine(results: dict) -> str:
    """What a results file was measured on, as LaTeX."""
    processor = re.sub(r"[#$%&_{}]", r"\\\g<0>", results["processor"])
    return f"{processor}, {results['threads']} threads, PyTorch {results['torch']}"


def model_numbers() -> dict[str, str]:
    """The constants of the model, of the data and of the published recipe."""
    return {
        "Size": f"{pixelate.SIZE}", "Cell": f"{pixelate.CELL}",
        "Widths": " and ".join(", ".join(map(str, model.WIDTHS)).rsplit(", ", 1)),  # "32, 64 and 128"
        "Blocks": f"{model.BLOCKS}", "Batch": f"{model.BATCH}",
        "Rate": scientific(model.RATE), "FewSteps": f"{model.SHORT[0]}", "ManySteps": f"{model.SHORT[1]}",
        "Momentum": f"{model.MOMENTUM}", "Ema": f"{model.EMA}",
        "WeightPower": f"{model.WEIGHT_POWER:g}", "VarianceFloor": scientific(model.VARIANCE_FLOOR),
        "LossFloor": scientific(model.LOSS_FLOOR), "HeldOut": f"{model.HELD_OUT:,}",
        "PublishedBatch": f"{baseline.BATCH}", "PublishedRate": scientific(baseline.RATE),
        "PublishedDropout": f"{baseline.DROPOUT}",
    }


def grade_numbers(results: dict) -> dict[str, str]:
    """What grade.json holds, but for the pretrained weights, which may be newer."""
    return {
        "GradeMachine": machine(results),
        "Pairs": f"{results['pairs']:,}", "ValidationImages": f"{results['validation_images']:,}",
        "Epochs": f"{results['epochs']}", "LimitMinutes": f"{results['limit'] / 60:.0f}",
        "TrainingMinutes": f"{results['seconds']['training'] / 60:.1f}",
        "TestingSeconds": f"{results['seconds']['testing']:.0f}",
        "EstimatePooled": decibels(results["history"][-1]["psnr"]),
    } | psnr_numbers(results, "noisy") | psnr_numbers(results, "retrained")


def psnr_numbers(results: dict, stage: str) -> dict[str, str]:
    """What grade.json or pretrained.json holds about a stage."""
    return {f"{stage.capitalize()}PerImage": decibels(results["psnr"][stage]["per_image"]),
            f"{stage.capitalize()}Pooled": decibels(results["psnr"][stage]["pooled"])}


def pick(rows: list[dict], kind: str, setting: str, **wanted: float | str) -> dict:
    """The last of the rows of this kind and setting with the wanted values, trained from scratch. KeyError, naming
    it, if there is none."""
    for row in reversed(rows):
        if (row["kind"], row["setting"], row.get("from")) == (kind, setting, None) and wanted.items() <= row.items():
            return row
    raise KeyError(f"no {kind} of {setting}" + "".join(f", {name} {value}" for name, value in wanted.items()))


def bench_numbers(rows: list[dict]) -> dict[str, str]:
    """What bench.jsonl holds."""
    published = pick(rows, "training", "published", minutes=LONG)
    ours, short = (pick(rows, "training", "ours", minutes=minutes) for minutes in (EQUAL, SHORT))
    speeds = {setting: pick(rows, "throughput", setting) for setting in ("ours", "published")}
    if len({machine(row) for row in (ours, published, short, *speeds.values())}) > 1:
        raise ValueError("its rows were measured on several machines, which cannot be compared")
    parameters = sum(weight.numel() for weight in model.UNet().parameters())
    for row in (ours, short, speeds["ours"]):  # earlier rows may be of an earlier network
        if row["parameters"] != parameters:
            raise ValueError(f"its network has {row['parameters']:,} parameters, that of model.py {parameters:,}")
    # The published recipe does not anneal: what it reaches after 5 of 10 minutes is what it reaches in 5.
    halfway = min(published["history"], key=lambda row: abs(row["seconds"] - 60 * EQUAL))
    if abs(halfway["seconds"] - 60 * EQUAL) > 6:
        raise ValueError(f"the published network has no row after {EQUAL} minutes")
    numbers, forward = {}, {}
    for prefix, speed in (("Ours", speeds["ours"]), ("Published", speeds["published"])):
        forward[prefix] = speed["flops_per_pair"] / speed["passes"] / 3  # a step has two more, of gradients
        numbers |= {
            f"{prefix}Parameters": f"{speed['parameters'] / 1e6:.2f}",
            f"{prefix}Flops": f"{forward[prefix] / 1e6:,.0f}",
            f"{prefix}Throughput": f"{speed['pairs_per_second']:,.0f}",
            f"{prefix}Share": rf"{speed['share']:.0%}".replace("%", r"\%"),
        }
    return numbers | {
        "BenchMachine": machine(ours), "EqualMinutes": f"{EQUAL}", "ShortMinutes": f"{SHORT}", "LongMinutes": f"{LONG}",
        "OursEqualTime": decibels(ours["psnr"]), "OursEqualTimePooled": decibels(ours["psnr_pooled"]),
        "PublishedEqualTime": decibels(halfway["psnr"]), "PublishedLong": decibels(published["psnr"]),
        "PublishedLongPooled": decibels(published["psnr_pooled"]),
        "OursShort": decibels(short["psnr"]), "OursShortPooled": decibels(short["psnr_pooled"]),
        "OursEqualEpochs": f"{ours['pairs_seen'] / ours['pairs']:.1f}",
        "PublishedLongEpochs": f"{published['pairs_seen'] / published['pairs']:.1f}",
        "ThroughputRatio": f"{speeds['ours']['pairs_per_second'] / speeds['published']['pairs_per_second']:.1f}",
        "FlopsRatio": f"{forward['Published'] / forward['Ours']:.1f}",
        "EqualTimeGain": decibels(round(ours["psnr"], 2) - round(halfway["psnr"], 2)),  # as the table shows
        "EnsembleGain": decibels(ours["psnr"] - ours["history"][-1]["psnr"]),  # in-loop PSNR is without it
    }


def target_numbers(rows: list[dict], epochs: int) -> dict[str, str]:
    """The training on clean targets in bench.jsonl beside that on noisy ones, of the same seed, on the images of all
    other results."""
    ours = pick(rows, "training", "ours", minutes=EQUAL)
    wanted = {"epochs": epochs, "validation": ours["validation"]}
    clean = pick(rows, "training", "clean targets", **wanted)
    noisy = pick(rows, "training", "ours", **wanted, seed=clean["seed"])
    if clean["pairs_seen"] != noisy["pairs_seen"]:
        raise ValueError(f"its trainings on clean and on noisy targets saw {clean['pairs_seen']:,} and "
                         f"{noisy['pairs_seen']:,} pairs; one of them ended early")
    for key in ("data", "pairs", "parameters"):
        if not clean[key] == noisy[key] == ours[key]:
            raise ValueError(f"{key} is {clean[key]} in its training on clean targets, {noisy[key]} in that on noisy "
                             f"ones, and {ours[key]} in that of {EQUAL} minutes; they must be equal")
    return {"NoisyTargets": f"{noisy['psnr']:.3f}", "CleanTargets": f"{clean['psnr']:.3f}",
            "TargetGap": f"{round(clean['psnr'], 3) - round(noisy['psnr'], 3):.3f}"}


def read(path: Path, numbers: Callable) -> tuple[dict | list[dict], dict[str, str]]:
    """A results file and its `numbers`. ValueError, naming the command to run, if it is missing or another file."""
    command = COMMANDS[path.name]
    try:
        text = path.read_text()
        results = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
        return results, numbers(results)
    except FileNotFoundError:
        raise ValueError(f"no {path}; make it with `{command}`") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or not for this report ({error!r}); make it anew "
                         f"with `{command}`") from error


def macros(sections: dict[str, dict[str, str]]) -> str:
    """LaTeX: a comment for each section, which says where its numbers come from, then a macro for each number."""
    lines = ["% Written by `python -m Miniproject_1.others.figures`; do not edit."]
    for source, numbers in sections.items():
        lines += [f"% {source}", *(rf"\newcommand{{\{name}}}{{{text}}}" for name, text in numbers.items())]
    return "\n".join(lines) + "\n"


def source(name: str, results: dict) -> str:
    return (f"{name}: {results['date']}, PyTorch {results['torch']}, {results['device']} ({results['processor']}, "
            f"{results['threads']} threads), by `{COMMANDS[name]}`")


# ------------------------------------------------------------------------------------------------- figure
def draw(grade: dict, bench: list[dict], path: Path) -> None:
    """PSNR per epoch of the training that was graded; beside it, PSNR against time of ours and published.

    Epoch 0, the state before training, is left out: its PSNR is that of the noisy images, far below.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure  # without pyplot, which has global state
    except ImportError as error:
        raise ValueError("Matplotlib is missing: run pip install matplotlib") from error

    with matplotlib.rc_context(FONT):
        figure = Figure(figsize=(6.85, 2.1), layout="constrained")  # inches: the width of the text
        left, right = figure.subplots(1, 2)

        history = [row for row in grade["history"] if row["epoch"] > 0]
        left.plot([row["epoch"] for row in history], [row["psnr"] for row in history], "o-", color=OURS, markersize=3)
        left.set(xlabel="epoch", ylabel="PSNR (dB), est., pooled")
        left.xaxis.get_major_locator().set_params(integer=True)

        ours = pick(bench, "training", "ours", minutes=EQUAL)
        published = pick(bench, "training", "published", minutes=LONG)
        for label, training, color, marker in (("ours", ours, OURS, "o-"), ("published", published, PUBLISHED, "s--")):
            history = [row for row in training["history"] if row["epoch"] > 0]
            right.plot([row["seconds"] / 60 for row in history], [row["psnr"] for row in history], marker, color=color,
                       markersize=4, label=label)
        right.plot(ours["seconds"] / 60, ours["psnr"], "*", color=OURS, markersize=9, label="ours, self-ensemble")
        right.set(xlabel="minutes of training", ylabel="PSNR (dB), per image")
        right.set_xlim(left=0)
        right.margins(y=0.15)
        right.legend(frameon=False)

        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="pdf", metadata={"CreationDate": None})  # same input, same file


# ---------------------------------------------------------------------------------------------- the command
@program
def main(argv: list[str] | None = None) -> int:
    """Write figure and numbers; returns the exit code."""
    parser = Parser(prog="python -m Miniproject_1.others.figures", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", metavar="DIR", type=Path, default=Path("report/results"),
                        help="folder with the files that it reads; default: report/results")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("report"),
                        help="folder of report.tex; default: report")
    arguments = parser.parse_args(argv)
    figure, text = arguments.output / "figures/training.pdf", arguments.output / "results/numbers.tex"
    grade, graded = read(arguments.results / "grade.json", grade_numbers)
    weights, weighed = read(arguments.results / "pretrained.json",
                            lambda results: psnr_numbers(results, "pretrained"))
    bench, benched = read(arguments.results / "bench.jsonl",
                          lambda rows: bench_numbers(rows) | target_numbers(rows, grade["epochs"]))
    compared = pick(bench, "training", "ours", minutes=EQUAL)
    for key in ("pairs", "validation_images"):  # they share a table
        if grade[key] != compared[key]:
            raise ValueError(f"{key} is {grade[key]} in grade.json and {compared[key]} in bench.jsonl of "
                             f"{arguments.results}; run both commands with the same DATA and VALIDATION")
    if psnr_numbers(weights, "noisy") != psnr_numbers(grade, "noisy"):
        raise ValueError(f"grade.json and pretrained.json of {arguments.results} are of different validation "
                         "images; run both commands with the same VALIDATION")
    check_writable(figure)
    check_writable(text)
    with replacing(figure) as temporary:
        draw(grade, bench, temporary)
    days = sorted(row["date"][:10] for row in (grade, weights, *bench))
    sections = {"constants of the code": model_numbers(), "all results": {"FirstDate": days[0], "LastDate": days[-1]},
                source("grade.json", grade): graded, source("pretrained.json", weights): weighed,
                source("bench.jsonl", compared): benched}
    with replacing(text) as temporary:
        temporary.write_text(macros(sections))
    print(f"wrote {figure} and {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
