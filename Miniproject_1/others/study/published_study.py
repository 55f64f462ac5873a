"""The published study beside ours: three batches, two losses, three rates, both networks."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .recipes import NETWORKS, OURS, PUBLISHED
from .rows import Row, decibels, grouped, markdown, spread

LOSSES = ("l1", "mse")
SHARES = (0.1, 1.0, 2.0)  # of the network's own learning rate
BATCHES = (32, 64, 128)


class Cell(NamedTuple):
    """A setting of the grid."""

    loss: str
    share: float
    batch: int


CELLS = [Cell(loss, share, batch) for loss in LOSSES for share in SHARES for batch in BATCHES]
REPORTED = dict(zip(CELLS, (  # dB after ten epochs of 50,000 pairs, as published
    23.46, 23.23, 23.33, 23.37, 23.26, 23.07, 23.50, 23.46, 23.21,
    23.91, 23.85, 23.82, 24.15, 24.07, 24.03, 24.10, 24.06, 23.94), strict=True))
FINDINGS: dict[str, tuple[Callable[[Cell], bool], Callable[[Cell], bool]]] = {
    "MSE above L1": (lambda cell: cell.loss == "mse", lambda cell: cell.loss == "l1"),
    "batch 32 above 64": (lambda cell: cell.batch == 32, lambda cell: cell.batch == 64),
    "batch 32 above 128": (lambda cell: cell.batch == 32, lambda cell: cell.batch == 128),
    "its rate above a tenth": (lambda cell: cell.share == 1, lambda cell: cell.share == 0.1),
    "its rate above the double": (lambda cell: cell.share == 1, lambda cell: cell.share == 2),
}


def cell(row: Row) -> Cell:
    """Where a row of the sweep stands in the grid."""
    recipe = row["recipe"]
    share = recipe["learning_rate"] / NETWORKS[row["network"]].learning_rate
    return Cell(recipe["loss"], round(share, 3), recipe["batch"])


def by_cell(rows: Iterable[Row], network: str) -> dict[Cell, list[Row]]:
    """The rows of a network, one per seed, by their place in the grid."""
    own = [row | {"cell": cell(row)} for row in rows if row["network"] == network]
    return {group[0]["cell"]: group for group in grouped(own, ("cell",))}


def table(rows: list[Row]) -> str:
    """A line of Markdown per setting: as reported, and both networks trained here."""
    here = {network: by_cell(rows, network) for network in (PUBLISHED, OURS)}
    heads = ["loss", "batch", "rate, published", "reported", "published, here", "rate, ours",
             "ours"]
    lines = []
    for place in CELLS:
        rates = {name: f"{place.share * recipe.learning_rate:g}"
                 for name, recipe in NETWORKS.items()}
        scores = {name: decibels(here[name].get(place, [])) for name in here}
        lines.append([place.loss, str(place.batch), rates[PUBLISHED], f"{REPORTED[place]:.2f}",
                      scores[PUBLISHED], rates[OURS], scores[OURS]])
    return markdown(heads, lines)


def contrasts(scores: Mapping[Cell, float]) -> dict[str, float]:
    """By how many dB the settings of a finding are better than those they are compared with.

    Args:
        scores: The PSNR of all settings.

    Returns:
        The difference of the means, for each of FINDINGS.
    """
    return {name: statistics.mean(scores[place] for place in CELLS if better(place))
            - statistics.mean(scores[place] for place in CELLS if worse(place))
            for name, (better, worse) in FINDINGS.items()}


def seed_contrasts(rows: Iterable[Row], network: str) -> list[dict[str, float]]:
    """`contrasts` for each seed with which a network was trained in all settings."""
    found = []
    own = [row for row in rows if row["network"] == network]
    for group in grouped(own, ("seed",)):
        scores = {cell(row): row["psnr"] for row in group}
        if len(scores) == len(CELLS):
            found.append(contrasts(scores))
    return found


def findings(rows: list[Row]) -> str:
    """A line of Markdown per finding: as reported, and in both networks here."""
    reported = contrasts(REPORTED)
    here = [seed_contrasts(rows, network) for network in (PUBLISHED, OURS)]
    lines = [[name, f"{reported[name]:+.2f}", *(spread([seed[name] for seed in seeds])
                                               for seeds in here)] for name in FINDINGS]
    return markdown(["mean difference in dB", "reported", "published, here", "ours"], lines)
