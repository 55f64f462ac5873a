"""The figures of the report, drawn from results by Matplotlib."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...model import Recipe, UNet
from ..noise import SIZE
from .measurements import PUBLISHED_MINUTES, Results, batch_scores, pick
from .noise_scale import by_epoch
from .presets import BATCH_SIZES
from .published_study import BATCHES, LOSSES, REPORTED, SHARES, Cell, by_cell, networks_in
from .recipes import OURS, PUBLISHED
from .rows import Row, after_start, grouped, mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # which the colour-blind can tell apart
MARKERS = ("o", "s", "^")
FONT: Any = {  # as the text's
    "font.family": "STIXGeneral",
    "font.size": 8,
    "mathtext.fontset": "stix",
    "pdf.fonttype": 42,
}
LINE: Any = {"markersize": 3, "linewidth": 1}
LEGEND: Any = {"frameon": False, "fontsize": 6}
TEXT_WIDTH, COLUMN_WIDTH = 6.85, 3.29  # inches
MINUTES = (1, 2, 5, 10, 20, 40)  # marked on an axis of time


def save(path: Path, draw: Callable[["Figure"], None], width: float, height: float) -> None:
    """Write a figure as PDF; the same input gives the same file.

    Args:
        path: The file.
        draw: Fills the figure.
        width, height: Inches.

    Raises:
        ValueError: Matplotlib or a measurement is missing.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure  # without pyplot, which has global state
    except ImportError as error:
        raise ValueError("Matplotlib is missing: run pip install matplotlib") from error
    with matplotlib.rc_context(FONT):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="pdf", metadata={"CreationDate": None})


# ---- the network -------------------------------------------------------------------------------


def layers(recipe: Recipe, side: int = SIZE) -> list[tuple[str, tuple[int, ...]]]:
    """What an image passes on its way through a network.

    Args:
        recipe: Of the network.
        side: Pixels a side of the image.

    Returns:
        (kind, C x H x W of its output) of each part, in the order in which they run: "head",
        "blocks", "down", "up" and "tail".
    """
    net = UNet(recipe.channels, recipe.widths, recipe.blocks)
    kinds: dict[nn.Module, str] = {net.head: "head", net.tail: "tail"}
    for kind, modules in (("blocks", [*net.encoders, *net.decoders]), ("down", net.downs),
                          ("up", net.ups)):
        kinds |= dict.fromkeys(modules, kind)
    passed: list[tuple[str, tuple[int, ...]]] = []

    def note(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        passed.append((kinds[module], tuple(output.shape[1:])))

    for module in kinds:
        module.register_forward_hook(note)
    with torch.no_grad():
        net(torch.zeros(1, recipe.channels, side, side))
    return passed


def draw_network(figure: "Figure", recipe: Recipe) -> None:
    """The U-Net: a box for each part with its channels, skip connections between the levels."""
    from matplotlib.patches import FancyArrowPatch, Rectangle

    axes = figure.subplots()
    axes.set_axis_off()
    colors = {"head": "0.75", "tail": "0.75", "blocks": BLUE, "down": ORANGE, "up": GREEN}
    stages = layers(recipe)
    levels = sorted({height for _, (_, height, _) in stages}, reverse=True)
    boxes: list[tuple[float, float, str, tuple[int, ...]]] = []
    for position, (kind, shape) in enumerate(stages):
        left, bottom = 1.35 * position, -1.4 * levels.index(shape[1])
        axes.add_patch(Rectangle((left, bottom), 1.1, 1, facecolor=colors[kind], alpha=0.6))
        name = f"{recipe.blocks} blocks" if kind == "blocks" else kind
        axes.text(left + 0.55, bottom + 0.5, f"{name}\n{shape[0]}", ha="center", va="center",
                  fontsize=7)
        boxes.append((left, bottom, kind, shape))
    for level, side in enumerate(levels):
        axes.text(-0.2, 0.5 - 1.4 * level, f"{side} × {side}", ha="right", va="center", fontsize=7)
    for one, other in zip(boxes[:-1], boxes[1:], strict=True):
        start, end = (one[0] + 1.1, one[1] + 0.5), (other[0], other[1] + 0.5)
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=5, lw=0.7,
                                       shrinkA=0, shrinkB=0))
    draw_skips(axes, boxes)
    axes.set_xlim(-1.4, 1.35 * len(boxes) - 0.2)
    axes.set_ylim(-1.4 * (len(levels) - 1) - 0.1, 1.7)


def draw_skips(axes: "Axes", boxes: Sequence[tuple[float, float, str, tuple[int, ...]]]) -> None:
    """From the blocks of each level on the way down to what leads up to that level."""
    from matplotlib.patches import FancyArrowPatch

    ups = [box for box in boxes if box[2] == "up"]
    for up in ups:
        start = next(box for box in boxes if box[2] == "blocks" and box[3] == up[3])
        ends = (start[0] + 0.55, start[1] + 1), (up[0] + 0.55, up[1] + 1)
        axes.add_patch(FancyArrowPatch(*ends, connectionstyle="arc3,rad=-0.12", arrowstyle="-|>",
                                       mutation_scale=6, lw=0.7, linestyle="--", color="0.3"))


# ---- the published study -----------------------------------------------------------------------


def draw_grid(figure: "Figure", rows: list[Row]) -> None:
    """PSNR against the batch for each rate and loss: as reported, and as trained here."""
    scores_by_title = {"published, as reported": {cell: [dB] for cell, dB in REPORTED.items()}}
    for network, head in networks_in(rows).items():
        scores_by_title[head] = {cell: [row["psnr"] for row in group]
                                 for cell, group in by_cell(rows, network).items()}
    panels = figure.subplots(1, len(scores_by_title))
    for axes, (title, scores) in zip(panels, scores_by_title.items(), strict=True):
        draw_grid_panel(axes, scores)
        axes.set(title=title, xlabel="batch")
        log_ticks(axes, BATCHES)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR (dB)")
    figure.legend(handles=panels[0].containers, loc="outside right center", frameon=False)


def draw_grid_panel(axes: "Axes", scores: dict[Cell, list[float]]) -> None:
    """A line per loss and rate, with the standard deviation over seeds."""
    for loss, line in zip(LOSSES, ("--", "-"), strict=True):
        for share, color, marker in zip(SHARES, (BLUE, ORANGE, GREEN), MARKERS, strict=True):
            found = {batch: scores[place] for batch in BATCHES
                     if (place := Cell(loss, share, batch)) in scores}
            draw_spread(axes, found, color=color, marker=marker, linestyle=line,
                        label=f"{loss.upper()}, rate × {share:g}")


def draw_spread(axes: "Axes", values: dict[Any, list[float]], **style: Any) -> None:
    """The mean of the values at each x, with their standard deviation where there are several."""
    means = [statistics.mean(some) for some in values.values()]
    deviations = [statistics.stdev(some) if len(some) > 1 else 0.0 for some in values.values()]
    axes.errorbar(list(values), means, deviations, capsize=2, **LINE, **style)


def log_ticks(axes: "Axes", values: Sequence[int]) -> None:
    """A logarithmic x axis that is marked at these values only."""
    axes.set_xscale("log")
    axes.set_xticks(values, labels=map(str, values))
    axes.minorticks_off()


# ---- trainings ---------------------------------------------------------------------------------


def draw_curves(axes: "Axes", row: Row) -> None:
    """PSNR, estimated PSNR and loss of a training, epoch by epoch."""
    history = after_start(row)
    x = [epoch["epoch"] for epoch in history]
    for key, color, marker, label in (
            ("psnr", BLUE, "o", "per image"), ("psnr_pooled", GREEN, "^", "pooled"),
            ("est_psnr", ORANGE, "s", "pooled, estimated")):
        y = [epoch[key] for epoch in history]
        axes.plot(x, y, color=color, marker=marker, label=label, **LINE)
    losses = axes.twinx()
    losses.plot(x, [epoch["loss"] for epoch in history], ":", color="0.3")
    losses.set_ylabel("loss (dotted)")
    axes.set(title=row["name"], xlabel="epoch", ylabel="PSNR (dB)")
    axes.locator_params(axis="x", integer=True)


def draw_time(axes: "Axes", results: Results) -> None:
    """PSNR against minutes: trainings of ours, each of its own length, and along the published one.

    The published recipe has no schedule: a shorter training would end on the same line.
    """
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)[0]
    ours = [row for row in results.trainings if row["kind"] == "training" and row["name"] == OURS]
    ends = {mean(group, "seconds") / 60: [row["psnr"] for row in group]
            for group in grouped(ours, ("minutes", "epochs"))}
    draw_spread(axes, dict(sorted(ends.items())), color=BLUE, marker="o", label="ours")
    history = after_start(published)
    axes.plot([row["seconds"] / 60 for row in history], [row["psnr"] for row in history], "s--",
              color=ORANGE, label="published", **LINE)
    axes.set(xlabel="minutes of training", ylabel="PSNR (dB)")
    log_ticks(axes, MINUTES)
    axes.legend(**LEGEND)


def draw_training(figure: "Figure", results: Results) -> None:
    """Trainings of both networks epoch by epoch; beside them, PSNR against time."""
    wide = {"wspace": 0.1}  # between the loss of a panel and the PSNR of the next one
    *panels, time = figure.subplots(1, len(results.curves) + 1, gridspec_kw=wide)
    for axes, row in zip(panels, results.curves, strict=True):
        draw_curves(axes, row)
    panels[-1].legend(loc="center right", bbox_to_anchor=(1, 0.62), **LEGEND)
    draw_time(time, results)
    for axes in (*panels, time):
        axes.grid(alpha=0.3)


# ---- batches, noise of gradients, targets ------------------------------------------------------


def draw_data(figure: "Figure", results: Results) -> None:
    """PSNR against the batch, the noise scale of gradients, PSNR against the number of pairs."""
    left, middle, right = figure.subplots(1, 3)
    draw_batches(left, results)
    draw_noise_scale(middle, results.noise_scale)
    draw_targets(right, results.scaling)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)


def draw_batches(axes: "Axes", results: Results) -> None:
    """PSNR against the batch at equal pairs and at equal steps."""
    for seen, color, marker in (("pairs", BLUE, "o"), ("steps", ORANGE, "s")):
        for scaled, line in ((False, "-"), (True, "--")):
            found = batch_scores(results, seen, scaled)
            label = f"equal {seen}{', scaled' if scaled else ''}"
            draw_spread(axes, found, color=color, marker=marker, linestyle=line, label=label)
    axes.set(xlabel="batch", ylabel="PSNR (dB)")
    log_ticks(axes, BATCH_SIZES)
    axes.legend(loc=(0.02, 0.38), labelspacing=0.2, **LEGEND)


def draw_noise_scale(axes: "Axes", rows: list[Row]) -> None:
    """The noise scale of gradients at some moments of a training."""
    moments = by_epoch(rows)
    axes.plot(list(moments), list(moments.values()), "o-", color=BLUE, **LINE)
    axes.set(xlabel="epoch", ylabel="noise scale (pairs)", yscale="log")


def draw_targets(axes: "Axes", rows: list[Row]) -> None:
    """PSNR against the number of pairs, with noisy and with clean targets."""
    for clean, color, marker, label in ((True, GREEN, "^", "clean targets"),
                                        (False, BLUE, "o", "noisy targets")):
        groups = grouped([row for row in rows if row["clean_targets"] == clean], ("pairs",))
        found = {group[0]["pairs"]: [row["psnr"] for row in group] for group in groups}
        draw_spread(axes, dict(sorted(found.items())), color=color, marker=marker, label=label)
    axes.set(xlabel="pairs", ylabel="PSNR (dB)", xscale="log")
    axes.legend(**LEGEND)
