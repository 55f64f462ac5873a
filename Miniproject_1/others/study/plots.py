"""The figures of the report, drawn from results by Matplotlib."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...model import Recipe, UNet
from ..noise import SIZE
from .measurements import EQUAL_MINUTES, LONG_EPOCHS, PUBLISHED_MINUTES, Results, pick
from .noise_scale import by_epoch
from .presets import PLAIN_RATE, in_common
from .published_study import BATCHES, LOSSES, REPORTED, SHARES, Cell, by_cell
from .recipes import OURS, PUBLISHED
from .rows import Row, grouped

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
TEXT_WIDTH, COLUMN_WIDTH = 6.85, 3.29  # inches


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
    """The U-Net: boxes as high as the images are wide, skip connections between the levels."""
    from matplotlib.patches import FancyArrowPatch, Rectangle

    axes = figure.subplots()
    axes.set_axis_off()
    colors = {"head": "0.75", "tail": "0.75", "blocks": BLUE, "down": ORANGE, "up": GREEN}
    stages = layers(recipe)
    levels = sorted({height for _, (_, height, _) in stages}, reverse=True)
    boxes: list[tuple[float, float, str, tuple[int, ...]]] = []
    for position, (kind, shape) in enumerate(stages):
        left, bottom = 1.25 * position, -1.5 * levels.index(shape[1])
        axes.add_patch(Rectangle((left, bottom), 0.9, 1, facecolor=colors[kind], alpha=0.75))
        names = {"blocks": f"{recipe.blocks} blocks", "down": "down", "up": "up"}
        axes.text(left + 0.45, bottom + 0.66, names.get(kind, kind), ha="center", va="center")
        axes.text(left + 0.45, bottom + 0.3, " × ".join(map(str, shape)), ha="center",
                  va="center", fontsize=6)
        boxes.append((left, bottom, kind, shape))
    for one, other in zip(boxes[:-1], boxes[1:], strict=True):
        start, end = (one[0] + 0.9, one[1] + 0.5), (other[0], other[1] + 0.5)
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=6, lw=0.7))
    draw_skips(axes, boxes)
    axes.set_xlim(-0.2, 1.25 * len(boxes))
    axes.set_ylim(-1.5 * (len(levels) - 1) - 0.1, 1.7)


def draw_skips(axes: "Axes", boxes: Sequence[tuple[float, float, str, tuple[int, ...]]]) -> None:
    """From the blocks of each level on the way down to what leads up to that level."""
    from matplotlib.patches import FancyArrowPatch

    ups = [box for box in boxes if box[2] == "up"]
    for up in ups:
        start = next(box for box in boxes if box[2] == "blocks" and box[3] == up[3])
        axes.add_patch(FancyArrowPatch((start[0] + 0.45, start[1] + 1), (up[0] + 0.45, up[1] + 1),
                                       connectionstyle="arc3,rad=-0.12", arrowstyle="-|>",
                                       mutation_scale=6, lw=0.7, linestyle="--", color="0.3"))


# ---- the published study -----------------------------------------------------------------------


def draw_grid(figure: "Figure", rows: list[Row]) -> None:
    """PSNR against the batch for each rate and loss: as reported, published here, ours."""
    panels = figure.subplots(1, 3)
    here = {network: by_cell(rows, network) for network in (PUBLISHED, OURS)}
    reported = {cell: [score] for cell, score in REPORTED.items()}
    measured = [{cell: [row["psnr"] for row in group] for cell, group in here[network].items()}
                for network in (PUBLISHED, OURS)]
    titles = ("published, as reported", "published, here", "ours")
    for axes, title, scores in zip(panels, titles, (reported, *measured), strict=True):
        draw_grid_panel(axes, scores)
        axes.set(title=title, xlabel="batch", xscale="log")
        axes.set_xticks(BATCHES, labels=map(str, BATCHES))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR (dB)")
    panels[0].legend(frameon=False, fontsize=6, ncols=2)


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
    axes.errorbar(list(values), means, deviations, markersize=3, linewidth=1, capsize=2, **style)


# ---- trainings ---------------------------------------------------------------------------------


def draw_curves(figure: "Figure", rows: list[Row]) -> None:
    """PSNR, estimated PSNR and loss of each epoch, both networks, in the setting reported best."""
    best = max(REPORTED, key=lambda place: REPORTED[place])
    for axes, network in zip(figure.subplots(1, 2), (PUBLISHED, OURS), strict=True):
        axes.set(title=network, xlabel="epoch", ylabel="PSNR (dB)")
        found = by_cell(rows, network).get(best)
        if not found:
            continue
        row = found[0]
        history = [epoch for epoch in row["history"] if epoch["epoch"] > 0]
        x = [epoch["epoch"] for epoch in history]
        for key, color, marker, label in (
                ("psnr", BLUE, "o", "PSNR per image"), ("psnr_pooled", GREEN, "^", "pooled"),
                ("est_psnr", ORANGE, "s", "estimated, pooled")):
            y = [epoch[key] for epoch in history]
            if None not in y:  # no pairs were left to estimate it with
                axes.plot(x, y, color=color, marker=marker, markersize=3, linewidth=1, label=label)
        axes.grid(alpha=0.3)
        losses = axes.twinx()
        losses.plot(x, [epoch["loss"] for epoch in history], ":", color="0.3", label="loss")
        losses.set_ylabel("training loss (dotted)")
        axes.legend(frameon=False, fontsize=6)


def draw_time(axes: "Axes", results: Results) -> None:
    """PSNR against minutes, ours and published; the star is with self-ensemble."""
    published = pick(results, PUBLISHED, minutes=PUBLISHED_MINUTES)[0]
    ours = pick(results, OURS, minutes=EQUAL_MINUTES)[0]
    plot(axes, ours, "seconds", 60, "o-", BLUE, "ours")
    axes.plot(ours["seconds"] / 60, ours["psnr"], "*", color=BLUE, markersize=9,
              label="ours, self-ensemble")
    plot(axes, published, "seconds", 60, "s--", ORANGE, "published")
    axes.set(xlabel="minutes of training", ylabel="PSNR (dB), per image")
    axes.set_xlim(left=0)


def draw_training(figure: "Figure", results: Results) -> None:
    """PSNR per epoch of our longest training; beside it, PSNR against time."""
    left, right = figure.subplots(1, 2)
    long = pick(results, OURS, epochs=LONG_EPOCHS)[0]
    plot(left, long, "epoch", 1, "o-", BLUE, "ours")
    left.set(xlabel="epoch", ylabel="PSNR (dB), per image")
    left.locator_params(axis="x", integer=True)
    draw_time(right, results)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.margins(y=0.15)
        axes.legend(frameon=False)


def plot(axes: "Axes", training: Row, key: str, unit: float, style: str, color: str,
         label: str) -> None:
    """The PSNR of a training against a key of its history, in units.

    The state before training is left out: its PSNR is that of the noisy images, far below.
    """
    history = [row for row in training["history"] if row["epoch"] > 0]
    x = [row[key] / unit for row in history]
    y = [row["psnr"] for row in history]
    axes.plot(x, y, style, color=color, markersize=3, label=label)


# ---- batches, noise of gradients, targets ------------------------------------------------------


def draw_batches(figure: "Figure", rows: list[Row], scales: list[Row]) -> None:
    """PSNR against the batch at equal pairs and at equal steps; the gradient's noise scale."""
    left, right = figure.subplots(1, 2)
    for seen, color, marker in (("pairs", BLUE, "o"), ("steps", ORANGE, "s")):
        for scaled, line in ((False, "-"), (True, "--")):
            found = batch_scores(rows, seen, scaled)
            label = f"equal {seen}{', rate scaled' if scaled else ''}"
            draw_spread(left, found, color=color, marker=marker, linestyle=line, label=label)
    left.set(xlabel="batch", ylabel="PSNR (dB), per image", xscale="log")
    left.legend(frameon=False, fontsize=6)
    moments = by_epoch(scales)
    right.plot(list(moments), list(moments.values()), "o-", color=BLUE, markersize=3, linewidth=1)
    right.set(xlabel="epoch", ylabel="gradient noise scale (pairs)", yscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.3)


def batch_scores(rows: list[Row], seen: str, scaled: bool) -> dict[int, list[float]]:
    """PSNR by batch, of one kind of comparison.

    Args:
        rows: Of the preset "batches".
        seen: What all have in common: "pairs" or "steps".
        scaled: Whether the learning rate grew with the square root of the batch.

    Returns:
        A PSNR per seed for each batch, from small to large.
    """
    found: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["recipe"]["batch"]):
        batch, rate = row["recipe"]["batch"], row["recipe"]["learning_rate"]
        wanted = PLAIN_RATE.learning_rate
        if scaled:
            wanted *= (batch / PLAIN_RATE.batch) ** 0.5
        if in_common(row) == seen and abs(rate / wanted - 1) < 1e-6:
            found.setdefault(batch, []).append(row["psnr"])
    return found


def draw_targets(figure: "Figure", rows: list[Row]) -> None:
    """PSNR against the number of pairs, with noisy and with clean targets."""
    axes = figure.subplots()
    for clean, color, marker, label in ((True, GREEN, "^", "clean targets"),
                                        (False, BLUE, "o", "noisy targets")):
        groups = grouped([row for row in rows if row["clean_targets"] == clean], ("pairs",))
        found = {group[0]["pairs"]: [row["psnr"] for row in group] for group in groups}
        draw_spread(axes, dict(sorted(found.items())), color=color, marker=marker, label=label)
    axes.set(xlabel="pairs", ylabel="PSNR (dB), per image", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
