"""The numbers of the report: one LaTeX macro for each, from the results files.

So report.tex holds no number that was measured.
"""

import math
import re
import statistics

from ...model import Recipe
from ..noise import CELL, SIZE
from ..picture import SIDE as PHOTO_SIDE
from . import noises, published_study
from .careamics_training import NETWORK as CAREAMICS
from .careamics_training import TOGETHER
from .kinds import CLIPPED, GAUSSIAN, MASKED
from .measurements import (
    EQUAL_MINUTES,
    LONG_EPOCHS,
    PUBLISHED_MINUTES,
    SHORT_MINUTES,
    Results,
    batch_scores,
    on_both_targets,
    our_recipe,
    pick,
    pretrained,
    remedy,
    target_gaps,
)
from .noise_scale import by_epoch
from .page import compared
from .presets import AGAINST_FITTING, BATCH_PAIRS, BATCH_SIZES, STEPS
from .published import PublishedRecipe
from .recipes import OURS, PUBLISHED
from .rows import Row, after_start, grouped, listed, mean, spread

PROGRAM = "python -m Miniproject_1.others.study.figures"  # which writes them
NEAR = 6.0  # seconds between a row of the history and the time that it is taken for

Macros = dict[str, str]  # names and texts in LaTeX


# ---- texts -------------------------------------------------------------------------------------


def fixed(value: float, digits: int = 2) -> str:
    """Such as "25.91"."""
    return f"{value:.{digits}f}"


def two_digits(value: float) -> str:
    """Such as "12,000" for 11,620."""
    return f"{float(f'{value:.2g}'):,.0f}"


def scientific(value: float) -> str:
    """0.002 as LaTeX for 2 x 10^-3, and 0.001 for 10^-3."""
    mantissa, exponent = f"{value:e}".split("e")
    factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g} \times "
    return rf"\ensuremath{{{factor}10^{{{int(exponent)}}}}}"


def escaped(text: str) -> str:
    """The text with LaTeX's special characters escaped."""
    return re.sub(r"[#$%&_{}]", r"\\\g<0>", text)


def with_signs(text: str) -> str:
    """The text, escaped, with the signs of mathematics for ±, × and a number's minus."""
    signs = {"±": r"\pm", "×": r"\times"}
    return re.sub(r"[±×]|-(?=\d)", lambda sign: rf"\ensuremath{{{signs.get(sign[0], '-')}}}",
                  escaped(text))


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
        "pretraining.jsonl": pretraining_macros(results),
        f"trainings.jsonl, {EQUAL_MINUTES} minutes": equal_time_macros(results),
        "trainings.jsonl, CAREamics": careamics_macros(results),
        "speed.jsonl": speed_macros(results),
        "table1.jsonl": grid_macros(results),
        "curves.jsonl": curve_macros(results),
        "batches.jsonl": batch_macros(results),
        "noise_scale.jsonl": noise_scale_macros(results),
        "scaling.jsonl": scaling_macros(results),
        "photos.jsonl": photo_macros(results),
        "ablations.jsonl": ablation_macros(results),
        "few_pairs.jsonl": few_pairs_macros(results),
        "robustness.json": robustness_macros(results),
        "noises.jsonl": noise_macros(results),
    }


def recipe_macros(results: Results) -> Macros:
    """The recipe of our longest training, and the published one."""
    recipe, published = Recipe(**our_recipe(results)), PublishedRecipe()
    fewest, full = recipe.short_training
    return {
        "Size": f"{SIZE}",
        "Cell": f"{CELL}",
        "Widths": listed(recipe.widths),
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
        "PublishedRate": scientific(published.learning_rate),
        "PublishedDropout": f"{published.dropout}",
    }


def training_macros(results: Results) -> Macros:
    """PSNR and length of the trainings."""
    long = pick(results, OURS, epochs=LONG_EPOCHS)
    short = pick(results, OURS, minutes=SHORT_MINUTES)
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)
    ensemble = mean(long, "psnr") - mean(long, "psnr_without_self_ensemble")
    first = long[0]
    return {
        "Pairs": f"{first['pairs']:,}",
        "ValidationImages": f"{first['validation']['images']:,}",
        "NoisyPerImage": fixed(first["noisy_psnr"]),
        "NoisyPooled": fixed(first["noisy_psnr_pooled"]),
        "Epochs": f"{LONG_EPOCHS}",
        "RetrainedPerImage": fixed(mean(long, "psnr")),
        "RetrainedPooled": fixed(mean(long, "psnr_pooled")),
        "RetrainedMinutes": f"{mean(long, 'seconds') / 60:.0f}",
        "RetrainedSeen": seen(long),
        "EnsembleGain": fixed(ensemble),
        "ShortMinutes": f"{SHORT_MINUTES}",
        "OursShort": fixed(mean(short, "psnr")),
        "OursShortPooled": fixed(mean(short, "psnr_pooled")),
        "OursShortSeen": seen(short),
        "LongMinutes": f"{PUBLISHED_MINUTES}",
        "PublishedLong": fixed(mean(published, "psnr")),
        "PublishedLongPooled": fixed(mean(published, "psnr_pooled")),
        "PublishedLongSeen": seen(published),
        "PublishedLongEpochs": epochs(published),
        "BenchMachine": machine(published[0]),
    }


def pretraining_macros(results: Results) -> Macros:
    """The pretrained weights: their recipe, training and PSNR."""
    training, measured = results.pretraining, pretrained(results.trainings)
    gain = difference(measured["psnr"], measured["psnr_without_self_ensemble"])
    return {
        "PretrainedPerImage": fixed(measured["psnr"]),
        "PretrainedPooled": fixed(measured["psnr_pooled"]),
        "PretrainedEnsembleGain": gain,
        "PretrainedBlocks": f"{training['recipe']['blocks']}",
        "PretrainedParameters": f"{training['parameters'] / 1e6:.2f}",
        "PretrainedPairs": f"{training['pairs']:,}",
        "PretrainedEpochs": f"{training['epochs']}",
        "PretrainedSeen": f"{training['pairs_seen']:,}",
        "PretrainedMinutes": f"{training['seconds'] / 60:.0f}",
        "PretrainedMachine": machine(training),
    }


def difference(value: float, other: float, digits: int = 2) -> str:
    """Of the rounded values, as a table shows them."""
    return fixed(round(value, digits) - round(other, digits), digits)


def seen(rows: list[Row]) -> str:
    """How many pairs were seen in all steps together."""
    return f"{mean(rows, 'pairs_seen'):,.0f}"


def epochs(rows: list[Row]) -> str:
    """How often each pair was seen."""
    return f"{mean(rows, 'pairs_seen') / rows[0]['pairs']:.1f}"


def equal_time_macros(results: Results) -> Macros:
    """Ours, and how far it is above the published network after the same and twice the time."""
    ours = pick(results, OURS, minutes=EQUAL_MINUTES)
    # The published recipe has no schedule: halfway it is where a shorter training would end.
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)
    then = statistics.mean(psnr_after(60 * EQUAL_MINUTES, row["history"]) for row in published)
    return {
        "EqualMinutes": f"{EQUAL_MINUTES}",
        "OursEqualTime": fixed(mean(ours, "psnr")),
        "OursEqualTimePooled": fixed(mean(ours, "psnr_pooled")),
        "OursEqualEpochs": epochs(ours),
        "OursEqualSeen": seen(ours),
        "EqualTimeGain": difference(mean(ours, "psnr"), then),
        "HalfTimeGain": difference(mean(ours, "psnr"), mean(published, "psnr")),
    }


def careamics_macros(results: Results) -> Macros:
    """CAREamics with its defaults, and how far ours is above it after the same time."""
    rows = [row for row in results.trainings if row.get("network") == CAREAMICS
            and row["minutes"] == EQUAL_MINUTES and not row["name"].endswith(TOGETHER)]
    if not rows:
        raise ValueError(f"trainings.jsonl has no training of CAREamics, minutes {EQUAL_MINUTES}; "
                         + remedy("trainings.jsonl"))
    ours = pick(results, OURS, minutes=EQUAL_MINUTES)
    return {
        "CareamicsPerImage": fixed(mean(rows, "psnr")),
        "CareamicsPooled": fixed(mean(rows, "psnr_pooled")),
        "CareamicsGain": difference(mean(ours, "psnr"), mean(rows, "psnr")),
        "CareamicsSeen": seen(rows),
        "CareamicsVersion": rows[0]["name"].split()[1],
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


def speed_macros(results: Results) -> Macros:
    """Parameters, work and speed of both networks."""
    rows = {row["name"]: row for row in results.speed}
    for name in (OURS, PUBLISHED):
        if name not in rows:
            raise ValueError(f"speed.jsonl has no row of {name}; measure both in one run")
    ours, published = rows[OURS], rows[PUBLISHED]
    return {
        **network_macros("Ours", ours),
        **network_macros("Published", published),
        "WorkRatio": f"{published['flops_per_pair'] / ours['flops_per_pair']:.1f}",
        "ThroughputRatio": f"{ours['pairs_per_second'] / published['pairs_per_second']:.1f}",
        "SpeedMachine": machine(ours),
    }


def network_macros(prefix: str, row: Row) -> Macros:
    """Parameters, work and speed of one network."""
    return {
        f"{prefix}Parameters": f"{row['parameters'] / 1e6:.2f}",
        f"{prefix}Flops": f"{forward_flops(row) / 1e6:,.0f}",
        f"{prefix}Throughput": f"{row['pairs_per_second']:,.0f}",
    }


def forward_flops(row: Row) -> float:
    """Of one image; a training pass has two more, of gradients."""
    return row["flops_per_pair"] / row["passes"] / 3


def grid_macros(results: Results) -> Macros:
    """The published study, rerun: lines `finding & reported & published here & ours`."""
    rows = results.table1
    lines = [" & ".join(map(with_signs, line)) + r" \\"
             for line in published_study.finding_lines(rows)]
    batches = published_study.BATCHES
    many, few = (math.ceil(rows[0]["pairs_seen"] / batch) for batch in (batches[0], batches[-1]))
    return {
        "GridSettings": f"{len(published_study.CELLS)}",
        "GridPairs": f"{rows[0]['pairs_seen']:,}",
        "GridRate": scientific(published_study.RATES[OURS]),
        "FindingRows": " ".join(lines),
        "GridManySteps": f"{many}",
        "GridFewSteps": f"{few}",
    }


def curve_macros(results: Results) -> Macros:
    """Trainings epoch by epoch; how far estimates are from the pooled PSNR of other images."""
    first = results.curves[0]
    gaps = [abs(epoch["est_psnr"] - epoch["psnr_pooled"])
            for row in results.curves for epoch in after_start(row)]
    return {
        "CurvePairs": f"{first['pairs']:,}",
        "CurveEpochs": f"{first['epochs']}",
        "EstimateGap": fixed(max(gaps)),
    }


def batch_macros(results: Results) -> Macros:
    """PSNR in the smallest and the largest batch, at equal pairs and at equal steps."""
    return {
        "BatchPairs": f"{BATCH_PAIRS:,}",
        "BatchSteps": f"{STEPS}",
        "SmallestBatch": f"{BATCH_SIZES[0]}",
        "LargestBatch": f"{BATCH_SIZES[-1]}",
        **batch_ends(results, "pairs", False),
        **batch_ends(results, "pairs", True),
        **batch_ends(results, "steps", False),
        **batch_ends(results, "steps", True),
    }


def batch_ends(results: Results, common: str, scaled: bool) -> Macros:
    """PSNR in the smallest and the largest batch; arguments as `batch_scores` takes them."""
    scores = batch_scores(results, common, scaled)
    rate = f"{our_recipe(results)['learning_rate']:g}{', scaled' if scaled else ''}"
    prefix = f"Equal{common.title()}{'Scaled' if scaled else ''}"
    texts = {}
    for name, batch in (("Smallest", BATCH_SIZES[0]), ("Largest", BATCH_SIZES[-1])):
        if batch not in scores:
            raise ValueError(f"batches.jsonl has no training in batches of {batch} with learning "
                             f"rate {rate}, at equal {common}; {remedy('batches.jsonl')}")
        texts[f"{prefix}{name}"] = fixed(statistics.mean(scores[batch]))
    return texts


def noise_scale_macros(results: Results) -> Macros:
    """The noise scale of gradients at the first and at the last moment, to two digits."""
    first = results.noise_scale[0]
    scales = by_epoch(results.noise_scale)
    if math.inf in scales.values():
        raise ValueError("noise_scale.jsonl has a gradient that cannot be told from its noise; "
                         f"take more seeds: {remedy('noise_scale.jsonl')}")
    return {
        "ScalePairs": f"{first['pairs']:,}",
        "ScaleEpochs": f"{first['epochs']}",
        "FirstScale": two_digits(scales[min(scales)]),
        "LastScale": two_digits(scales[max(scales)]),
    }


def scaling_macros(results: Results) -> Macros:
    """Trainings on noisy and on clean targets, with the fewest and with the most pairs."""
    groups = grouped(results.scaling, ("pairs",))
    fewest, most = (choose(groups, key=lambda group: group[0]["pairs"]) for choose in (min, max))
    return target_macros("Fewest", fewest) | target_macros("Most", most)


def target_macros(prefix: str, rows: list[Row]) -> Macros:
    """Means over seeds of trainings on one number of pairs."""
    noisy, clean = on_both_targets(rows)
    return {
        f"{prefix}Pairs": f"{rows[0]['pairs']:,}",
        f"{prefix}NoisyTargets": fixed(mean(noisy, "psnr")),
        f"{prefix}CleanTargets": fixed(mean(clean, "psnr")),
        f"{prefix}TargetGap": signed(target_gaps(rows)),
    }


def photo_macros(results: Results) -> Macros:
    """How long, and on what, the networks were trained that denoised the photos."""
    row = results.photos[0]
    return {
        "PhotoSide": f"{PHOTO_SIDE}",
        "PhotoMinutes": f"{row['minutes']:g}",
        "PhotoMachine": machine(row),
    }


def ablation_macros(results: Results) -> Macros:
    """The lines of a table, best first.

    They are `recipe & PSNR & dB against ours & parameters in M & speed against ours`.
    """
    lines = []
    for ablation in compared(results.ablations):
        against = signed(ablation.gaps) if ablation.change else ""
        parameters = f"{ablation.rows[0]['parameters'] / 1e6:.2f}"
        score = fixed(mean(ablation.rows, ablation.key))
        cells = (escaped(ablation.name), score, against, parameters, ablation.speed)
        lines.append(" & ".join(cells) + r" \\")
    first = results.ablations[0]
    return {
        "AblationRows": " ".join(lines),
        "AblationPairs": f"{first['pairs']:,}",
        "AblationEpochs": epochs([first]).removesuffix(".0"),
        "AblationSeeds": f"{len({row['seed'] for row in results.ablations})}",
    }


def few_pairs_macros(results: Results) -> Macros:
    """By how many dB a training on few pairs changes without each field."""
    first = results.few_pairs[0]
    gaps = {ablation.name: ablation.gaps for ablation in compared(results.few_pairs)}
    missing = [name for name in AGAINST_FITTING if name not in gaps]
    if missing:
        raise ValueError(f"few_pairs.jsonl has no training of {', '.join(missing)}; "
                         + remedy("few_pairs.jsonl"))
    turns, weight_decay, ema = (signed(gaps[name]) for name in AGAINST_FITTING)
    return {
        "FewPairs": f"{first['pairs']:,}",
        "FewEpochs": f"{first['epochs']}",
        "WithoutTurns": turns,
        "WithoutWeightDecay": weight_decay,
        "WithoutEma": ema,
    }


def signed(values: list[float]) -> str:
    """A mean difference with its sign and, of several, their standard deviation."""
    text = spread(values, 3).replace("±", r"\pm")
    return rf"\ensuremath{{{text}}}"


def noise_macros(results: Results) -> Macros:
    """The lines of a table, `noise & noisy & blur & BM3D & ours & clean targets`."""
    lines = [" & ".join(map(escaped, line)) + r" \\" for line in noises.lines(results.noises)]
    first = results.noises[0]
    gaussian, gaussian_clean = by_targets(results, GAUSSIAN)
    masked, masked_clean = by_targets(results, MASKED)
    clipped, clipped_clean = by_targets(results, CLIPPED)
    return {
        "NoiseRows": " ".join(lines),
        "NoiseMinutes": f"{first['minutes']:g}",
        "NoiseImages": f"{first['validation']['images']}",
        "GaussianGain": difference(gaussian["psnr"], gaussian["bm3d"]),
        "GaussianGap": difference(gaussian_clean["psnr"], gaussian["psnr"]),
        "MaskedGap": difference(masked_clean["psnr"], masked["psnr"]),
        "ClippedGap": difference(clipped_clean["psnr"], clipped["psnr"]),
        "ClippedBias": f"{clipped['bias']:+.1f}",
        "ClippedNoisyBias": f"{clipped['noisy_bias']:+.1f}",
        "ClippedPeak": f"{clipped['peak']:g}",
    }


def by_targets(results: Results, kind: str) -> tuple[Row, Row]:
    """The trainings on a kind of noise with noisy and with clean targets."""
    rows = {row["clean_targets"]: row for row in results.noises if row["name"] == kind}
    if len(rows) < 2:
        raise ValueError(f"noises.jsonl lacks {kind} noise, on noisy or on clean targets; "
                         + remedy("noises.jsonl"))
    return rows[False], rows[True]


def robustness_macros(results: Results) -> Macros:
    """Where the pretrained weights made most images worse."""
    worst = max(results.robustness["cases"], key=lambda case: case["worse"])
    return {
        "WorstCase": escaped(worst["case"]).replace(" x ", r" $\times$ "),
        "WorseImages": f"{worst['worse']}",
        "CaseImages": f"{worst['images']}",
    }


def latex(sections: dict[str, Macros]) -> str:
    """Macros as LaTeX, with a comment above each section."""
    lines = [f"% Written by `{PROGRAM}`; do not edit."]
    for source, numbers in sections.items():
        lines.append(f"% {source}")
        lines += [rf"\newcommand{{\{name}}}{{{text}}}" for name, text in numbers.items()]
    return "\n".join(lines) + "\n"
