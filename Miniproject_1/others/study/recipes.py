"""The recipes of the study: ours, and what one change of it costs. A new one is a line in RECIPES.

`python -m Miniproject_1.others.study.compare NAME ...` trains them side by side.
"""

from ...model import Model, Recipe
from .published import PublishedModel

Denoiser = Model | PublishedModel

OURS = "ours"
PUBLISHED = "published"  # the network of published.py, which has no Recipe

RECIPES: dict[str, Recipe] = {
    OURS: Recipe(),
    "MSE loss": Recipe(loss="mse"),
    "L1 loss": Recipe(loss="l1"),
    "Adam": Recipe(optimizer="adam", learning_rate=2e-3),
    "one direction": Recipe(swap="random"),
    "no turns": Recipe(turns=False),
    "no EMA": Recipe(ema=0.0),
    "narrow": Recipe(widths=(16, 32)),
    "three levels": Recipe(widths=(32, 64, 128)),
    "half learning rate": Recipe(learning_rate=2.5e-3),
}


def new_model(recipe: Recipe | None) -> Denoiser:
    """An untrained model of a recipe; None: the published network."""
    return PublishedModel() if recipe is None else Model(recipe)


def parameter_count(model: Denoiser) -> int:
    """How many numbers the network learns."""
    return sum(weight.numel() for weight in model.net.parameters())


def contestants(names: list[str]) -> dict[str, Recipe | None]:
    """The recipes of these names.

    Args:
        names: Of RECIPES, or "published".

    Returns:
        By name, in this order; None for the published network.

    Raises:
        ValueError: There is no recipe of a name.
    """
    known: dict[str, Recipe | None] = {**RECIPES, PUBLISHED: None}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no recipe {'; '.join(unknown)}, expected some of: {'; '.join(known)}; "
                         "a new one is a line in Miniproject_1/others/study/recipes.py")
    return {name: known[name] for name in names}
