"""The recipes of the study: ours, what one change of it costs, and the published one.

A new one is a line in CHANGES; `python -m Miniproject_1.others.study.compare NAME ...` trains them
side by side.
"""

from ...model import Model, Recipe
from .published import PublishedModel, PublishedRecipe

Denoiser = Model | PublishedModel
AnyRecipe = Recipe | PublishedRecipe

OURS = "ours"
PUBLISHED = "published"  # the network of published.py

NETWORKS: dict[str, AnyRecipe] = {OURS: Recipe(), PUBLISHED: PublishedRecipe()}
CHANGES: dict[str, Recipe] = {  # of ours, one at a time
    "MSE loss": Recipe(loss="mse"),
    "L1 loss": Recipe(loss="l1"),
    "weighted loss": Recipe(loss="weighted"),
    "Adam": Recipe(optimizer="adam", learning_rate=2e-3),
    "half learning rate": Recipe(learning_rate=2.5e-3),
    "double learning rate": Recipe(learning_rate=1e-2),
    "no weight decay": Recipe(weight_decay=0.0),
    "no EMA": Recipe(ema=0.0),
    "batch 16": Recipe(batch=16),
    "batch 64": Recipe(batch=64),
    "direction at random": Recipe(swap="random"),
    "one direction": Recipe(swap="none"),
    "no turns": Recipe(turns=False),
    "narrow": Recipe(widths=(16, 32)),
    "wide": Recipe(widths=(48, 96)),
    "one level": Recipe(widths=(32,)),
    "three levels": Recipe(widths=(32, 64, 128)),
    "one block": Recipe(blocks=1),
    "three blocks": Recipe(blocks=3),
    "float32": Recipe(precision="float32"),
}
RECIPES: dict[str, AnyRecipe] = {**NETWORKS, **CHANGES}


def new_model(recipe: AnyRecipe) -> Denoiser:
    """An untrained model of a recipe."""
    return Model(recipe) if isinstance(recipe, Recipe) else PublishedModel(recipe)


def network(recipe: AnyRecipe) -> str:
    """Which network a recipe is for: of NETWORKS."""
    return OURS if isinstance(recipe, Recipe) else PUBLISHED


def parameter_count(model: Denoiser) -> int:
    """How many numbers the network learns."""
    return sum(weight.numel() for weight in model.net.parameters())


def changes(recipe: dict, usual: dict) -> str:
    """What differs from the usual recipe, such as "optimizer adam; learning_rate 0.002".

    Args:
        recipe, usual: By field; a sequence is a tuple or, as JSON has it, a list.

    Returns:
        Field and value of each change, "" where there is none.
    """
    texts = []
    for field, value in recipe.items():
        value, before = _as_tuple(value), _as_tuple(usual.get(field))
        if value != before:
            values = value if isinstance(value, tuple) else (value,)
            texts.append(f"{field} {', '.join(map(_shown, values))}")
    return "; ".join(texts)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def contestants(names: list[str]) -> dict[str, AnyRecipe]:
    """The recipes of these names.

    Args:
        names: Of RECIPES.

    Returns:
        By name, in this order.

    Raises:
        ValueError: There is no recipe of a name.
    """
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        raise ValueError(f"no recipe {'; '.join(unknown)}, expected some of: {'; '.join(RECIPES)}; "
                         "a new one is a line in Miniproject_1/others/study/recipes.py")
    return {name: RECIPES[name] for name in names}
