"""The published study beside ours: three batches, two losses, three rates, both networks."""

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .recipes import OURS, PUBLISHED
from .rows import Row, decibels, grouped, markdown, spread

LOSSES = ("l1", "mse")
RATES = {PUBLISHED: 1e-3, OURS: 5e-3}  # of the grid, whatever the recipes' own are
SHARES = (0.1, 1.0, 2.0)  # of these rates
BATCHES = (32, 64, 128)
HEADS = {PUBLISHED: "published, here", OURS: "ours"}  # of columns


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
    "rate × 1 above × 0.1": (lambda cell: cell.share == 1, lambda cell: cell.share == 0.1),
    "rate × 1 above × 2": (lambda cell: cell.share == 1, lambda cell: cell.share == 2),
}


def cell(row: Row) -> Cell:
    """Where a row of the sweep stands in the grid."""
    recipe = row["recipe"]
    share = recipe["learning_rate"] / RATES[row["network"]]
    return Cell(recipe["loss"], round(share, 3), recipe["batch"])


def by_cell(rows: Iterable[Row], network: str) -> dict[Cell, list[Row]]:
    """The rows of a network, one per seed, by their place in the grid."""
    own = [row | {"cell": cell(row)} for row in rows if row["network"] == network]
    return {group[0]["cell"]: group for group in grouped(own, ("cell",))}


def networks_in(rows: Iterable[Row]) -> dict[str, str]:
    """The networks that have rows, with the heads of their columns, in the order of HEADS."""
    names = {row["network"] for row in rows}
    return {network: head for network, head in HEADS.items() if network in names}


def table(rows: list[Row]) -> str:
    """A line of Markdown per setting: as reported, and the networks trained here."""
    networks = networks_in(rows)
    here = [by_cell(rows, network) for network in networks]
    heads = ["loss", "rate", "batch", "reported", *networks.values()]
    lines = [[place.loss, f"× {place.share:g}", str(place.batch), f"{REPORTED[place]:.2f}",
              *(decibels(found.get(place, [])) for found in here)] for place in CELLS]
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


def complete_seeds(rows: Iterable[Row], network: str) -> list[dict[Cell, float]]:
    """The PSNR of all settings, for each seed with which a network was trained in all of them."""
    own = [row for row in rows if row["network"] == network]
    by_seed = [{cell(row): row["psnr"] for row in group} for group in grouped(own, ("seed",))]
    return [scores for scores in by_seed if len(scores) == len(CELLS)]


def findings(rows: list[Row]) -> str:
    """A line of Markdown per finding, as `finding_lines` gives them."""
    heads = ["mean difference in dB", "reported", *networks_in(rows).values()]
    return markdown(heads, finding_lines(rows))


def finding_lines(rows: list[Row]) -> list[list[str]]:
    """The findings.

    Args:
        rows: Of the sweep.

    Returns:
        A line for each: its name, the difference as reported, and in each network trained here;
        the last line has the share of `agreement`.
    """
    reported = contrasts(REPORTED)
    here = [complete_seeds(rows, network) for network in networks_in(rows)]
    lines = [[name, f"{reported[name]:+.2f}",
              *(spread([contrasts(scores)[name] for scores in seeds]) for seeds in here)]
             for name in FINDINGS]
    shares = [f"{statistics.mean(map(agreement, seeds)):.0%}" if seeds else "-" for seeds in here]
    return [*lines, ["pairs of settings in the reported order", "100%", *shares]]


def agreement(scores: Mapping[Cell, float]) -> float:
    """The share of all pairs of settings that are ordered as reported.

    Args:
        scores: The PSNR of all settings.

    Returns:
        From 0 to 1, of the pairs that were not reported equal.
    """
    orders = [(REPORTED[one] - REPORTED[other]) * (scores[one] - scores[other])
              for one, other in itertools.combinations(CELLS, 2)
              if REPORTED[one] != REPORTED[other]]
    return sum(order > 0 for order in orders) / len(orders)
