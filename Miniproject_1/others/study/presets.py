"""What the sweeps of the study train. A new one is a function and a line in PRESETS."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...model import Recipe
from .published_study import BATCHES, LOSSES, RATES, SHARES
from .recipes import (
    CHANGES,
    NETWORKS,
    OURS,
    PUBLISHED,
    RECIPES,
    AnyRecipe,
    changes,
    network,
)
from .rows import Row

PAIRS = 50_000  # in the data
TABLE_PAIRS = 10_000  # seen by each training of the published grid, whose network is slow
CURVE_PAIRS, CURVE_EPOCHS = 5_000, 10
ABLATION_PAIRS, ABLATION_EPOCHS = 10_000, 2
FEW_PAIRS, FEW_EPOCHS = 500, 40
AGAINST_FITTING = ("no turns", "no weight decay", "no EMA")  # recipes of `few_pairs`
BATCH_SIZES = (8, 16, 32, 64, 128, 256)
# Ours, whose rate does not follow the number of steps: where batches differ, steps do, too.
PLAIN_RATE = Recipe(short_training=(1, 1))
BATCH_PAIRS = 20_000  # seen by each training of `batches` at equal pairs
STEPS = 156  # of each one at equal steps; in batches of 128 these are about BATCH_PAIRS


@dataclass(frozen=True)
class Setting:
    """A training, but for its seed.

    Attributes:
        recipe: Of ours or of the published network.
        pairs: So many, the first ones of the data.
        epochs: Passes over them.
        clean_targets: Whether clean images are the targets.
        name: What the results call it; by default the network and what its recipe changes.
    """

    recipe: AnyRecipe
    pairs: int
    epochs: int
    clean_targets: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            name = network(self.recipe)
            changed = changes(vars(self.recipe), vars(NETWORKS[name]))
            object.__setattr__(self, "name", "; ".join(filter(None, (name, changed))))


def grid(base: AnyRecipe, values: Mapping[str, Sequence[Any]]) -> list[AnyRecipe]:
    """The recipes of a grid.

    Args:
        base: What they have in common.
        values: Of each field that varies, by name; its first field varies slowest.

    Returns:
        All combinations.

    Raises:
        ValueError: A field or a value is unknown.
    """
    known = [field.name for field in fields(base)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"the recipe of {network(base)} has no field {', '.join(unknown)}, "
                         f"expected some of: {', '.join(known)}")
    return [replace(base, **dict(zip(values, combination, strict=True)))
            for combination in itertools.product(*values.values())]


# ---- presets -----------------------------------------------------------------------------------


def table1() -> Iterator[Setting]:
    """The published grid, of both networks: loss, learning rate, batch.

    Each network takes the same multiples of its rate in RATES.
    """
    for base in (PLAIN_RATE, NETWORKS[PUBLISHED]):
        rates = [share * RATES[network(base)] for share in SHARES]
        values = {"loss": LOSSES, "learning_rate": rates, "batch": BATCHES}
        for recipe in grid(base, values):
            yield Setting(recipe, TABLE_PAIRS, 1)


def curves() -> Iterator[Setting]:
    """Both networks for ten epochs, to be looked at epoch by epoch."""
    for recipe in (NETWORKS[PUBLISHED], NETWORKS[OURS]):
        yield Setting(recipe, CURVE_PAIRS, CURVE_EPOCHS)


def ablations() -> Iterator[Setting]:
    """Ours, and one change of its recipe at a time."""
    for name, recipe in {OURS: NETWORKS[OURS], **CHANGES}.items():
        yield Setting(recipe, ABLATION_PAIRS, ABLATION_EPOCHS, name=name)


def few_pairs() -> Iterator[Setting]:
    """Ours, and without what is to keep it from fitting the noise of few pairs."""
    for name in (OURS, *AGAINST_FITTING):
        yield Setting(RECIPES[name], FEW_PAIRS, FEW_EPOCHS, name=name)


def batches() -> Iterator[Setting]:
    """Ours in batches of 8 to 256, at equal pairs and at equal steps.

    The learning rate stays, or grows with the square root of the batch. The average of the weights
    is over as many steps in all of them.
    """
    base = PLAIN_RATE
    for batch in BATCH_SIZES:
        scaled = base.learning_rate * (batch / base.batch) ** 0.5
        epochs = math.ceil(STEPS * batch / BATCH_PAIRS)
        for rate in sorted({base.learning_rate, scaled}):
            recipe = replace(base, batch=batch, learning_rate=rate)
            yield Setting(recipe, BATCH_PAIRS, 1)
            yield Setting(recipe, STEPS * batch // epochs, epochs)


def scaling() -> Iterator[Setting]:
    """Ours on more and more pairs, with noisy and with clean targets, for about as many steps."""
    for pairs in (1_000, 3_000, 10_000, 50_000):
        for clean_targets in (False, True):
            yield Setting(NETWORKS[OURS], pairs, round(PAIRS / pairs), clean_targets)


def in_common(row: Row) -> str:
    """What a training of `batches` has in common with those in other batches.

    Args:
        row: Of the sweep.

    Returns:
        "pairs" or "steps"; "" for neither.
    """
    seen = row["pairs"] * row["epochs"]
    wanted = {BATCH_PAIRS: "pairs", STEPS * row["recipe"]["batch"]: "steps"}
    return wanted.get(seen, "")


PRESETS: dict[str, Callable[[], Iterator[Setting]]] = {
    "table1": table1,
    "curves": curves,
    "ablations": ablations,
    "few_pairs": few_pairs,
    "batches": batches,
    "scaling": scaling,
}
